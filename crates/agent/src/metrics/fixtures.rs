//! What an agent may know.
//!
//! Never anything that ships.

use super::Facts;
use crate::archive::{Counts, Marks};
use crate::backup::Known;
use jiff::Timestamp;
use pgherd_api::agent::{
    ArchiveFailure, ArchiveStatus, Archived, BackupPhase, BackupReport, Status, StreamStatus,
};
use pgherd_core::ports::contract;
use pgherd_core::units::{Bytes, Lsn};
use serde_json::json;

pub(super) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
pub(super) const MARKS: Marks = Marks { ready: 3, done: 5 };

fn before(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW.as_second() - seconds).unwrap()
}

/// An agent that has just begun, and has not looked at its server yet.
pub(super) fn nothing() -> Facts {
    let verdict = json!({"state": "waiting", "reason": "", "because": null, "since": before(1)});
    let status = json!({
        "cluster": "contract", "me": {"instance": "contract-1", "volume": 1, "incarnation": 1},
        "at": before(0), "started": before(1), "pid": 1, "version": "0.1.0", "role": "unknown",
        "verdict": verdict, "known": {"epoch": 1, "promise": 1}, "server": {},
        "specification": 1, "switchoverDone": 0, "restartDone": 0, "configurationDone": 0,
        "happenings": [],
    });
    let status: Status = serde_json::from_value(status).unwrap();
    Facts { status, fenced: false, archived: Counts::default(), backups: Known::default() }
}

/// A primary whose archive is in trouble, that takes a backup and has taken others: it has a value for
/// every metric.
pub(super) fn all() -> Facts {
    let mut facts = nothing();
    let status = &mut facts.status;
    status.at = before(2);
    status.started = before(3600);
    status.role = pgherd_api::agent::Role::Primary;
    status.record = Some(contract::sample(1));
    status.holds = status.record.as_ref().map(|record| record.epoch);
    status.server.version = Some("15.18".to_owned());
    status.server.timeline = status.record.as_ref().map(|record| record.timeline);
    status.archive = Some(archive());
    facts.archived = Counts {
        segments: 40,
        bytes: Bytes(40 << 24),
        failures: 4,
        failed: Some(before(8)),
        pieces: 600,
        streamed: Bytes(100 << 20),
        stream_failures: 1,
    };
    facts.backups = Known {
        running: Some(report("c", BackupPhase::Copy)),
        completed: Some(report("b", BackupPhase::Completed)),
        failed: Some(report("a", BackupPhase::Failed)),
        retained: Some(before(300)),
    };
    facts
}

/// As the primary's agent tells it.
fn archive() -> ArchiveStatus {
    let failing = || Some(ArchiveFailure { since: before(9), why: "nobody answers".to_owned() });
    let stream = StreamStatus {
        stored: Lsn(5),
        lag_bytes: Bytes(4096),
        lag_milliseconds: 1500,
        pieces: 600,
        took_milliseconds: Some(70),
        failing: failing(),
    };
    ArchiveStatus {
        destination: "s3://secret-place/db".to_owned(),
        last: Some(Archived { file: "000000010000000000000003".to_owned(), at: before(20) }),
        waiting: 3,
        waiting_bytes: Bytes(3 << 24),
        waiting_since: Some(before(120)),
        waiting_limit: Bytes(1 << 30),
        alarm: Some("3 files wait".to_owned()),
        failing: failing(),
        stream: Some(stream),
    }
}

fn report(name: &str, phase: BackupPhase) -> BackupReport {
    let taken = json!({
        "at": before(400), "lsn": "0/5000000", "wal": "000000010000000000000005", "files": 1000,
        "bytes": 5_000_000, "stored": 2_000_000, "badPages": 2,
    });
    serde_json::from_value(json!({
        "name": name, "id": "20261122T112233", "instance": "contract-1", "destination": "/b",
        "server": "db", "phase": phase, "since": before(400), "ordered": before(460),
        "ended": phase.is_over().then_some(before(310)), "done": 1000, "total": 4000, "stored": 500,
        "taken": phase.is_stored().then_some(taken), "recoverableSince": before(9000),
        "warnings": ["2 pages are damaged"],
    }))
    .unwrap()
}
