//! Says in the words of CloudNativePG's users how a backup goes.
//!
//! Never forgets what was known of it.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use pgherd_api::agent::{ArchiveSpec, BackupPhase, BackupReport};
use pgherd_api::backup::{BackupStatus, InstanceId};
use pgherd_api::cluster::object_store::{BarmanObjectStore, Encryption};
use pgherd_core::backup::course::Wait;
use pgherd_core::names::InstanceName;
use std::time::Duration;

pub(crate) const COMPLETED: &str = "completed";
pub(crate) const FAILED: &str = "failed";
const PENDING: &str = "pending";
pub(crate) const STARTED: &str = "started";
pub(crate) const RUNNING: &str = "running";
pub(crate) const FINALIZING: &str = "finalizing";
const ARCHIVING_FAILING: &str = "walArchivingFailing";
const METHOD: &str = "barmanObjectStore";

/// As Kubernetes keeps it: another one would be written again and again.
fn second(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

pub(crate) fn is_over(status: &BackupStatus) -> bool {
    matches!(status.phase.as_deref(), Some(COMPLETED | FAILED))
}

/// Who was asked for it.
pub(super) fn taker(status: &BackupStatus) -> Option<InstanceName> {
    InstanceName::parse(status.instance_id.as_ref()?.pod_name.as_ref()?).ok()
}

/// For how long it has been its turn.
pub(super) fn turn(status: &BackupStatus, now: Timestamp) -> Duration {
    let since = status.reconciliation_started_at.as_ref();
    let since = since.map(|since| now.duration_since(since.0));
    since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default()
}

pub(super) fn waiting(before: BackupStatus, wait: &Wait, now: Timestamp) -> BackupStatus {
    let phase = match wait {
        Wait::ForArchiving { .. } => ARCHIVING_FAILING,
        Wait::ForTurn { .. }
        | Wait::ForCluster
        | Wait::ForManifest
        | Wait::ForWaking
        | Wait::ForAgent { .. }
        | Wait::ForPause { .. }
        | Wait::ForTaker => PENDING,
    };
    // Whoever waits for others has its whole time once they have ended.
    let is_its_turn = !matches!(wait, Wait::ForTurn { .. });
    let since = before.reconciliation_started_at.clone().filter(|_| is_its_turn);
    let session_id = before.instance_id.as_ref().and_then(|it| it.session_id.clone());
    let session = |id| InstanceId { session_id: Some(id), ..InstanceId::default() };
    BackupStatus {
        phase: Some(phase.to_owned()),
        error: Some(wait.to_string()),
        method: Some(METHOD.to_owned()),
        reconciliation_started_at: since.or_else(|| is_its_turn.then(|| second(now))),
        // Nobody takes it.
        instance_id: session_id.map(session),
        ..before
    }
}

/// Whose pod takes it, and under which name.
pub(super) fn instance(
    (instance, pod): (&InstanceName, Option<&Pod>),
    session: String,
) -> InstanceId {
    let containers = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
    let container = containers.into_iter().flatten().find(|it| it.name == "postgres");
    InstanceId {
        pod_name: Some(instance.to_string()),
        container_id: container.and_then(|container| container.container_id.clone()),
        session_id: Some(session),
    }
}

pub(super) fn begun(
    before: BackupStatus,
    (store, told): (Option<&BarmanObjectStore>, Option<&ArchiveSpec>),
    instance: InstanceId,
    now: Timestamp,
) -> BackupStatus {
    let encryption = told.and_then(|told| told.data.encryption).map(|it| match it {
        Encryption::Aes256 => "AES256".to_owned(),
        Encryption::AwsKms => "aws:kms".to_owned(),
    });
    BackupStatus {
        phase: Some(STARTED.to_owned()),
        error: None,
        method: Some(METHOD.to_owned()),
        server_name: told.map(|told| told.server.clone()),
        destination_path: told.map(|told| told.destination.clone()),
        endpoint_url: told.and_then(|told| told.endpoint.clone()),
        endpoint_ca: store.and_then(|store| store.endpoint_ca.clone()),
        s3_credentials: store.and_then(|store| store.s3_credentials.clone()),
        azure_credentials: store.and_then(|store| store.azure_credentials.clone()),
        google_credentials: store.and_then(|store| store.google_credentials.clone()),
        encryption,
        reconciliation_started_at: before
            .reconciliation_started_at
            .clone()
            .or_else(|| Some(second(now))),
        instance_id: Some(instance),
        ..before
    }
}

/// It is begun again under another name, and nothing of the last attempt is left: nor does the time
/// count that it took.
pub(super) fn anew(
    before: BackupStatus,
    (session, lost): (String, &str),
    now: Timestamp,
) -> BackupStatus {
    let instance = InstanceId { session_id: Some(session), ..InstanceId::default() };
    BackupStatus {
        phase: Some(PENDING.to_owned()),
        error: Some(format!("begun anew {lost}")),
        method: before.method,
        reconciliation_started_at: Some(second(now)),
        instance_id: Some(instance),
        ..BackupStatus::default()
    }
}

/// What its agent says.
pub(super) fn reported(before: BackupStatus, report: &BackupReport) -> BackupStatus {
    let phase = match report.phase {
        BackupPhase::Starting => STARTED,
        BackupPhase::Checkpoint | BackupPhase::Copy => RUNNING,
        BackupPhase::Wal => FINALIZING,
        BackupPhase::Completed => COMPLETED,
        BackupPhase::Failed | BackupPhase::Cancelled => FAILED,
    };
    let (began, taken) = (report.began.as_ref(), report.taken.as_ref());
    let warnings = (!report.warnings.is_empty()).then(|| report.warnings.join("\n"));
    BackupStatus {
        phase: Some(phase.to_owned()),
        error: report.failure.clone(),
        backup_id: report.id.clone(),
        backup_name: Some(report.name.clone()),
        server_name: Some(report.server.clone()),
        destination_path: Some(report.destination.clone()),
        endpoint_url: report.endpoint.clone(),
        begin_wal: began.map(|began| began.wal.clone()),
        begin_lsn: began.map(|began| began.lsn.to_string()),
        end_wal: taken.map(|taken| taken.wal.clone()),
        end_lsn: taken.map(|taken| taken.lsn.to_string()),
        started_at: began.map(|began| second(began.at)),
        stopped_at: taken.map(|taken| second(taken.at)),
        major_version: began.map(|began| i64::from(began.version / 10_000)),
        command_output: warnings,
        ..before
    }
}

pub(super) fn ended(status: BackupStatus, now: Timestamp) -> BackupStatus {
    BackupStatus { reconciliation_terminated_at: Some(second(now)), ..status }
}

pub(super) fn failed(before: BackupStatus, why: &str, now: Timestamp) -> BackupStatus {
    let (phase, error) = (Some(FAILED.to_owned()), Some(why.to_owned()));
    ended(BackupStatus { phase, error, ..before }, now)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::report;
    use super::*;
    use expect_test::expect;
    use pgherd_core::backup::taker::NoTaker;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_backup_that_went_well_is_told_as_users_know_it() {
        let now = at(1_800_000_000);
        let waits = waiting(BackupStatus::default(), &Wait::ForTaker, now);
        assert_eq!(waits.error, Some(NoTaker.to_string()));
        assert_eq!(turn(&waits, at(1_800_000_060)), Duration::from_mins(1));
        let db = InstanceName::parse("db-2").unwrap();
        let store: BarmanObjectStore = serde_json::from_value(serde_json::json!({
            "destinationPath": "s3://b", "endpointCA": {"name": "ca", "key": "ca.crt"},
            "s3Credentials": {"inheritFromIAMRole": true},
        }))
        .unwrap();
        let instance = instance((&db, None), "nightly.4f3a21bc".to_owned());
        let begun = begun(waits, (Some(&store), None), instance, at(1_800_000_010));
        assert_eq!(taker(&begun), Some(db));
        let told = ended(reported(begun, &report(BackupPhase::Completed)), at(1_800_000_020));
        expect![[r#"
            {
              "phase": "completed",
              "method": "barmanObjectStore",
              "backupId": "20261122T112233",
              "backupName": "nightly.4f3a21bc",
              "serverName": "db",
              "destinationPath": "s3://b",
              "endpointCA": {
                "name": "ca",
                "key": "ca.crt"
              },
              "s3Credentials": {
                "inheritFromIAMRole": true
              },
              "beginWal": "000000010000000000000004",
              "endWal": "000000010000000000000005",
              "beginLSN": "0/4000028",
              "endLSN": "0/5000000",
              "startedAt": "2026-11-22T11:22:33Z",
              "stoppedAt": "2026-11-22T11:30:00Z",
              "reconciliationStartedAt": "2027-01-15T08:00:00Z",
              "reconciliationTerminatedAt": "2027-01-15T08:00:20Z",
              "instanceID": {
                "podName": "db-2",
                "sessionID": "nightly.4f3a21bc"
              },
              "majorVersion": 15
            }
        "#]]
        .assert_eq(&(serde_json::to_string_pretty(&told).unwrap() + "\n"));
        assert!(is_over(&told));
    }

    #[test]
    fn a_backup_that_is_begun_anew_has_forgotten_its_last_attempt() {
        let last = reported(BackupStatus::default(), &report(BackupPhase::Copy));
        assert_eq!(last.phase.as_deref(), Some("running"));
        let told = anew(
            last,
            ("nightly.4f3a21bc.2".to_owned(), "in 10 s, because PostgreSQL was stopped"),
            at(1_800_000_000),
        );
        expect![[r#"
            {"phase":"pending","error":"begun anew in 10 s, because PostgreSQL was stopped","reconciliationStartedAt":"2027-01-15T08:00:00Z","instanceID":{"sessionID":"nightly.4f3a21bc.2"}}
        "#]]
        .assert_eq(&(serde_json::to_string(&told).unwrap() + "\n"));
        assert_eq!(taker(&told), None);
    }
}
