//! Reads from a Backup object what its agent told of it.
//!
//! Never makes up what the object does not say.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pgherd_api::agent::{BackupBegun, BackupPhase, BackupReport};
use pgherd_api::backup::{Backup, mode};
use pgherd_core::names::InstanceName;
use pgherd_core::units::{Bytes, Lsn};
use pgherd_core::wal::Segment;

/// None if it says too little. How much it is stands in the repository alone.
pub(super) fn of(backup: &Backup) -> Option<BackupReport> {
    let status = backup.status.as_ref()?;
    let at = |time: &Option<Time>| time.as_ref().map(|time| time.0);
    let ended = at(&status.reconciliation_terminated_at).or(at(&status.stopped_at));
    let ordered = at(&status.reconciliation_started_at).or(ended)?;
    Some(BackupReport {
        name: status.backup_name.clone()?,
        asked_by: None,
        id: status.backup_id.clone(),
        instance: InstanceName::parse(status.instance_id.as_ref()?.pod_name.as_ref()?).ok()?,
        destination: status.destination_path.clone()?,
        endpoint: status.endpoint_url.clone(),
        server: status.server_name.clone()?,
        phase: match status.phase.as_deref()? {
            "completed" => BackupPhase::Completed,
            "failed" => BackupPhase::Failed,
            _ => return None,
        },
        since: ended.unwrap_or(ordered),
        ordered,
        ended,
        done: Bytes(0),
        total: Bytes(0),
        stored: Bytes(0),
        rate: None,
        left_milliseconds: None,
        waits_for: None,
        began: begun(backup),
        taken: None,
        builds_on: status.plugin_metadata.get(mode::BUILDS_ON).cloned(),
        full_because: status.plugin_metadata.get(mode::FULL_BECAUSE).cloned(),
        all_read_because: status.plugin_metadata.get(mode::ALL_READ_BECAUSE).cloned(),
        failure: status.error.clone(),
        passing: false,
        recoverable_since: None,
        retained: None,
        warnings: warnings(status.command_output.as_deref().unwrap_or_default()),
    })
}

/// All but why it is a full one: that is told beside what it is.
fn warnings(output: &str) -> Vec<String> {
    let lines = output.lines().filter(|line| !line.starts_with(mode::FULL_TAKEN));
    lines.map(ToOwned::to_owned).collect()
}

fn begun(backup: &Backup) -> Option<BackupBegun> {
    let status = backup.status.as_ref()?;
    let at: Timestamp = status.started_at.as_ref()?.0;
    let wal = status.begin_wal.clone()?;
    Some(BackupBegun {
        at,
        timeline: Segment::parse(&wal).ok()?.timeline(),
        lsn: Lsn::parse(status.begin_lsn.as_ref()?).ok()?,
        wal,
        // Only the major one is told.
        version: u32::try_from(status.major_version?).ok()?.checked_mul(10_000)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn why_a_backup_is_a_full_one_is_read_from_its_object() {
        let backup: Backup = serde_json::from_value(json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": {"name": "one"},
            "spec": {"cluster": {"name": "db"}},
            "status": {
                "phase": "completed", "backupName": "one.4f3a21bc", "serverName": "db",
                "destinationPath": "s3://b", "instanceID": {"podName": "db-2"},
                "reconciliationStartedAt": "2026-11-22T11:22:33Z",
                "commandOutput": "a full backup is taken: none is there\n2 pages are damaged",
                "pluginMetadata": {"pgherd.dev/fullBecause": "none is there"},
            },
        }))
        .unwrap();
        let report = of(&backup).unwrap();
        assert_eq!(report.full_because.as_deref(), Some("none is there"));
        assert_eq!(report.warnings, ["2 pages are damaged"]);
    }
}
