//! Puts what goes on into the phases that people's scripts wait for.
//!
//! Never in other words than CloudNativePG's.

use super::super::events::{FAILING_OVER, UPGRADE_DELAYED};
use super::super::heard::{Heard, Primary};
use super::super::observe::Seen;
use crate::cluster::HEALTHY;
use crate::pod::AGENT_PORT;
use crate::space;
use pgherd_api::cluster::spec::ClusterSpec;
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_api::console;
use pgherd_core::fleet::commits::Commits;
use pgherd_core::fleet::settings::Next;
use pgherd_core::fleet::{Pod, Verdict};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use std::collections::BTreeSet;
use std::fmt::Display;

pub(super) const SETTING_UP: &str = "Setting up primary";
const CREATING: &str = "Creating a new replica";
const UPGRADING: &str = "Upgrading cluster";
pub(super) const ONLINE_UPGRADE: &str = "Online upgrade in progress";
const SWITCHING_OVER: &str = "Switchover in progress";
const APPLYING: &str = "Applying configuration";
const IN_PLACE: &str = "Primary instance is being restarted in-place";
const UNREACHED: &str = "Instance Status Extraction Error: HTTP communication issue";
pub(in crate::cluster) const NOT_ENOUGH_SPACE: &str = "Not enough disk space";
const WAITING_FOR_USER: &str = "Waiting for user action";
const WAITING: &str = "Waiting for the instances to become active";
/// By which people find out why.
const DELAYS: &str = "CLUSTERS_ROLLOUT_DELAY, INSTANCES_ROLLOUT_DELAY";

/// All that the phase is told from.
#[derive(Clone, Copy)]
pub(super) struct Situation<'a> {
    pub(super) verdict: &'a Verdict,
    pub(super) seen: &'a Seen,
    /// The instances that belong to the cluster.
    pub(super) names: &'a [InstanceName],
    /// Whose PostgreSQL shall stay down.
    pub(super) fenced: &'a BTreeSet<InstanceName>,
    /// The phase that was told last.
    pub(super) known: Option<&'a str>,
}

/// Whether a phase says that something goes on which was asked for, and nothing that is wrong.
pub(crate) fn is_change(phase: &str) -> bool {
    const CHANGES: [&str; 9] = [
        SETTING_UP,
        CREATING,
        SWITCHING_OVER,
        APPLYING,
        IN_PLACE,
        UPGRADING,
        UPGRADE_DELAYED,
        ONLINE_UPGRADE,
        WAITING_FOR_USER,
    ];
    CHANGES.contains(&phase)
}

/// The phase, and why.
pub(super) fn phase(situation: &Situation<'_>) -> (&'static str, String) {
    let target = situation.seen.record.as_ref().and_then(Record::target);
    if let Some(target) = target {
        return (SWITCHING_OVER, format!("Switching over to {target}"));
    }
    if let Some(primary) = fenced_primary(situation) {
        let told = format!(
            "{primary} is fenced: clients cannot write, and nobody takes over, until it no longer is"
        );
        return (WAITING, told);
    }
    match situation.verdict {
        Verdict::Healthy => (HEALTHY, String::new()),
        Verdict::SettingUp { first } => (SETTING_UP, format!("Creating primary instance {first}")),
        Verdict::Creating { instances } => {
            (CREATING, format!("Creating replica {}", listed(instances)))
        }
        Verdict::WithoutPrimary { holder } => without_primary(situation, holder),
        Verdict::Waiting { instances } => {
            let told = instances.iter().map(|name| {
                let is_fenced = situation.fenced.contains(name);
                if is_fenced { format!("{name} (fenced)") } else { name.to_string() }
            });
            (WAITING, format!("not ready: {}", told.collect::<Vec<_>>().join(", ")))
        }
        Verdict::Removing { instances } => (WAITING, format!("removing {}", listed(instances))),
        Verdict::Updating { instance, left } => {
            (UPGRADING, format!("restarting {instance}, then {left} more"))
        }
        Verdict::Delayed { instance, .. } => (
            UPGRADE_DELAYED,
            format!("{instance} waits to be replaced, as the operator is configured ({DELAYS})"),
        ),
        Verdict::UserHasToSwitchOver { primary } => (
            WAITING_FOR_USER,
            format!(
                "User must issue a supervised switchover: only {primary} is left to be updated"
            ),
        ),
        // CloudNativePG leaves the phase as it was; that it hibernates is told by a condition.
        Verdict::Resting if situation.seen.pods.is_empty() => (HEALTHY, "hibernated".to_owned()),
        Verdict::Resting => (HEALTHY, "hibernating: pods are being stopped".to_owned()),
    }
}

/// The primary, if it shall be down: it is no failure, and nobody takes its place.
fn fenced_primary<'a>(situation: &Situation<'a>) -> Option<&'a InstanceName> {
    match situation.verdict {
        Verdict::Resting | Verdict::SettingUp { .. } => return None,
        Verdict::Healthy
        | Verdict::Creating { .. }
        | Verdict::WithoutPrimary { .. }
        | Verdict::Waiting { .. }
        | Verdict::Removing { .. }
        | Verdict::Updating { .. }
        | Verdict::Delayed { .. }
        | Verdict::UserHasToSwitchOver { .. } => {}
    }
    let holder = situation.seen.record.as_ref().map(|record| &record.holder.instance);
    holder.filter(|holder| situation.fenced.contains(*holder))
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
        // It was asked to start again, and is not up yet.
        Pod::Unready if situation.known == Some(IN_PLACE) => (IN_PLACE, restarts(holder)),
        Pod::Absent | Pod::Going | Pod::Ended if is_alone => (
            "Primary instance is being restarted without a switchover",
            format!("there is no other instance than {holder}"),
        ),
        Pod::Unready | Pod::Ready if is_alone => (WAITING, format!("not ready: {holder}")),
        Pod::Going => (SWITCHING_OVER, format!("{holder} hands over, for its pod is removed")),
        // They wake up, or begin after all of them were away: a standby may be ready first.
        Pod::Unready if situation.known == Some(WAITING) => {
            (WAITING, format!("not ready: {holder}"))
        }
        // Nobody is there to take over, as when all of them wake up.
        Pod::Absent | Pod::Unready | Pod::Ended if !is_any_ready(situation) => {
            (WAITING, format!("not ready: {}", listed(situation.names)))
        }
        Pod::Absent | Pod::Unready | Pod::Ended | Pod::Ready => {
            (FAILING_OVER, format!("Initiating a failover from {holder}"))
        }
    }
}

fn is_any_ready(situation: &Situation<'_>) -> bool {
    let mut pods = situation.seen.places.values().map(|place| place.pod);
    pods.any(|pod| pod == Pod::Ready)
}

fn restarts(primary: &impl Display) -> String {
    format!("PostgreSQL of {primary} starts again, as it was asked to")
}

/// What keeps clients from writing, as the primary itself says; none if nothing does. The phase stays
/// where another one says why.
pub(super) fn unserved(
    status: &ClusterStatus,
    heard: &Heard,
) -> Option<(Option<&'static str>, String)> {
    let known = status.phase.as_deref().unwrap_or_default();
    let told = match heard.primary.as_ref()? {
        // It says itself that it holds the office: nobody is looking for another one.
        Primary::IsNotOpen { name, doing, why } if known != SWITCHING_OVER => {
            format!("{name} is not open for clients ({doing}: {why})")
        }
        Primary::Waits { needed, there } => {
            console::commits(Commits::Waiting { needed: *needed, there: *there })
        }
        Primary::Serves | Primary::IsNotOpen { .. } => return None,
    };
    match known {
        HEALTHY | WAITING | FAILING_OVER => {
            let besides = status.phase_reason.as_ref().filter(|_| known == WAITING);
            let besides = besides.map(|reason| format!("; {reason}")).unwrap_or_default();
            Some((Some(WAITING), format!("{told}{besides}")))
        }
        _ => {
            let besides = status.phase_reason.as_ref();
            let besides = besides.map(|reason| format!("{reason}; ")).unwrap_or_default();
            Some((None, format!("{besides}{told}")))
        }
    }
}

/// What agents say in place of what was known without them, if it is graver.
pub(super) fn heard(
    (status, spec): (&ClusterStatus, &ClusterSpec),
    next: Next,
    heard: &Heard,
) -> Option<(&'static str, String)> {
    let known = status.phase.as_deref().unwrap_or_default();
    // Clients wait for these two.
    if matches!(known, FAILING_OVER | SWITCHING_OVER) {
        return None;
    }
    if !heard.full.is_empty() {
        let besides = status.phase_reason.as_ref();
        let besides = besides.map(|reason| format!("; {reason}")).unwrap_or_default();
        let told = space::sentence(spec, &heard.full);
        return Some((NOT_ENOUGH_SPACE, format!("{told}{besides}")));
    }
    let restarting = heard.restarting.iter().map(ToString::to_string);
    let primary = restarting.into_iter().find(|name| status.current_primary.as_ref() == Some(name));
    if let Some(primary) = primary
        && matches!(known, HEALTHY | WAITING)
    {
        return Some((IN_PLACE, restarts(&primary)));
    }
    if known != HEALTHY || status.phase_reason.is_some() {
        return None;
    }
    if heard.unreached {
        let told = format!(
            "no agent answers the operator, though instances are ready, so that it does not know \
             whether they have taken up what was asked for (fix: a NetworkPolicy that lets it reach \
             port {AGENT_PORT} of their pods)"
        );
        return Some((UNREACHED, told));
    }
    if !heard.late.is_empty() {
        let late = listed(&heard.late);
        let has = if heard.late.len() == 1 { "has" } else { "have" };
        let told = format!("PostgreSQL configuration changed: {late} {has} yet to take it up");
        return Some((APPLYING, told));
    }
    let names: Vec<InstanceName> = heard.pending.keys().cloned().collect();
    let settings: BTreeSet<&String> = heard.pending.values().flatten().collect();
    let settings: Vec<&str> = settings.into_iter().map(String::as_str).collect();
    let (names, settings) = (listed(&names), settings.join(", "));
    let changed = "PostgreSQL configuration changed";
    match next {
        _ if heard.pending.is_empty() && heard.refused.is_empty() => None,
        _ if heard.pending.is_empty() => {
            Some((HEALTHY, format!("left out: {}", heard.refused.join("; "))))
        }
        Next::ForTheUser => Some((
            WAITING_FOR_USER,
            format!(
                "User must issue a supervised switchover: {settings} wait for {names} to restart"
            ),
        )),
        Next::SwitchOver => {
            Some((APPLYING, format!("{changed}: {names} hands over, for {settings}")))
        }
        Next::Restart => Some((IN_PLACE, format!("{changed}: {names} restarts, for {settings}"))),
        Next::Nothing => Some((APPLYING, format!("{changed}: {names} restarts, for {settings}"))),
    }
}

fn listed(names: &[InstanceName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_api::agent::{FullVolume, VolumeHolds};
    use pgherd_core::fleet::{Form, Place, Volumes};
    use pgherd_core::names::ClusterName;
    use pgherd_core::record::{Holder, Phase, WriteId};
    use pgherd_core::units::{Bytes, SystemId, Timeline};

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
        let fenced = &BTreeSet::new();
        let verdict = &Verdict::WithoutPrimary { holder: instance(1) };
        let (phase, reason) = phase(&Situation { verdict, seen, names, fenced, known });
        format!("{phase}: {reason}\n")
    }

    fn beside_a_ready_one(pod: Pod) -> Seen {
        let (mut seen, mut other) = (seen(pod), seen(Pod::Ready));
        let place = other.places.remove(&instance(1)).unwrap();
        seen.places.insert(instance(2), place);
        seen
    }

    #[test]
    fn a_primary_that_is_not_ready_is_not_always_a_failover() {
        let (alone, both) = ([instance(1)], [instance(1), instance(2)]);
        let pods = [Pod::Unready, Pod::Going, Pod::Absent];
        let told = [
            told(&seen(Pod::Unready), &both, Some(SETTING_UP)),
            told(&seen(Pod::Unready), &both, Some(IN_PLACE)),
            told(&seen(Pod::Going), &both, Some(IN_PLACE)),
            pods.map(|pod| told(&beside_a_ready_one(pod), &both, Some(HEALTHY))).concat(),
            told(&seen(Pod::Unready), &both, Some(HEALTHY)),
            pods.map(|pod| told(&seen(pod), &alone, Some(HEALTHY))).concat(),
        ];
        expect![[r"
            Setting up primary: Creating primary instance db-1
            Primary instance is being restarted in-place: PostgreSQL of db-1 starts again, as it was asked to
            Switchover in progress: db-1 hands over, for its pod is removed
            Failing over: Initiating a failover from db-1
            Switchover in progress: db-1 hands over, for its pod is removed
            Failing over: Initiating a failover from db-1
            Waiting for the instances to become active: not ready: db-1, db-2
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
        let fenced = &BTreeSet::new();
        let situation =
            Situation { verdict: &Verdict::Healthy, seen: &seen, names: &[], fenced, known: None };
        let told = phase(&situation);
        assert_eq!(told, (SWITCHING_OVER, "Switching over to db-2".to_owned()));
    }

    #[test]
    fn who_waits_to_be_replaced_is_told_without_a_time_that_would_change() {
        let (instance, left) = (instance(2), std::time::Duration::from_secs(7));
        let verdict = &Verdict::Delayed { instance, left };
        let fenced = &BTreeSet::new();
        let situation =
            Situation { verdict, seen: &seen(Pod::Ready), names: &[], fenced, known: None };
        let (phase, reason) = phase(&situation);
        expect!["Cluster upgrade delayed: db-2 waits to be replaced, as the operator is configured (CLUSTERS_ROLLOUT_DELAY, INSTANCES_ROLLOUT_DELAY)"].assert_eq(&format!("{phase}: {reason}"));
    }

    #[test]
    fn what_agents_say_is_told_while_nothing_graver_goes_on() {
        let settings = ["max_connections", "shared_buffers"].map(ToOwned::to_owned);
        let late = || Heard { late: vec![instance(2)], ..Heard::default() };
        let pending =
            || Heard { pending: [(instance(1), settings.to_vec())].into(), ..Heard::default() };
        let restarting = |serials: &[u32]| {
            let restarting = serials.iter().map(|serial| instance(*serial)).collect();
            Heard { restarting, ..Heard::default() }
        };
        let unreached = || Heard { unreached: true, ..Heard::default() };
        let refused =
            || Heard { refused: vec!["work_mem is no number".to_owned()], ..Heard::default() };
        let data =
            FullVolume { holds: VolumeHolds::Data, size: Bytes(10 << 30), left: Bytes(20 << 20) };
        let full = || Heard { full: [(instance(3), vec![data])].into(), ..late() };
        let told = |known: &str, reason: Option<&str>, (next, said): (Next, Heard)| {
            let status = ClusterStatus {
                phase: Some(known.to_owned()),
                phase_reason: reason.map(ToOwned::to_owned),
                current_primary: Some("db-1".to_owned()),
                ..ClusterStatus::default()
            };
            let spec = ClusterSpec::default();
            let told = heard((&status, &spec), next, &said);
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
            told(HEALTHY, None, (Next::Nothing, full())),
            told(WAITING, Some("not ready: db-3"), (Next::Nothing, full())),
            told(FAILING_OVER, None, (Next::Nothing, full())),
            told(WAITING, Some("not ready: db-2"), (Next::Nothing, restarting(&[1, 2]))),
            told(HEALTHY, None, (Next::Nothing, restarting(&[1]))),
            told(HEALTHY, None, (Next::Nothing, restarting(&[2]))),
            told(FAILING_OVER, None, (Next::Nothing, restarting(&[1]))),
            told(HEALTHY, None, (Next::Nothing, unreached())),
            told(HEALTHY, Some("hibernated"), (Next::Nothing, unreached())),
            told(HEALTHY, None, (Next::Nothing, refused())),
        ];
        expect![[r"
            nothing
            Applying configuration: PostgreSQL configuration changed: db-2 has yet to take it up
            Applying configuration: PostgreSQL configuration changed: db-1 hands over, for max_connections, shared_buffers
            Primary instance is being restarted in-place: PostgreSQL configuration changed: db-1 restarts, for max_connections, shared_buffers
            Waiting for user action: User must issue a supervised switchover: max_connections, shared_buffers wait for db-1 to restart
            nothing
            nothing
            Not enough disk space: db-3: persistentvolumeclaim/db-3 is 99 % full (10.0 GiB) (fix: a larger spec.storage.size of the Cluster, which is passed on at once if the StorageClass allows volumes to grow)
            Not enough disk space: db-3: persistentvolumeclaim/db-3 is 99 % full (10.0 GiB) (fix: a larger spec.storage.size of the Cluster, which is passed on at once if the StorageClass allows volumes to grow); not ready: db-3
            nothing
            Primary instance is being restarted in-place: PostgreSQL of db-1 starts again, as it was asked to
            Primary instance is being restarted in-place: PostgreSQL of db-1 starts again, as it was asked to
            nothing
            nothing
            Instance Status Extraction Error: HTTP communication issue: no agent answers the operator, though instances are ready, so that it does not know whether they have taken up what was asked for (fix: a NetworkPolicy that lets it reach port 8001 of their pods)
            nothing
            Cluster in healthy state: left out: work_mem is no number
        "]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn a_fence_is_told_and_is_no_failover() {
        let both = [instance(1), instance(2)];
        let told = |verdict: &Verdict, serials: &[u32]| {
            let fenced = serials.iter().map(|serial| instance(*serial)).collect();
            let seen = &seen(Pod::Unready);
            let (names, known) = (&both[..], Some(HEALTHY));
            let (phase, why) = phase(&Situation { verdict, seen, names, fenced: &fenced, known });
            format!("{phase}: {why}\n")
        };
        let told = [
            told(&Verdict::WithoutPrimary { holder: instance(1) }, &[1]),
            told(&Verdict::Healthy, &[1]),
            told(&Verdict::Waiting { instances: both.to_vec() }, &[2]),
            told(&Verdict::Resting, &[1]),
        ];
        expect![[r#"
            Waiting for the instances to become active: db-1 is fenced: clients cannot write, and nobody takes over, until it no longer is
            Waiting for the instances to become active: db-1 is fenced: clients cannot write, and nobody takes over, until it no longer is
            Waiting for the instances to become active: not ready: db-1, db-2 (fenced)
            Cluster in healthy state: hibernated
        "#]].assert_eq(&told.concat());
    }

    #[test]
    fn clients_that_cannot_write_are_told_before_all_else() {
        let told = |known: &str, reason: Option<&str>, primary: &Primary| {
            let status = ClusterStatus {
                phase: Some(known.to_owned()),
                phase_reason: reason.map(ToOwned::to_owned),
                ..ClusterStatus::default()
            };
            let heard = Heard { primary: Some(primary.clone()), ..Heard::default() };
            let told = unserved(&status, &heard);
            told.map_or("nothing\n".to_owned(), |(phase, why)| {
                format!("{}: {why}\n", phase.unwrap_or("as it is"))
            })
        };
        let waits = Primary::Waits { needed: 1, there: 0 };
        let why = "waits until it is confirmed by 1 of (db-2)".to_owned();
        let opens = Primary::IsNotOpen { name: instance(1), doing: "opening".to_owned(), why };
        let told = [
            told(HEALTHY, None, &Primary::Serves),
            told(HEALTHY, None, &waits),
            told(WAITING, Some("not ready: db-2"), &waits),
            told("Creating a new replica", Some("Creating replica db-3"), &waits),
            told(FAILING_OVER, Some("Initiating a failover from db-1"), &opens),
            told(SETTING_UP, Some("Creating primary instance db-1"), &opens),
            told(SWITCHING_OVER, Some("Switching over to db-2"), &opens),
        ];
        expect![[r#"
            nothing
            Waiting for the instances to become active: commits wait: 0 of the 1 standbys that have to confirm them are there
            Waiting for the instances to become active: commits wait: 0 of the 1 standbys that have to confirm them are there; not ready: db-2
            as it is: Creating replica db-3; commits wait: 0 of the 1 standbys that have to confirm them are there
            Waiting for the instances to become active: db-1 is not open for clients (opening: waits until it is confirmed by 1 of (db-2))
            as it is: Creating primary instance db-1; db-1 is not open for clients (opening: waits until it is confirmed by 1 of (db-2))
            nothing
        "#]].assert_eq(&told.concat());
    }
}
