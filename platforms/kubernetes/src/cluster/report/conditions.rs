//! Says what is true of a cluster, in conditions that people and their tools wait for.
//!
//! Never a condition of something that nothing here knows.

use super::super::observe::Seen;
use super::super::realise::RealiseError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use pgherd_core::fleet::Verdict;

/// All that conditions are told from.
pub(super) struct Facts<'a> {
    /// The manifest's.
    pub(super) generation: Option<i64>,
    pub(super) verdict: &'a Verdict,
    /// What could not be done.
    pub(super) problem: Option<&'a RealiseError>,
    pub(super) seen: &'a Seen,
    /// Fields that nothing acts upon.
    pub(super) ignored: &'a [String],
}

struct Told {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

/// The conditions, each with the moment of its last change.
pub(super) fn conditions(
    facts: &Facts<'_>,
    before: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let told: Vec<Told> =
        [Some(ready(facts)), Some(initialized(facts)), Some(system_id(facts)), hibernation(facts)]
            .into_iter()
            .flatten()
            .chain([ignored(facts)])
            .collect();
    let known = |told: &Told| {
        before.iter().find(|known| known.type_ == told.kind && known.status == told.status)
    };
    let conditions = told.iter().map(|told| Condition {
        type_: told.kind.to_owned(),
        status: told.status.to_owned(),
        reason: told.reason.to_owned(),
        message: told.message.clone(),
        observed_generation: facts.generation,
        last_transition_time: known(told).map_or(Time(now), |it| it.last_transition_time.clone()),
    });
    conditions.collect()
}

fn told(kind: &'static str, [status, reason]: [&'static str; 2], message: &str) -> Told {
    Told { kind, status, reason, message: message.to_owned() }
}

fn ready(facts: &Facts<'_>) -> Told {
    if *facts.verdict == Verdict::Healthy && facts.problem.is_none() {
        told("Ready", ["True", "ClusterIsReady"], "Cluster is Ready")
    } else {
        told("Ready", ["False", "ClusterIsNotReady"], "Cluster Is Not Ready")
    }
}

/// There is a record from the moment on in which there is a cluster.
fn initialized(facts: &Facts<'_>) -> Told {
    if facts.seen.record.is_some() {
        told("Initialized", ["True", "BootstrapCompleted"], "The cluster was initialised")
    } else {
        told("Initialized", ["False", "BootstrapPending"], "No instance has initialised yet")
    }
}

/// The record has one, and an instance with another one is not among its members.
fn system_id(facts: &Facts<'_>) -> Told {
    let (kind, record) = ("ConsistentSystemID", facts.seen.record.as_ref());
    if record.is_some() {
        let message = "A single, unique system ID was found across reporting instances.";
        told(kind, ["True", "Unique"], message)
    } else {
        let message = "No instances are present in the cluster to report a system ID.";
        told(kind, ["False", "NotFound"], message)
    }
}

/// Only while that is what is wanted.
fn hibernation(facts: &Facts<'_>) -> Option<Told> {
    let kind = "cnpg.io/hibernation";
    match facts.verdict {
        Verdict::Resting => {}
        Verdict::Healthy
        | Verdict::SettingUp { .. }
        | Verdict::Creating { .. }
        | Verdict::WithoutPrimary { .. }
        | Verdict::Waiting { .. }
        | Verdict::Removing { .. }
        | Verdict::Updating { .. }
        | Verdict::UserHasToSwitchOver { .. } => return None,
    }
    let mut pods = facts.seen.pods.iter();
    let going = pods.find(|(_, pod)| pod.metadata.deletion_timestamp.is_some());
    Some(match going {
        None if facts.seen.pods.is_empty() => {
            told(kind, ["True", "Hibernated"], "Cluster has been hibernated")
        }
        None => told(kind, ["False", "DeletingPods"], "Hibernation is in progress"),
        Some((name, _)) => {
            let message = format!("Waiting for {name} to be deleted");
            told(kind, ["False", "WaitingPodsDeletion"], &message)
        }
    })
}

fn ignored(facts: &Facts<'_>) -> Told {
    let kind = "FieldsIgnored";
    if facts.ignored.is_empty() {
        let message = "every field that is set is acted upon";
        told(kind, ["False", "AllFieldsActedUpon"], message)
    } else {
        let message = format!("not acted upon yet: {}", facts.ignored.join(", "));
        told(kind, ["True", "NotActedUponYet"], &message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use pgherd_core::names::{ClusterName, InstanceName};
    use pgherd_core::record::{Holder, Record, WriteId};
    use pgherd_core::units::{SystemId, Timeline};
    use std::sync::Arc;

    fn instance() -> InstanceName {
        InstanceName::new(&ClusterName::parse("db").unwrap(), 1)
    }

    fn initialised() -> Seen {
        let holder = Holder { instance: instance(), volume: 1, incarnation: 1 };
        let record = Record::first(holder, SystemId(7), Timeline(1), WriteId::default());
        Seen { record: Some(record), ..Seen::default() }
    }

    fn facts<'a>(verdict: &'a Verdict, seen: &'a Seen) -> Facts<'a> {
        Facts { generation: Some(1), verdict, problem: None, seen, ignored: &[] }
    }

    fn shown(conditions: &[Condition]) -> String {
        let line = |it: &Condition| {
            let since = it.last_transition_time.0.as_second();
            format!("{} {} {} {since}: {}\n", it.type_, it.status, it.reason, it.message)
        };
        conditions.iter().map(line).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_keeps_the_moment_of_its_last_change() {
        let (new, first) = (Seen::default(), Verdict::SettingUp { first: instance() });
        let before = conditions(&facts(&first, &new), &[], at(10));
        expect![[r"
            Ready False ClusterIsNotReady 10: Cluster Is Not Ready
            Initialized False BootstrapPending 10: No instance has initialised yet
            ConsistentSystemID False NotFound 10: No instances are present in the cluster to report a system ID.
            FieldsIgnored False AllFieldsActedUpon 10: every field that is set is acted upon
        "]]
        .assert_eq(&shown(&before));
        let after = conditions(&facts(&Verdict::Healthy, &initialised()), &before, at(20));
        expect![[r"
            Ready True ClusterIsReady 20: Cluster is Ready
            Initialized True BootstrapCompleted 20: The cluster was initialised
            ConsistentSystemID True Unique 20: A single, unique system ID was found across reporting instances.
            FieldsIgnored False AllFieldsActedUpon 10: every field that is set is acted upon
        "]]
        .assert_eq(&shown(&after));
    }

    #[test]
    fn hibernation_ends_with_the_last_pod() {
        let with = |deletion_timestamp| {
            let metadata = ObjectMeta { deletion_timestamp, ..ObjectMeta::default() };
            let pod = Arc::new(Pod { metadata, ..Pod::default() });
            Seen { pods: [(instance(), pod)].into(), ..Seen::default() }
        };
        let seen = [with(None), with(Some(Time(at(1)))), Seen::default()];
        let told = seen.map(|seen| {
            let told = hibernation(&facts(&Verdict::Resting, &seen)).unwrap();
            format!("{} {}: {}\n", told.status, told.reason, told.message)
        });
        expect![[r"
            False DeletingPods: Hibernation is in progress
            False WaitingPodsDeletion: Waiting for db-1 to be deleted
            True Hibernated: Cluster has been hibernated
        "]]
        .assert_eq(&told.concat());
    }
}
