//! Decides whether so much of the log waits for the archive that somebody has to see to it.
//!
//! Never drops anything: that would be a hole in the archive.

use crate::units::Bytes;
use serde::Serialize;

/// More than a store that lives leaves waiting.
const MUCH: Bytes = Bytes(1 << 30);
/// The disk is full after it has grown so many times over.
const TIMES: u64 = 3;

/// What waits, and what there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    pub waiting: Bytes,
    /// Of the disk that it lies on, if that is known.
    pub free: Option<Bytes>,
}

/// Why somebody has to see to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Alarm {
    Much { waiting: Bytes },
    DiskFills { waiting: Bytes, free: Bytes },
}

/// How much may wait before that is an alarm.
pub fn limit(free: Option<Bytes>) -> Bytes {
    free.map_or(MUCH, |free| MUCH.min(filling(free)))
}

/// So much waits when the disk is nearly full.
fn filling(free: Bytes) -> Bytes {
    Bytes(free.0.div_ceil(TIMES))
}

pub fn alarm(backlog: Backlog) -> Option<Alarm> {
    let Backlog { waiting, free } = backlog;
    let fills = free.filter(|free| waiting.0 > 0 && waiting >= filling(*free));
    match fills {
        Some(free) => Some(Alarm::DiskFills { waiting, free }),
        None if waiting >= MUCH => Some(Alarm::Much { waiting }),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(waiting: u64, free: Option<u64>) -> Option<Alarm> {
        alarm(Backlog { waiting: Bytes(waiting << 20), free: free.map(|free| Bytes(free << 20)) })
    }

    #[test]
    fn much_and_a_disk_that_fills_are_alarms() {
        assert_eq!(said(0, Some(0)), None);
        assert_eq!(said(64, Some(1000)), None);
        assert_eq!(said(1000, None), None);
        assert_eq!(said(1024, None), Some(Alarm::Much { waiting: Bytes(1 << 30) }));
        let (waiting, free) = (Bytes(64 << 20), Bytes(192 << 20));
        assert_eq!(said(64, Some(192)), Some(Alarm::DiskFills { waiting, free }));
        assert_eq!(said(64, Some(193)), None);
    }

    #[test]
    fn what_waits_is_an_alarm_from_the_limit_on() {
        let frees = [None, Some(0), Some(1), Some(2), Some(3), Some(1000), Some(u64::MAX)];
        for free in frees.map(|free| free.map(Bytes)) {
            let limit = limit(free);
            assert!(limit <= Bytes(1 << 30), "{free:?}");
            for waiting in [1, limit.0.saturating_sub(1), limit.0, limit.0 + 1] {
                let raised = alarm(Backlog { waiting: Bytes(waiting), free }).is_some();
                assert_eq!(raised, waiting > 0 && waiting >= limit.0, "{waiting} of {free:?}");
            }
        }
    }
}
