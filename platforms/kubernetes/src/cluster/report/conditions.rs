//! Says what is true of a cluster, in conditions that people and their tools wait for.
//!
//! Never a condition of something that nothing here knows.

use super::super::observe::Seen;
use super::super::realise::RealiseError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use pgherd_api::console::Fact;
use pgherd_core::fleet::Verdict;

const NOT_READY: &str = "Cluster Is Not Ready";

/// All that conditions are told from.
pub(super) struct Facts<'a> {
    /// The manifest's.
    pub(super) generation: Option<i64>,
    pub(super) verdict: &'a Verdict,
    /// The phase's.
    pub(super) reason: &'a str,
    /// What stands in the way of what was done.
    pub(super) hindrance: Option<&'a Fact>,
    /// What could not be done.
    pub(super) problem: Option<&'a RealiseError>,
    pub(super) seen: &'a Seen,
    /// Fields that nothing acts upon.
    pub(super) ignored: &'a [String],
}

pub(super) struct Told {
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
    told.iter().map(|told| dated(told, before, (facts.generation, now))).collect()
}

pub(super) fn told(kind: &'static str, [status, reason]: [&'static str; 2], message: &str) -> Told {
    Told { kind, status, reason, message: message.to_owned() }
}

fn ready(facts: &Facts<'_>) -> Told {
    let is_unable = facts.problem.is_some_and(RealiseError::stands_in_the_way);
    let is_hindered = is_unable || facts.hindrance.is_some();
    if *facts.verdict == Verdict::Healthy && !is_hindered {
        told("Ready", ["True", "ClusterIsReady"], "Cluster is Ready")
    } else if is_hindered {
        not_ready(&format!("{NOT_READY}: {}", facts.reason))
    } else {
        not_ready(NOT_READY)
    }
}

fn not_ready(message: &str) -> Told {
    told("Ready", ["False", "ClusterIsNotReady"], message)
}

/// What is true of a cluster that nothing is done about: all that was, and that one which is not
/// ready cannot become so.
pub(super) fn untouched(
    before: &[Condition],
    why: &str,
    (generation, now): (Option<i64>, Timestamp),
) -> Vec<Condition> {
    let is_ready = |it: &Condition| it.type_ == "Ready" && it.status == "True";
    if before.iter().any(is_ready) {
        return before.to_vec();
    }
    unready(before, why, (generation, now))
}

/// The same, whatever was known.
pub(super) fn unready(
    before: &[Condition],
    why: &str,
    (generation, now): (Option<i64>, Timestamp),
) -> Vec<Condition> {
    let told = not_ready(&format!("{NOT_READY}: {why}"));
    let others = before.iter().filter(|it| it.type_ != told.kind).cloned();
    [dated(&told, before, (generation, now))].into_iter().chain(others).collect()
}

/// What is true of a cluster that is not ready after all, in place of what was found so far.
pub(super) fn with_unready(
    found: Vec<Condition>,
    why: &str,
    (before, dates): (&[Condition], (Option<i64>, Timestamp)),
) -> Vec<Condition> {
    let told = not_ready(&format!("{NOT_READY}: {why}"));
    let others = found.into_iter().filter(|it| it.type_ != told.kind);
    [dated(&told, before, dates)].into_iter().chain(others).collect()
}

pub(super) fn dated(
    told: &Told,
    before: &[Condition],
    (generation, now): (Option<i64>, Timestamp),
) -> Condition {
    let known = before.iter().find(|it| it.type_ == told.kind && it.status == told.status);
    Condition {
        type_: told.kind.to_owned(),
        status: told.status.to_owned(),
        reason: told.reason.to_owned(),
        message: told.message.clone(),
        observed_generation: generation,
        last_transition_time: known.map_or(Time(now), |it| it.last_transition_time.clone()),
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
        | Verdict::Delayed { .. }
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
        Facts {
            generation: Some(1),
            verdict,
            reason: "",
            hindrance: None,
            problem: None,
            seen,
            ignored: &[],
        }
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
    fn what_stands_in_the_way_is_told_until_it_is_gone() {
        let seen = initialised();
        let about = "pod/db-1".to_owned();
        let fact = Fact { about, what: "no image".to_owned(), fix: None };
        let hindered = Facts {
            reason: "pod/db-1: no image",
            hindrance: Some(&fact),
            ..facts(&Verdict::Healthy, &seen)
        };
        let told = |all: &[Condition]| shown(all).lines().next().map(ToOwned::to_owned);
        let before = conditions(&hindered, &[], at(10));
        assert_eq!(
            told(&before).unwrap(),
            "Ready False ClusterIsNotReady 10: Cluster Is Not Ready: pod/db-1: no image"
        );
        let refused = untouched(&before, "no such field", (Some(2), at(20)));
        assert_eq!(
            told(&refused).unwrap(),
            "Ready False ClusterIsNotReady 10: Cluster Is Not Ready: no such field"
        );
        let after = conditions(&facts(&Verdict::Healthy, &seen), &refused, at(30));
        assert_eq!(told(&after).unwrap(), "Ready True ClusterIsReady 30: Cluster is Ready");
        // What runs goes on.
        assert_eq!(untouched(&after, "no such field", (Some(3), at(40))), after);
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
