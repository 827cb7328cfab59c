//! Backups to look at. Never anything that ships.

use pgherd_api::agent::{BackupPhase, BackupReport};
use pgherd_api::backup::Backup;
use serde_json::json;

/// One of cluster `db` that was made in that second.
pub(crate) fn backup(name: &str, second: u32) -> Backup {
    serde_json::from_value(json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": format!("2026-11-22T11:00:{second:02}Z"),
        },
        "spec": {"cluster": {"name": "db"}},
    }))
    .unwrap()
}

/// What an agent says of one that has come that far.
pub(super) fn report(phase: BackupPhase) -> BackupReport {
    let at = "2026-11-22T11:22:33Z";
    let taken = json!({
        "at": "2026-11-22T11:30:00Z", "lsn": "0/5000000", "wal": "000000010000000000000005",
        "files": 1000, "bytes": 5_000_000, "stored": 2_000_000, "badPages": 0,
    });
    let stored = phase.is_stored();
    serde_json::from_value(json!({
        "name": "nightly.4f3a21bc", "id": "20261122T112233", "instance": "db-2",
        "destination": "s3://b", "server": "db", "phase": phase, "since": at, "ordered": at,
        "done": 0, "total": 0, "stored": 0,
        "began": {
            "at": at, "timeline": 1, "lsn": "0/4000028", "wal": "000000010000000000000004",
            "version": 150_018,
        },
        "taken": stored.then_some(taken),
    }))
    .unwrap()
}
