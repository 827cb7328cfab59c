//! Tells whether the disk of the log is full.
//!
//! Never counts what is reserved for root.

use std::path::Path;

/// Less than two segments of the default size: the next one may not fit.
const FULL_BELOW: u64 = 32 << 20;

pub(super) fn is_full(data: &Path) -> bool {
    let wal = rustix::fs::statvfs(data.join("pg_wal")).or_else(|_| rustix::fs::statvfs(data));
    wal.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BELOW)
}
