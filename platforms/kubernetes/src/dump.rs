//! What is to know of the logical dumps that Dump objects ask for.
//!
//! Never takes one: an agent does, and its object tells how.

use crate::errand::status::{RUNNING, STARTED, second};
use crate::errand::{Archive, Work, asked_by};
use crate::run::Context;
use kube::runtime::reflector::Store;
use pgherd_api::agent::{AskedBy, DumpNamed, DumpOrder, DumpPhase, DumpReport, Status, names};
use pgherd_api::dump::{Dump, DumpStatus};
use pgherd_api::errand::{COMPLETED, FAILED, Going, Told};
use pgherd_core::backup::course::Heard;
use pgherd_core::units::Bytes;

impl Work for Dump {
    type Order = DumpOrder;
    type Named = DumpNamed;
    type Report = DumpReport;

    const BEGIN: &'static str = names::DUMP_BEGIN;
    const READ: &'static str = names::DUMP_READ;
    const CANCEL: &'static str = names::DUMP_CANCEL;
    const PENDING: &'static str = "DumpPending";
    const NEEDS_LOG: bool = false;

    fn store(context: &Context) -> &Store<Self> {
        &context.dumps
    }

    fn order(&self, name: String) -> DumpOrder {
        DumpOrder { asked_by: Some(asked_by(&self.metadata)), ..self.spec.content.order(name) }
    }

    fn named(name: String) -> DumpNamed {
        DumpNamed { name: Some(name) }
    }

    fn heard(report: &DumpReport) -> Heard<'_> {
        report.heard()
    }

    fn running(status: &Status) -> Option<(&AskedBy, &str)> {
        let report = status.dump.as_ref().filter(|report| !report.phase.is_over())?;
        Some((report.asked_by.as_ref()?, report.name.as_str()))
    }

    fn addressed(status: DumpStatus, archive: &Archive<'_>) -> DumpStatus {
        let told = archive.told;
        DumpStatus {
            server_name: told.map(|told| told.server.clone()),
            destination_path: told.map(|told| told.destination.clone()),
            endpoint_url: told.and_then(|told| told.endpoint.clone()),
            ..status
        }
    }

    fn reported(before: DumpStatus, report: &DumpReport) -> DumpStatus {
        let phase = match report.phase {
            DumpPhase::Starting => STARTED,
            DumpPhase::Globals | DumpPhase::Copy | DumpPhase::Analyze => RUNNING,
            DumpPhase::Completed => COMPLETED,
            DumpPhase::Failed | DumpPhase::Cancelled => FAILED,
        };
        let taken = report.taken.as_ref();
        let bytes = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
        let ended = report.ended.filter(|_| taken.is_some());
        let has_begun = report.phase != DumpPhase::Starting;
        let going = before.going();
        let going = Going {
            phase: Some(phase.to_owned()),
            error: report.failure.clone(),
            started_at: has_begun.then(|| second(report.ordered)),
            ..going
        };
        DumpStatus {
            going,
            dump_id: report.id.clone(),
            dump_name: Some(report.name.clone()),
            databases: taken.map(|taken| taken.databases.clone()).unwrap_or_default(),
            size_bytes: taken.map(|taken| bytes(taken.bytes)),
            stored_bytes: taken.map(|taken| bytes(taken.stored)),
            stopped_at: ended.map(second),
            warnings: report.warnings.clone(),
            ..before
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errand::status::{begun, ended, instance};
    use expect_test::expect;
    use k8s_openapi::jiff::Timestamp;
    use pgherd_core::names::InstanceName;
    use serde_json::json;

    fn report(phase: &str) -> DumpReport {
        let taken = json!({"databases": ["app", "postgres"], "bytes": 9000, "stored": 700});
        serde_json::from_value(json!({
            "name": "nightly.4f3a21bc", "work": "dump", "id": "20261122T112233", "instance": "db-2",
            "phase": phase, "since": "2026-11-22T11:22:40Z", "ordered": "2026-11-22T11:22:33Z",
            "ended": "2026-11-22T11:22:40Z", "database": "app", "databasesDone": 2, "databases": 2,
            "moved": 700, "total": null, "snapshotSeconds": 1, "snapshotTransactions": 0,
            "failure": null, "taken": (phase == "completed").then_some(taken),
        }))
        .unwrap()
    }

    #[test]
    fn a_dump_that_went_well_tells_what_is_in_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let db = InstanceName::parse("db-2").unwrap();
        let instance = instance((&db, None), "nightly.4f3a21bc".to_owned());
        let begun = begun(DumpStatus::default(), instance, at(1_800_000_000));
        let told = Dump::reported(begun, &report("copy"));
        assert_eq!((told.going.phase.as_deref(), told.stopped_at.clone()), (Some("running"), None));
        let told = ended(Dump::reported(told, &report("completed")), at(1_800_000_020));
        expect![[r#"
            {
              "phase": "completed",
              "instanceID": {
                "podName": "db-2",
                "sessionID": "nightly.4f3a21bc"
              },
              "startedAt": "2026-11-22T11:22:33Z",
              "reconciliationStartedAt": "2027-01-15T08:00:00Z",
              "reconciliationTerminatedAt": "2027-01-15T08:00:20Z",
              "dumpId": "20261122T112233",
              "dumpName": "nightly.4f3a21bc",
              "databases": [
                "app",
                "postgres"
              ],
              "sizeBytes": 9000,
              "storedBytes": 700,
              "stoppedAt": "2026-11-22T11:22:40Z"
            }
        "#]]
        .assert_eq(&(serde_json::to_string_pretty(&told).unwrap() + "\n"));
    }
}
