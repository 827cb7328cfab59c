//! Puts what goes on into the phases that people's scripts wait for.
//!
//! Never in other words than CloudNativePG's.

use super::super::events::FAILING_OVER;
use super::super::heard::Heard;
use super::super::observe::Seen;
use pgherd_core::fleet::settings::Next;
use pgherd_core::fleet::{Pod, Verdict};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use std::collections::BTreeSet;

const HEALTHY: &str = "Cluster in healthy state";
const SETTING_UP: &str = "Setting up primary";
const SWITCHING_OVER: &str = "Switchover in progress";
const APPLYING: &str = "Applying configuration";
pub(in crate::cluster) const NOT_ENOUGH_SPACE: &str = "Not enough disk space";
const WAITING_FOR_USER: &str = "Waiting for user action";
const WAITING: &str = "Waiting for the instances to become active";

/// All that the phase is told from.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) seen: &'a Seen,
    /// The instances that belong to the cluster.
    pub(super) names: &'a [InstanceName],
    /// The phase that was told last.
    pub(super) known: Option<&'a str>,
}

/// The phase, and why.
pub(super) fn phase(situation: &Situation<'_>) -> (&'static str, String) {
    let target = situation.seen.record.as_ref().and_then(Record::target);
    if let Some(target) = target {
        return (SWITCHING_OVER, format!("Switching over to {target}"));
    }
    match situation.verdict {
        Verdict::Healthy => (HEALTHY, String::new()),
        Verdict::SettingUp { first } => (SETTING_UP, format!("Creating primary instance {first}")),
        Verdict::Creating { instances } => {
            ("Creating a new replica", format!("Creating replica {}", listed(instances)))
        }
        Verdict::WithoutPrimary { holder } => without_primary(situation, holder),
        Verdict::Waiting { instances } => (WAITING, format!("not ready: {}", listed(instances))),
        Verdict::Removing { instances } => (WAITING, format!("removing {}", listed(instances))),
        Verdict::Updating { instance, left } => {
            ("Upgrading cluster", format!("restarting {instance}, then {left} more"))
        }
        Verdict::UserHasToSwitchOver { primary } => (
            WAITING_FOR_USER,
            format!(
                "User must issue a supervised switchover: only {primary} is left to be updated"
            ),
        ),
        Verdict::Resting => (HEALTHY, "hibernated".to_owned()),
    }
}

/// That a primary is not ready does not mean yet that another one takes over.
fn without_primary(situation: &Situation<'_>, holder: &InstanceName) -> (&'static str, String) {
    let pod = situation.seen.places.get(holder).map_or(Pod::Absent, |place| place.pod);
    let is_alone = situation.names == std::slice::from_ref(holder);
    match pod {
        // The record is there a moment before the first primary is.
        Pod::Unready if situation.known == Some(SETTING_UP) => {
            (SETTING_UP, format!("Creating primary instance {holder}"))
        }
        Pod::Absent | Pod::Going | Pod::Ended if is_alone => (
            "Primary instance is being restarted without a switchover",
            format!("there is no other instance than {holder}"),
        ),
        Pod::Unready | Pod::Ready if is_alone => (WAITING, format!("not ready: {holder}")),
        Pod::Going => (SWITCHING_OVER, format!("{holder} hands over, for its pod is removed")),
        Pod::Absent | Pod::Unready | Pod::Ended | Pod::Ready => {
            (FAILING_OVER, format!("Initiating a failover from {holder}"))
        }
    }
}

/// What agents say in place of what was known without them, if it is graver.
pub(super) fn heard(
    (known, reason): (&str, Option<&str>),
    next: Next,
    heard: &Heard,
) -> Option<(&'static str, String)> {
    // Clients wait for these two.
    if matches!(known, FAILING_OVER | SWITCHING_OVER) {
        return None;
    }
    if !heard.full.is_empty() {
        let told = format!(
            "the disk of {} is full or nearly so (fix: a larger size under storage or walStorage of \
             the Cluster)",
            listed(&heard.full)
        );
        return Some((NOT_ENOUGH_SPACE, told));
    }
    if known != HEALTHY || reason.is_some() {
        return None;
    }
    if !heard.late.is_empty() {
        let late = listed(&heard.late);
        let told = format!("PostgreSQL configuration changed: {late} has yet to take it up");
        return Some((APPLYING, told));
    }
    let names: Vec<InstanceName> = heard.pending.keys().cloned().collect();
    let settings: BTreeSet<&String> = heard.pending.values().flatten().collect();
    let settings: Vec<&str> = settings.into_iter().map(String::as_str).collect();
    let (names, settings) = (listed(&names), settings.join(", "));
    let changed = "PostgreSQL configuration changed";
    match next {
        _ if heard.pending.is_empty() => None,
        Next::ForTheUser => Some((
            WAITING_FOR_USER,
            format!(
                "User must issue a supervised switchover: {settings} wait for {names} to restart"
            ),
        )),
        Next::SwitchOver => {
            Some((APPLYING, format!("{changed}: {names} hands over, for {settings}")))
        }
        Next::Nothing | Next::Restart => {
            Some((APPLYING, format!("{changed}: {names} restarts, for {settings}")))
        }
    }
}

fn listed(names: &[InstanceName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::fleet::{Form, Place, Volumes};
    use pgherd_core::names::ClusterName;
    use pgherd_core::record::{Holder, Phase, WriteId};
    use pgherd_core::units::{SystemId, Timeline};

    fn instance(serial: u32) -> InstanceName {
        InstanceName::new(&ClusterName::parse("db").unwrap(), serial)
    }

    fn seen(pod: Pod) -> Seen {
        let place = Place { volumes: Volumes::There, pod, form: Form::Wanted };
        let holder = Holder { instance: instance(1), volume: 1, incarnation: 1 };
        Seen {
            record: Some(Record::first(holder, SystemId(7), Timeline(1), WriteId::default())),
            places: [(instance(1), place)].into(),
            ..Seen::default()
        }
    }

    fn told(seen: &Seen, names: &[InstanceName], known: Option<&str>) -> String {
        let verdict = &Verdict::WithoutPrimary { holder: instance(1) };
        let (phase, reason) = phase(&Situation { verdict, seen, names, known });
        format!("{phase}: {reason}\n")
    }

    #[test]
    fn a_primary_that_is_not_ready_is_not_always_a_failover() {
        let (alone, both) = ([instance(1)], [instance(1), instance(2)]);
        let pods = [Pod::Unready, Pod::Going, Pod::Absent];
        let told = [
            told(&seen(Pod::Unready), &both, Some(SETTING_UP)),
            pods.map(|pod| told(&seen(pod), &both, Some(HEALTHY))).concat(),
            pods.map(|pod| told(&seen(pod), &alone, Some(HEALTHY))).concat(),
        ];
        expect![[r"
            Setting up primary: Creating primary instance db-1
            Failing over: Initiating a failover from db-1
            Switchover in progress: db-1 hands over, for its pod is removed
            Failing over: Initiating a failover from db-1
            Waiting for the instances to become active: not ready: db-1
            Primary instance is being restarted without a switchover: there is no other instance than db-1
            Primary instance is being restarted without a switchover: there is no other instance than db-1
        "]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn a_switchover_is_told_while_it_goes_on() {
        let mut seen = seen(Pod::Ready);
        if let Some(record) = &mut seen.record {
            record.phase = Phase::HandingOver { target: instance(2) };
        }
        let situation =
            Situation { verdict: &Verdict::Healthy, seen: &seen, names: &[], known: None };
        let told = phase(&situation);
        assert_eq!(told, (SWITCHING_OVER, "Switching over to db-2".to_owned()));
    }

    #[test]
    fn what_agents_say_is_told_while_nothing_graver_goes_on() {
        let settings = ["max_connections", "shared_buffers"].map(ToOwned::to_owned);
        let late = || Heard { late: vec![instance(2)], ..Heard::default() };
        let pending =
            || Heard { pending: [(instance(1), settings.to_vec())].into(), ..Heard::default() };
        let full = || Heard { full: vec![instance(1), instance(3)], ..late() };
        let told = |known: &str, reason: Option<&str>, (next, said): (Next, Heard)| {
            let told = heard((known, reason), next, &said);
            told.map_or("nothing\n".to_owned(), |(phase, why)| format!("{phase}: {why}\n"))
        };
        let told = [
            told(HEALTHY, None, (Next::Nothing, Heard::default())),
            told(HEALTHY, None, (Next::Nothing, late())),
            told(HEALTHY, None, (Next::SwitchOver, pending())),
            told(HEALTHY, None, (Next::Restart, pending())),
            told(HEALTHY, None, (Next::ForTheUser, pending())),
            told(HEALTHY, Some("hibernated"), (Next::Nothing, pending())),
            told(WAITING, None, (Next::Nothing, late())),
            told(WAITING, None, (Next::Nothing, full())),
            told(FAILING_OVER, None, (Next::Nothing, full())),
        ];
        expect![[r"
            nothing
            Applying configuration: PostgreSQL configuration changed: db-2 has yet to take it up
            Applying configuration: PostgreSQL configuration changed: db-1 hands over, for max_connections, shared_buffers
            Applying configuration: PostgreSQL configuration changed: db-1 restarts, for max_connections, shared_buffers
            Waiting for user action: User must issue a supervised switchover: max_connections, shared_buffers wait for db-1 to restart
            nothing
            nothing
            Not enough disk space: the disk of db-1, db-3 is full or nearly so (fix: a larger size under storage or walStorage of the Cluster)
            nothing
        "]]
        .assert_eq(&told.concat());
    }
}
