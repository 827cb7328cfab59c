//! Says of which timeline the segment is that holds a part of a server's log.
//!
//! Never names one that the server's own timeline has left behind: what was written there after is
//! another cluster's.

use pgherd_core::backup::window::Fork;
use pgherd_core::units::{Lsn, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};

/// How a timeline came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    timeline: Timeline,
    /// Where each earlier one was left, the oldest first.
    forks: Vec<Fork>,
}

impl Past {
    /// Of a timeline that came out of no other, or of which that is not asked.
    pub fn none(timeline: Timeline) -> Self {
        Self { timeline, forks: Vec::new() }
    }

    /// As its history says; nothing when that makes no sense.
    pub fn of(timeline: Timeline, forks: Vec<Fork>) -> Option<Self> {
        let in_order = |pair: &[Fork]| match pair {
            [one, next] => one.parent < next.parent && one.at <= next.at,
            _ => true,
        };
        let is_past = forks.last().is_none_or(|last| last.parent < timeline);
        (is_past && forks.windows(2).all(in_order)).then_some(Self { timeline, forks })
    }

    /// Whether a timeline up to this position is a part of it.
    pub fn has(&self, timeline: Timeline, end: Lsn) -> bool {
        let left = self.forks.iter().find(|fork| fork.parent == timeline);
        timeline == self.timeline || left.is_some_and(|left| end <= left.at)
    }

    /// The segment that holds this position. One in which a timeline was left is copied, and goes
    /// on as one of the next.
    pub fn segment(&self, at: Lsn, size: SegmentSize) -> Segment {
        let end = Segment::holding(self.timeline, at, size).end(size);
        let left = self.forks.iter().find(|fork| fork.at >= end);
        Segment::holding(left.map_or(self.timeline, |fork| fork.parent), at, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(parent: u32, at: u64) -> Fork {
        Fork { parent: Timeline(parent), at: Lsn(at) }
    }

    #[test]
    fn a_segment_is_of_the_timeline_that_ended_it() {
        const SEGMENT: u64 = 16 << 20;
        // Two were left in one segment, and one at the very end of another.
        let forks = vec![fork(1, SEGMENT + 5), fork(2, SEGMENT + 9), fork(4, 3 * SEGMENT)];
        let past = Past::of(Timeline(7), forks).unwrap();
        let name = |at| past.segment(Lsn(at), SegmentSize::DEFAULT).to_string();
        assert_eq!(name(SEGMENT - 1), "000000010000000000000000");
        assert_eq!(name(SEGMENT), "000000040000000000000001");
        assert_eq!(name(SEGMENT + 7), "000000040000000000000001");
        assert_eq!(name(3 * SEGMENT - 1), "000000040000000000000002");
        assert_eq!(name(3 * SEGMENT), "000000070000000000000003");
        let has = |timeline, at| past.has(Timeline(timeline), Lsn(at));
        assert!(has(1, SEGMENT + 5) && !has(1, SEGMENT + 6) && has(4, 3 * SEGMENT));
        assert!(has(7, u64::MAX) && !has(3, 0));
    }

    #[test]
    fn a_history_that_makes_no_sense_is_none() {
        let past = |forks| Past::of(Timeline(3), forks).is_some();
        assert!(past(vec![]) && past(vec![fork(1, 5), fork(2, 5)]));
        assert!(!past(vec![fork(2, 5), fork(1, 6)]) && !past(vec![fork(1, 5), fork(2, 4)]));
        assert!(!past(vec![fork(3, 5)]));
    }
}
