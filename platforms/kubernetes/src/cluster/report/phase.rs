//! Puts what goes on into the phases that people's scripts wait for.
//!
//! Never in other words than CloudNativePG's.

use super::super::events::FAILING_OVER;
use super::super::observe::Seen;
use pgherd_core::fleet::{Pod, Verdict};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;

const HEALTHY: &str = "Cluster in healthy state";
const SETTING_UP: &str = "Setting up primary";
const SWITCHING_OVER: &str = "Switchover in progress";
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
            "Waiting for user action",
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
}
