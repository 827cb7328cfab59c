//! Decides which segments are fetched ahead of a recovery, so that replay need not wait for them.
//!
//! Never looks past a segment that is not in the repository, or onto another timeline.

use super::{Segment, SegmentSize};
use crate::units::Bytes;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

const FEWEST: u64 = 4;
const MOST: u64 = 32;

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The one that PostgreSQL asked for last.
    pub asked: Segment,
    pub size: SegmentSize,
    /// Fetched and checked, waiting to be asked for.
    pub fetched: &'a BTreeSet<Segment>,
    pub under_way: &'a BTreeSet<Segment>,
    /// The first one that was looked for and is not there, as of a moment ago.
    pub absent: Option<Segment>,
    pub pace: Pace,
    /// What may lie about at once.
    pub budget: Bytes,
    pub at_once: usize,
}

/// How fast segments are replayed, and how long it takes to get one; zero when not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    pub replay_of_one: Duration,
    pub fetch_of_one: Duration,
}

impl Pace {
    /// Twice as many as are replayed while one is fetched.
    fn window(self) -> u64 {
        let replay = self.replay_of_one.as_micros().max(1);
        let needed = self.fetch_of_one.as_micros().saturating_mul(2).div_ceil(replay);
        u64::try_from(needed).unwrap_or(MOST).clamp(FEWEST, MOST)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// To begin with now, in this order.
    pub fetch: Vec<Segment>,
    /// No recovery that goes on from here will ask for them.
    pub discard: Vec<Segment>,
}

/// Fills the window behind the segment asked for, and clears what lies outside of it.
pub fn plan(sight: &Sight<'_>) -> Plan {
    let fits = sight.budget.0 / sight.size.bytes().0;
    let window = sight.pace.window().min(fits.max(1));
    let mut wanted = BTreeSet::new();
    let mut next = sight.asked;
    for _ in 0..window {
        next = next.next(sight.size);
        if sight.absent.is_some_and(|absent| absent.timeline() == next.timeline() && absent <= next)
        {
            break;
        }
        wanted.insert(next);
    }
    let free = sight.at_once.saturating_sub(sight.under_way.len());
    let is_missing =
        |segment: &&Segment| !sight.fetched.contains(segment) && !sight.under_way.contains(segment);
    // PostgreSQL may ask again for what it got last, for example after a restart.
    let is_useless = |segment: &&Segment| **segment != sight.asked && !wanted.contains(segment);
    Plan {
        fetch: wanted.iter().filter(is_missing).take(free).copied().collect(),
        discard: sight.fetched.iter().filter(is_useless).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(short: &str) -> Segment {
        Segment::parse(&format!("00000001{short:0>16}")).unwrap()
    }

    fn segments(shorts: &str) -> BTreeSet<Segment> {
        shorts.split_whitespace().map(segment).collect()
    }

    fn check(sight: &Sight<'_>, fetch: &str, discard: &str) {
        let plan = plan(sight);
        assert_eq!(plan.fetch.into_iter().collect::<BTreeSet<_>>(), segments(fetch));
        assert_eq!(plan.discard.into_iter().collect::<BTreeSet<_>>(), segments(discard));
    }

    #[test]
    fn the_window_is_filled_in_order_and_not_twice() {
        let (fetched, under_way) = (segments("E 101"), segments("102"));
        let pace = Pace { replay_of_one: Duration::ZERO, fetch_of_one: Duration::ZERO };
        let sight = Sight {
            asked: segment("100"),
            size: SegmentSize::new(Bytes(1 << 20)).unwrap(),
            fetched: &fetched,
            under_way: &under_way,
            absent: None,
            pace,
            budget: Bytes(256 << 20),
            at_once: 4,
        };
        check(&sight, "103 104", "E");
        check(&Sight { at_once: 2, ..sight }, "103", "E");
        check(&Sight { absent: Some(segment("104")), ..sight }, "103", "E");
        check(&Sight { absent: Some(segment("101")), ..sight }, "", "E 101");
        check(&Sight { budget: Bytes(3 << 20), ..sight }, "103", "E");
        check(&Sight { budget: Bytes(0), ..sight }, "", "E");
        // Of another timeline: that says nothing of this one.
        let elsewhere = Segment::parse("000000020000000000000000").unwrap();
        check(&Sight { absent: Some(elsewhere), ..sight }, "103 104", "E");
    }

    #[test]
    fn slow_fetches_widen_the_window() {
        let window = |replay, fetch| {
            let pace = Pace {
                replay_of_one: Duration::from_millis(replay),
                fetch_of_one: Duration::from_millis(fetch),
            };
            pace.window()
        };
        assert_eq!(window(110, 60), 4);
        assert_eq!(window(110, 600), 11);
        assert_eq!(window(1, 60_000), 32);
        assert_eq!(window(0, 0), 4);
    }
}
