//! Measures how fast a server replays its log while it comes up.
//!
//! Never counts a recovery that was too short to tell, or whose beginning nobody saw.

use crate::postgres::control;
use crate::postgres::site::Site;
use crate::process::{clock, table};
use pgherd_core::units::{Bytes, Lsn, Time};
use rustix::process::Pid;
use std::time::Duration;

/// With less, the start itself takes longer than the replay.
const TELLING: Bytes = Bytes(64 << 20);
/// Whoever looks later has missed the beginning.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// A recovery whose end is not seen yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recovery {
    began: Time,
    redo: Lsn,
}

impl Recovery {
    /// The recovery of a server that has just been started.
    pub(super) fn of(site: &Site, postmaster: Pid) -> Option<Self> {
        let began = table::started(postmaster.as_raw_pid())?;
        let fresh = clock::now().since(began) <= SEEN_WITHIN;
        let redo = control::read_file(&site.data).ok()?.checkpoint.redo;
        fresh.then_some(Self { began, redo })
    }

    /// Bytes in a second, once it has replayed up to `replayed`.
    pub(super) fn speed(self, replayed: Lsn, now: Time) -> Option<u64> {
        let done = replayed.ahead_of(self.redo);
        let milliseconds = u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX);
        (done >= TELLING).then(|| done.0.saturating_mul(1000) / milliseconds.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_recovery_tells_the_speed_and_a_short_one_nothing() {
        let recovery = Recovery { began: Time(1_000_000), redo: Lsn(1 << 30) };
        let at = Time(3_000_000);
        assert_eq!(recovery.speed(Lsn((1 << 30) + (64 << 20)), at), Some(32 << 20));
        assert_eq!(recovery.speed(Lsn((1 << 30) + (63 << 20)), at), None);
        assert_eq!(recovery.speed(Lsn(0), at), None);
    }
}
