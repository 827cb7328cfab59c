//! What is to know of the backups that Backup objects ask for.
//!
//! Never takes one: an agent does, and its object tells how.

pub mod recoverable;

use crate::errand::status::{FINALIZING, RUNNING, STARTED, second};
use crate::errand::{Archive, Work, asked_by};
use crate::run::Context;
use kube::runtime::reflector::Store;
use pgherd_api::agent::{
    AskedBy, BackupNamed, BackupOrder, BackupPhase, BackupReport, Status, names,
};
use pgherd_api::backup::{Backup, BackupStatus, mode};
use pgherd_api::cluster::object_store::Encryption;
use pgherd_api::errand::{COMPLETED, FAILED};
use pgherd_core::backup::course::Heard;
use std::collections::BTreeMap;

const METHOD: &str = "barmanObjectStore";

impl Work for Backup {
    type Order = BackupOrder;
    type Named = BackupNamed;
    type Report = BackupReport;

    const BEGIN: &'static str = names::BACKUP_BEGIN;
    const READ: &'static str = names::BACKUP_READ;
    const CANCEL: &'static str = names::BACKUP_CANCEL;
    const PENDING: &'static str = "BackupPending";
    const NEEDS_LOG: bool = true;

    fn store(context: &Context) -> &Store<Self> {
        &context.backups
    }

    fn unable(&self) -> Option<String> {
        self.refusal()
    }

    fn order(&self, name: String) -> BackupOrder {
        BackupOrder { asked_by: Some(asked_by(&self.metadata)), ..self.ordered(name) }
    }

    fn named(name: String) -> BackupNamed {
        BackupNamed { name: Some(name) }
    }

    fn heard(report: &BackupReport) -> Heard<'_> {
        report.heard()
    }

    fn marked(status: BackupStatus) -> BackupStatus {
        BackupStatus { method: Some(METHOD.to_owned()), ..status }
    }

    fn addressed(status: BackupStatus, archive: &Archive<'_>) -> BackupStatus {
        let Archive { store, told } = archive;
        let encryption = told.and_then(|told| told.data.encryption).map(|it| match it {
            Encryption::Aes256 => "AES256".to_owned(),
            Encryption::AwsKms => "aws:kms".to_owned(),
        });
        BackupStatus {
            server_name: told.map(|told| told.server.clone()),
            destination_path: told.map(|told| told.destination.clone()),
            endpoint_url: told.and_then(|told| told.endpoint.clone()),
            endpoint_ca: store.and_then(|store| store.endpoint_ca.clone()),
            s3_credentials: store.and_then(|store| store.s3_credentials.clone()),
            azure_credentials: store.and_then(|store| store.azure_credentials.clone()),
            google_credentials: store.and_then(|store| store.google_credentials.clone()),
            encryption,
            ..Self::marked(status)
        }
    }

    fn reported(before: BackupStatus, report: &BackupReport) -> BackupStatus {
        let phase = match report.phase {
            BackupPhase::Starting => STARTED,
            BackupPhase::Checkpoint | BackupPhase::Copy => RUNNING,
            BackupPhase::Wal => FINALIZING,
            BackupPhase::Completed => COMPLETED,
            BackupPhase::Failed | BackupPhase::Cancelled => FAILED,
        };
        let (began, taken) = (report.began.as_ref(), report.taken.as_ref());
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
            command_output: output(report),
            plugin_metadata: built(report),
            ..before
        }
    }

    fn running(status: &Status) -> Option<(&AskedBy, &str)> {
        let report = status.backup.as_ref().filter(|report| !report.phase.is_over())?;
        Some((report.asked_by.as_ref()?, report.name.as_str()))
    }

    fn keep(&self, report: &BackupReport, context: &Context) {
        context.recoverable.note(self, report.recoverable_since);
    }
}

/// What is to be known of one that is completed: what is wrong with it, and why it is not what was
/// wanted.
fn output(report: &BackupReport) -> Option<String> {
    let full = report.full_because.as_ref().map(|why| format!("{}{why}", mode::FULL_TAKEN));
    let lines: Vec<String> = full.into_iter().chain(report.warnings.iter().cloned()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The same for programs, with what CloudNativePG has no field for. It has one for whatever takes a
/// backup to note.
fn built(report: &BackupReport) -> BTreeMap<String, String> {
    let mode = match (&report.builds_on, &report.full_because) {
        (Some(_), _) => Some("incremental"),
        (None, Some(_)) => Some("full"),
        // Until it is stored nobody knows what an incremental one has become.
        (None, None) => None,
    };
    let told = [
        (mode::BACKUP_MODE, mode.map(ToOwned::to_owned)),
        (mode::BUILDS_ON, report.builds_on.clone()),
        (mode::FULL_BECAUSE, report.full_because.clone()),
        (mode::ALL_READ_BECAUSE, report.all_read_because.clone()),
    ];
    let told = told.into_iter();
    told.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
pub(crate) mod fixtures;

#[cfg(test)]
mod tests {
    use super::fixtures::report;
    use super::*;
    use crate::errand::status::{anew, begun, ended, instance, turn, waiting};
    use expect_test::expect;
    use k8s_openapi::jiff::Timestamp;
    use pgherd_api::cluster::object_store::BarmanObjectStore;
    use pgherd_api::errand::Told;
    use pgherd_core::backup::course::Wait;
    use pgherd_core::backup::taker::NoTaker;
    use pgherd_core::names::InstanceName;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_backup_that_went_well_is_told_as_users_know_it() {
        let now = at(1_800_000_000);
        let no_taker = Wait::ForTaker { why: NoTaker::Nobody };
        let waits = Backup::marked(waiting(BackupStatus::default(), &no_taker, now));
        assert_eq!(waits.error, Some(NoTaker::Nobody.to_string()));
        assert_eq!(turn(&waits.going(), at(1_800_000_060)), Duration::from_mins(1));
        let db = InstanceName::parse("db-2").unwrap();
        let store: BarmanObjectStore = serde_json::from_value(serde_json::json!({
            "destinationPath": "s3://b", "endpointCA": {"name": "ca", "key": "ca.crt"},
            "s3Credentials": {"inheritFromIAMRole": true},
        }))
        .unwrap();
        let instance = instance((&db, None), "nightly.4f3a21bc".to_owned());
        let begun = begun(waits, instance, at(1_800_000_010));
        let begun = Backup::addressed(begun, &Archive { store: Some(&store), told: None });
        assert_eq!(begun.going().taker(), Some(db));
        let told =
            ended(Backup::reported(begun, &report(BackupPhase::Completed)), at(1_800_000_020));
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
        assert!(told.going().is_over());
    }

    #[test]
    fn what_a_backup_builds_on_is_told_and_why_it_is_a_full_one() {
        let told = |report: BackupReport| {
            let told = Backup::reported(BackupStatus::default(), &report);
            format!("{:?} {:?}\n", told.command_output, told.plugin_metadata)
        };
        let of = || report(BackupPhase::Completed);
        let why = || Some("there is no backup with the sums of its pages".to_owned());
        let warnings = vec!["2 pages are damaged".to_owned()];
        let on = Some("20261121T112233".to_owned());
        let told = [
            told(of()),
            told(BackupReport { builds_on: on, ..of() }),
            told(BackupReport { full_because: why(), ..of() }),
            told(BackupReport { full_because: why(), warnings, ..of() }),
        ];
        expect![[r#"
            None {}
            None {"pgherd.dev/backupMode": "incremental", "pgherd.dev/buildsOn": "20261121T112233"}
            Some("a full backup is taken: there is no backup with the sums of its pages") {"pgherd.dev/backupMode": "full", "pgherd.dev/fullBecause": "there is no backup with the sums of its pages"}
            Some("a full backup is taken: there is no backup with the sums of its pages\n2 pages are damaged") {"pgherd.dev/backupMode": "full", "pgherd.dev/fullBecause": "there is no backup with the sums of its pages"}
        "#]]
        .assert_eq(&told.concat());
    }

    #[test]
    fn an_object_says_how_its_backup_is_taken() {
        let order = |annotations: serde_json::Value, spec: serde_json::Value| {
            let mut object = serde_json::json!({
                "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup",
                "metadata": {"name": "b", "annotations": annotations},
                "spec": {"cluster": {"name": "db"}, "onlineConfiguration": spec},
            });
            if spec.is_null() {
                object["spec"] = serde_json::json!({"cluster": {"name": "db"}});
            }
            let backup: Backup = serde_json::from_value(object).unwrap();
            (serde_json::to_string(&backup.order("b".to_owned())).unwrap(), backup.unable())
        };
        let (usual, unable) = order(serde_json::json!({}), serde_json::Value::Null);
        expect![[r#"{"name":"b","immediateCheckpoint":null,"waitForArchive":true,"incremental":null,"askedBy":{"name":"b","uid":""},"rate":null}"#]]
        .assert_eq(&usual);
        assert_eq!(unable, None);
        let (other, _) = order(
            serde_json::json!({"pgherd.dev/backupRate": "50Mi"}),
            serde_json::json!({"immediateCheckpoint": true, "waitForArchive": false}),
        );
        expect![[r#"{"name":"b","immediateCheckpoint":true,"waitForArchive":false,"incremental":null,"askedBy":{"name":"b","uid":""},"rate":{"atMost":52428800}}"#]]
        .assert_eq(&other);
        let (_, unable) =
            order(serde_json::json!({"pgherd.dev/backupRate": "slow"}), serde_json::Value::Null);
        assert!(unable.is_some_and(|why| why.contains("backupRate")));
    }

    #[test]
    fn a_backup_that_is_begun_anew_has_forgotten_its_last_attempt() {
        let last = Backup::reported(BackupStatus::default(), &report(BackupPhase::Copy));
        assert_eq!(last.phase.as_deref(), Some("running"));
        let (second, why) = ("nightly.4f3a21bc.2", "in 10 s, because PostgreSQL was stopped");
        let told: BackupStatus = anew((second.to_owned(), why), at(1_800_000_000));
        expect![[r#"
            {"phase":"pending","error":"begun anew in 10 s, because PostgreSQL was stopped","reconciliationStartedAt":"2027-01-15T08:00:00Z","instanceID":{"sessionID":"nightly.4f3a21bc.2"}}
        "#]]
        .assert_eq(&(serde_json::to_string(&told).unwrap() + "\n"));
        assert_eq!(told.going().taker(), None);
    }
}
