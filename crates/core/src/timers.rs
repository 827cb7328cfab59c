//! The protocol's durations and the inequality that makes them usable.
//!
//! Never an absolute time: every rule measures durations on one machine's own clock.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The durations of one cluster; every member uses the same profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// How often the holder asks each member for a grant.
    pub heartbeat: Duration,
    /// How long a member that granted neither votes nor claims, from receipt.
    pub grant: Duration,
    /// How long a write of the record proves office, from its sending.
    pub term: Duration,
    /// How often the holder renews that proof.
    pub renew: Duration,
    /// What fencing may take: noticing, killing and reaping, with slack.
    pub fence_budget: Duration,
    /// The largest relative difference between two clocks, in parts per million.
    pub drift_ppm: u32,
}

impl Timers {
    pub const STANDARD: Self = Self::millis([500, 3_000, 15_000, 5_500, 750]);
    pub const FAST: Self = Self::millis([200, 1_500, 15_000, 5_000, 500]);
    pub const WIDE: Self = Self::millis([1_000, 8_000, 30_000, 10_000, 1_000]);

    const fn millis([heartbeat, grant, term, renew, fence_budget]: [u64; 5]) -> Self {
        Self {
            heartbeat: Duration::from_millis(heartbeat),
            grant: Duration::from_millis(grant),
            term: Duration::from_millis(term),
            renew: Duration::from_millis(renew),
            fence_budget: Duration::from_millis(fence_budget),
            drift_ppm: 10_000,
        }
    }

    /// How long after *sending* a confirmed request its asker may rely on it: the promise as a
    /// faster clock would count it, less the time to fence.
    pub fn usable(&self, promised: Duration) -> Duration {
        promised.saturating_sub(self.drift(promised)).saturating_sub(self.fence_budget)
    }

    /// How long an observer waits before it takes a promise of this length for over.
    pub fn outlasts(&self, promised: Duration) -> Duration {
        promised + self.drift(promised)
    }

    /// The silence after which the holder drops a grantor: two missed heartbeats and a round trip.
    pub fn grantor_silence(&self) -> Duration {
        self.heartbeat * 2 + Self::ROUND_TRIP * 2
    }

    /// Whether the holder can drop a dead grantor by compare-and-swap before that grant's
    /// absence fences it.
    pub fn are_usable(&self) -> bool {
        self.grantor_silence() + Self::WRITE <= self.usable(self.grant)
    }

    /// Twice the drift: one clock may be as much too fast as the other is too slow.
    fn drift(&self, duration: Duration) -> Duration {
        duration * 2 * self.drift_ppm / 1_000_000
    }

    const ROUND_TRIP: Duration = Duration::from_millis(100);
    /// What a write of the record may take in all but one of a hundred cases.
    const WRITE: Duration = Duration::from_millis(850);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grantor_can_be_dropped_in_time_in_the_standard_and_wide_profiles() {
        assert!(Timers::STANDARD.are_usable());
        assert!(Timers::WIDE.are_usable());
        // The fast profile has no room for a slow write: it needs a second grantor (see ADR-0001).
        assert!(!Timers::FAST.are_usable());
    }

    #[test]
    fn the_asker_stops_relying_before_the_promise_ends_on_any_clock() {
        let timers = Timers::STANDARD;
        assert_eq!(timers.usable(timers.grant), Duration::from_millis(2_190));
        assert_eq!(timers.outlasts(timers.term), Duration::from_millis(15_300));
    }
}
