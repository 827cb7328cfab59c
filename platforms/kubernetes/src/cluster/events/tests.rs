//! Compares what is told of a round with what happened in it.
//!
//! Never looks at how events are written.

use super::*;
use crate::cluster::certificates::{Field, Problem};
use crate::cluster::manifests::fixtures::Sample;
use expect_test::{Expect, expect};
use pgherd_core::names::ClusterName;
use pgherd_core::record::{Holder, Takeover, WriteId};
use pgherd_core::units::{Epoch, Lsn, SystemId, Timeline};
use std::time::{Duration, SystemTime};

fn instance(serial: u32) -> InstanceName {
    InstanceName::new(&ClusterName::parse("db").unwrap(), serial)
}

fn holder(serial: u32) -> Holder {
    Holder { instance: instance(serial), volume: 1, incarnation: 1 }
}

/// The first instance's, after these others took office.
fn record(takeovers: &[(u32, Cause)]) -> Record {
    let first = Record::first(holder(1), SystemId(7), Timeline(1), WriteId::default());
    takeovers.iter().fold(first, |record, (serial, cause)| {
        let takeover = Takeover {
            holder: holder(*serial),
            epoch: Epoch(record.epoch.0 + 1),
            parent: record.timeline,
            parent_began: Lsn(1),
            began: None,
            cause: *cause,
            pair: None,
        };
        record.taken_over(WriteId::default(), takeover)
    })
}

fn status(phase: &str, timeline: i64) -> ClusterStatus {
    let (phase, timeline_id) = (Some(phase.to_owned()), Some(timeline));
    ClusterStatus { phase, timeline_id, ..ClusterStatus::default() }
}

fn told(events: &[Event]) -> String {
    let line = |event: &Event| {
        let Event { kind, reason, note, mark } = event;
        format!("{kind:?} {reason} [{mark}] {note}\n")
    };
    events.iter().map(line).collect()
}

fn check(before: &ClusterStatus, after: &ClusterStatus, record: &Record, expected: &Expect) {
    let round = Round {
        before,
        after,
        record: Some(record),
        done: &[],
        realised: &Ok(()),
        verdict: &Verdict::Healthy,
        generation: Some(1),
    };
    expected.assert_eq(&told(&events(&round)));
}

const HEALTHY: &str = "Cluster in healthy state";

#[test]
fn nothing_is_told_when_nothing_has_changed() {
    let record = record(&[(2, Cause::GrantsLost)]);
    check(&status(HEALTHY, 3), &status(HEALTHY, 3), &record, &expect![]);
    check(&ClusterStatus::default(), &status(HEALTHY, 3), &record, &expect![]);
}

#[test]
fn a_failover_is_told_when_it_is_noticed_and_when_it_is_done() {
    let (first, second) = (record(&[]), record(&[(2, Cause::TermOver)]));
    check(
        &status(HEALTHY, 2),
        &status(FAILING_OVER, 2),
        &first,
        &expect![[r"
            Normal FailingOver [2] Current primary isn't healthy, initiating a failover from db-1
        "]],
    );
    check(&status(FAILING_OVER, 2), &status(FAILING_OVER, 2), &first, &expect![]);
    // The first one has the same mark as before.
    check(
        &status(FAILING_OVER, 2),
        &status(HEALTHY, 3),
        &second,
        &expect![[r"
            Normal FailingOver [2] Current primary isn't healthy, initiating a failover from db-1
            Normal FailoverTarget [3] Failing over from db-1 to db-2
        "]],
    );
}

#[test]
fn every_change_of_office_is_told_also_those_that_were_not_seen() {
    let office = [
        (2, Cause::HandedOver),
        (2, Cause::Retaken),
        (3, Cause::Released),
        (3, Cause::GrantsLost),
        (1, Cause::HandedOver),
    ];
    check(
        &status(HEALTHY, 2),
        &status(HEALTHY, 7),
        &record(&office),
        &expect![[r"
            Normal SwitchingOver [3] Switching over from db-1 to db-2
            Normal FailingOver [4] Current primary isn't healthy, initiating a failover from db-2
            Normal FailoverTarget [5] Failing over from db-2 to db-3
            Normal SwitchingOver [7] Switching over from db-3 to db-1
        "]],
    );
}

#[test]
fn what_was_done_and_what_could_not_be_done_is_told() {
    let made = |serial, with| Done::MadeVolumes {
        instance: instance(serial),
        with,
        uid: format!("v{serial}"),
    };
    let ended = |serial, because| Done::EndedPod {
        instance: instance(serial),
        because,
        uid: format!("p{serial}"),
    };
    let done = [
        made(1, Data::Initdb),
        made(1, Data::PhysicalBackup),
        made(2, Data::Copy),
        ended(3, Because::Outdated),
        ended(3, Because::Leaving),
        ended(3, Because::Ended),
        ended(3, Because::Stopped),
        Done::RemovedVolumes { instance: instance(3), uid: "v3".to_owned() },
    ];
    let foreign = |kind: &str| {
        let (kind, object) = (kind.to_owned().into(), format!("{kind} shop/db"));
        RealiseError::Ensure(EnsureError::Foreign { kind, object })
    };
    let failures = [
        RealiseError::Lack("no Secret".into()),
        RealiseError::Supplied("old".into()),
        foreign("Lease"),
        foreign("Role"),
    ];
    let (nothing, failed) = (ClusterStatus::default(), failed());
    let round = |done: &[Done], realised: &Result<(), RealiseError>| {
        let after = if realised.is_ok() { &nothing } else { &failed };
        let before = &nothing;
        let verdict = &Verdict::Healthy;
        let (record, generation) = (None, Some(4));
        told(&events(&Round { before, after, record, done, realised, verdict, generation }))
    };
    let failures = failures.map(|failure| round(&[], &Err(failure)));
    expect![[r"
        Normal CreatingInstance [v1] Primary instance (initdb)
        Normal CreatingInstance [v1] Primary instance (from physical backup)
        Normal CreatingInstance [v2] Creating instance db-2
        Normal UpgradingInstance [p3] Upgrading instance db-3
        Normal ScaleDown [p3] Scaling down - removing instance: db-3
        Normal DeletePod [p3] Deleted ended pod db-3
        Normal DeletePod [p3] Deleted pod db-3 to hibernate
        Normal DeletePVCs [v3] Deleted PVCs of instance db-3
        Warning SecretNotFound [4] Unable to create required cluster objects: no Secret
        Warning InvalidCertificate [4] Unable to create required cluster objects: old
        Warning PrimaryLeaseConflict [4] Unable to create required cluster objects: making its objects: Lease shop/db is there already and does not belong to this cluster: remove or rename it, and the cluster goes on by itself
        Warning UnableToCreateObjects [4] Unable to create required cluster objects: making its objects: Role shop/db is there already and does not belong to this cluster: remove or rename it, and the cluster goes on by itself
    "]]
    .assert_eq(&[&[round(&done, &Ok(()))], &failures[..]].concat().concat());
}

#[test]
fn what_was_asked_and_found_is_told() {
    let secret = "web".to_owned();
    let problem = Problem::Ending { key: "tls.crt", not_after: SystemTime::UNIX_EPOCH };
    let done = [
        Done::Fenced { instance: instance(2), specification: 7 },
        Done::Unfenced { instance: instance(2), specification: 8 },
        Done::AskedToRestart { instance: instance(1), request: 3 },
        Done::BecameOurs {
            instance: instance(1),
            from: "0123456789".to_owned(),
            to: "abcdefghij".to_owned(),
            uid: "p1".to_owned(),
        },
        Done::FoundEnding(Complaint::Secret { secret, field: Field::ServerCertificate, problem }),
    ];
    expect![[r"
        Normal FencePod [7] Fencing Pod db-2
        Normal UnfencePod [8] Unfencing Pod db-2
        Normal RestartingInstance [3] Restarting instance db-1
        Normal InstanceManagerUpgraded [p1] Instance manager of db-1 upgraded from 012345 to abcdef
        Warning SecretIsExpiring [] secret web (spec.certificates.serverTLSSecret) has a certificate in key tls.crt that ends at 1970-01-01 00:00:00 +0000 UTC: renew it before
    "]]
    .assert_eq(&told(&done.iter().map(of_done).collect::<Vec<_>>()));
}

fn failed() -> ClusterStatus {
    ClusterStatus { phase_reason: Some("why".to_owned()), ..ClusterStatus::default() }
}

#[test]
fn what_goes_on_failing_is_told_once() {
    let realised = &Err(RealiseError::Lack("no Secret".into()));
    let (before, after) = (&failed(), &failed());
    let (record, done, verdict) = (None, &[], &Verdict::Healthy);
    let round = Round { before, after, record, done, realised, verdict, generation: Some(4) };
    assert_eq!(events(&round), []);
}

#[test]
fn an_instance_that_waits_to_be_replaced_is_told_once() {
    let (generation, left) = (Some(4), Duration::from_millis(58_200));
    let verdict = &Verdict::Delayed { instance: instance(3), left };
    let of = |phase: &str, reason: &str| ClusterStatus {
        phase_reason: Some(reason.to_owned()),
        ..status(phase, 2)
    };
    let healthy = status(HEALTHY, 2);
    let (first, second) = (of(UPGRADE_DELAYED, "db-3 waits"), of(UPGRADE_DELAYED, "db-2 waits"));
    let graver = of("Unable to create required cluster objects", "no Secret");
    let round = |before, after| {
        let (record, done, realised) = (None, &[], &Ok(()));
        told(&events(&Round { before, after, record, done, realised, verdict, generation }))
    };
    let told = [
        round(&healthy, &first),
        round(&first, &first),
        round(&first, &second),
        round(&healthy, &graver),
    ];
    expect![[r"
        Normal RolloutDelayed [4] Replacing pod db-3 is delayed for 59s
        Normal RolloutDelayed [4] Replacing pod db-3 is delayed for 59s
    "]]
    .assert_eq(&told.concat());
}

#[test]
fn what_is_left_alone_is_told_once() {
    let mut cluster = Sample::minimal().cluster;
    cluster.metadata.generation = Some(5);
    let failed = ClusterStatus { phase: Some("phase".to_owned()), ..failed() };
    let all = [Left::Refused, Left::WithoutOrigin, Left::WithoutImage];
    let tell = |cluster: &_| all.map(|why| told(left(cluster, &failed, why).as_slice())).concat();
    expect![[r"
        Warning InvalidClusterDefinition [5] why
        Warning BootstrapFailed [5] phase: why
        Warning DiscoverImage [5] phase: why
    "]]
    .assert_eq(&tell(&cluster));
    cluster.status = Some(failed.clone());
    assert_eq!(tell(&cluster), "");
}
