//! Keeps when acknowledgements came: how many each second, and every pause worth knowing.
//!
//! Never grows without bound: only pauses above a limit are kept, and the oldest are forgotten.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pauses shorter than this are the rhythm itself.
const SHORTEST: Duration = Duration::from_millis(10);
const MOST_GAPS: usize = 65_536;
const MOST_SECONDS: usize = 7 * 24 * 3600;

/// No acknowledgement came between these two; the second is open while none has come since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub from: Instant,
    pub to: Instant,
}

impl Gap {
    pub fn length(&self) -> Duration {
        self.to.saturating_duration_since(self.from)
    }
}

/// When acknowledgements came.
#[derive(Debug, Clone)]
pub struct Rhythm {
    started: Instant,
    last: Option<Instant>,
    gaps: VecDeque<Gap>,
    seconds: VecDeque<u32>,
    // Seconds that were forgotten at the front.
    forgotten: u64,
}

impl Rhythm {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, last: None, gaps: VecDeque::new(), seconds: VecDeque::new(), forgotten: 0 }
    }

    pub(super) fn beat(&mut self, now: Instant) {
        let from = self.last.unwrap_or(self.started);
        if now.saturating_duration_since(from) >= SHORTEST {
            if self.gaps.len() == MOST_GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back(Gap { from, to: now });
        }
        self.last = Some(now);
        self.count(now);
    }

    fn count(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.started).as_secs();
        let index = usize::try_from(second.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        // A year of silence would be a year of zeroes.
        let missing = index.saturating_add(1).saturating_sub(self.seconds.len());
        self.seconds.extend(std::iter::repeat_n(0, missing.min(MOST_SECONDS)));
        let surplus = self.seconds.len().saturating_sub(MOST_SECONDS);
        self.seconds.drain(..surplus);
        self.forgotten = second.saturating_add(1).saturating_sub(self.seconds.len() as u64);
        if let Some(count) = self.seconds.back_mut() {
            *count += 1;
        }
    }

    /// When the last acknowledgement came.
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    /// The pauses that ended after `since`, oldest first, and the one that goes on at `now`.
    pub fn gaps(&self, since: Instant, now: Instant) -> impl Iterator<Item = Gap> {
        let open = Gap { from: self.last.unwrap_or(self.started), to: now };
        let ended = self.gaps.iter().copied().skip_while(move |gap| gap.to < since);
        ended.chain(Some(open))
    }

    /// The longest pause that ended after `since` or goes on at `now`.
    pub fn longest(&self, since: Instant, now: Instant) -> Gap {
        let longest = self.gaps(since, now).max_by_key(Gap::length);
        longest.unwrap_or(Gap { from: now, to: now })
    }

    /// Since when acknowledgements have come without a pause of `limit`; none while one goes on.
    pub fn flows_since(&self, limit: Duration, now: Instant) -> Option<Instant> {
        let last = self.last?;
        if now.saturating_duration_since(last) >= limit {
            return None;
        }
        let stall = self.gaps.iter().rev().find(|gap| gap.length() >= limit);
        Some(stall.map_or(self.started, |gap| gap.to))
    }

    /// How many came in each second that is over, oldest first.
    pub fn per_second(&self) -> impl Iterator<Item = u32> {
        self.seconds.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn pauses_are_found() {
        let start = Instant::now();
        let at = |n| start + milliseconds(n);
        let mut rhythm = Rhythm::new(start);
        for n in [2, 4, 6, 350, 352, 1500, 1502] {
            rhythm.beat(at(n));
        }
        assert_eq!(rhythm.longest(start, at(1503)), Gap { from: at(352), to: at(1500) });
        assert_eq!(rhythm.longest(at(1501), at(1503)).length(), milliseconds(1));
        // What goes on counts too.
        assert_eq!(rhythm.longest(start, at(5000)), Gap { from: at(1502), to: at(5000) });
        assert_eq!(rhythm.gaps(start, at(1503)).count(), 3);
        assert_eq!(rhythm.per_second().collect::<Vec<_>>(), [5, 2]);
    }

    #[test]
    fn it_flows_since_the_last_stall() {
        let start = Instant::now();
        let at = |n| start + milliseconds(n);
        let mut rhythm = Rhythm::new(start);
        let limit = milliseconds(100);
        assert_eq!(rhythm.flows_since(limit, at(1)), None);
        rhythm.beat(at(2));
        assert_eq!(rhythm.flows_since(limit, at(3)), Some(start));
        rhythm.beat(at(300));
        rhythm.beat(at(350));
        assert_eq!(rhythm.flows_since(limit, at(360)), Some(at(300)));
        assert_eq!(rhythm.flows_since(limit, at(450)), None);
    }

    #[test]
    fn it_stays_small() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        for n in 0..=MOST_GAPS as u64 {
            rhythm.beat(start + milliseconds(20 * (n + 1)));
        }
        assert_eq!(rhythm.gaps.len(), MOST_GAPS);
        rhythm.beat(start + Duration::from_hours(24 * 365));
        assert_eq!(rhythm.seconds.len(), MOST_SECONDS);
        assert_eq!(rhythm.per_second().last(), Some(1));
    }
}
