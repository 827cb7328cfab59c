//! Tells who holds the office, and since when.
//!
//! Never forgets who was the primary because the record is gone for a moment: as in CloudNativePG, the
//! last one stays in the status until another one is known.

use k8s_openapi::jiff::Timestamp;
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_core::record::Record;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Office {
    pub(super) primary: Option<String>,
    /// Whom it is being handed over to, or who has it.
    pub(super) target: Option<String>,
    pub(super) since: Option<String>,
    pub(super) timeline: Option<i64>,
    pub(super) system_id: Option<String>,
}

/// As the record says, or as it said last.
pub(super) fn office(record: Option<&Record>, before: &ClusterStatus, now: Timestamp) -> Office {
    let Some(record) = record else {
        return Office {
            primary: before.current_primary.clone(),
            target: before.target_primary.clone(),
            since: before.current_primary_timestamp.clone(),
            timeline: before.timeline_id,
            system_id: before.system_id.clone(),
        };
    };
    let holder = &record.holder.instance;
    let primary = holder.to_string();
    let timeline = i64::from(record.timeline.0);
    // Who takes its own office back is another one in it: each term has a timeline of its own.
    let is_known =
        before.current_primary.as_ref() == Some(&primary) && before.timeline_id == Some(timeline);
    let known = before.current_primary_timestamp.clone().filter(|_| is_known);
    Office {
        target: Some(record.target().unwrap_or(holder).to_string()),
        since: Some(known.unwrap_or_else(|| now.to_string())),
        primary: Some(primary),
        timeline: Some(timeline),
        system_id: Some(record.system_id.0.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::InstanceName;
    use pgherd_core::ports::contract;
    use pgherd_core::record::Phase;

    #[test]
    fn the_last_primary_is_told_until_another_one_is_known() {
        let now = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let mut before = ClusterStatus::default();
        let mut told = Vec::new();
        let mut look = |record: Option<&Record>, second: i64| {
            let office = office(record, &before, now(second));
            let Office { primary, target, since, timeline, system_id } = office.clone();
            told.push(format!("{primary:?} {target:?} {since:?} {timeline:?} {system_id:?}"));
            before.current_primary = office.primary;
            before.target_primary = office.target;
            before.current_primary_timestamp = office.since;
            before.timeline_id = office.timeline;
            before.system_id = office.system_id;
        };
        let first = contract::sample(1);
        let target = InstanceName::new(first.holder.instance.cluster(), 2);
        let mut handing = first.clone();
        handing.phase = Phase::HandingOver { target: target.clone() };
        let mut second = first.clone();
        second.holder.instance = target;
        second.timeline = first.next_timeline;
        look(None, 0);
        look(Some(&first), 1);
        look(Some(&first), 2);
        look(Some(&handing), 3);
        // Somebody has deleted the Lease.
        look(None, 4);
        look(Some(&second), 5);
        expect_test::expect![[r#"
            None None None None None
            Some("contract-1") Some("contract-1") Some("2027-01-15T08:00:01Z") Some(2) Some("7")
            Some("contract-1") Some("contract-1") Some("2027-01-15T08:00:01Z") Some(2) Some("7")
            Some("contract-1") Some("contract-2") Some("2027-01-15T08:00:01Z") Some(2) Some("7")
            Some("contract-1") Some("contract-2") Some("2027-01-15T08:00:01Z") Some(2) Some("7")
            Some("contract-2") Some("contract-2") Some("2027-01-15T08:00:05Z") Some(3) Some("7")"#]]
        .assert_eq(&told.join("\n"));
    }
}
