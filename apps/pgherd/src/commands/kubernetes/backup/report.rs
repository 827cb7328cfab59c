//! Reads from a Backup object what its agent told of it.
//!
//! Never makes up what the object does not say.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pgherd_api::agent::{BackupBegun, BackupPhase, BackupReport};
use pgherd_api::backup::Backup;
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
        builds_on: None,
        full_because: None,
        failure: status.error.clone(),
        passing: false,
        recoverable_since: None,
        retained: None,
        warnings: status.command_output.iter().cloned().collect(),
    })
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
