//! Tells what waits to be archived, and whether somebody has to see to it.
//!
//! Never decides that by itself (`pgherd_core::wal::backlog` does), and never drops anything.

use super::queue::Queue;
use super::ready;
use pgherd_api::agent::ArchiveStatus;
use pgherd_core::units::Bytes;
use pgherd_core::wal::SegmentSize;
use pgherd_core::wal::backlog::{Alarm, Backlog, alarm, limit};
use std::path::Path;

pub(super) fn status(
    destination: String,
    queue: &Queue,
    data: &Path,
    size: SegmentSize,
) -> ArchiveStatus {
    let (waiting, waiting_bytes) = queue.backlog(size);
    let is_waiting = waiting > 0;
    let free = is_waiting.then(|| free(data)).flatten();
    let backlog = Backlog { waiting: waiting_bytes, free };
    ArchiveStatus {
        destination,
        last: queue.last.clone(),
        waiting,
        waiting_bytes,
        waiting_since: queue.oldest().and_then(|file| ready::since(data, file)),
        waiting_limit: limit(free),
        alarm: alarm(backlog).map(told),
        failing: queue.failing.clone(),
        stream: None,
    }
}

fn free(data: &Path) -> Option<Bytes> {
    let disk = rustix::fs::statvfs(ready::folder(data)).ok()?;
    Some(Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)))
}

fn told(alarm: Alarm) -> String {
    match alarm {
        Alarm::Much { waiting } => format!(
            "{waiting} of log wait for the archive: see why it does not go on, or, if it does, \
             raise wal.maxParallel, pack less, or find a faster way there"
        ),
        Alarm::DiskFills { waiting, free } => format!(
            "{waiting} of log wait for the archive, and the disk has {free} left: see to the \
             archive, or make room, before PostgreSQL stops"
        ),
    }
}
