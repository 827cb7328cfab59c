//! Virtual time, and the clocks that the instances see instead of it.
//!
//! Never compares the clocks of two instances; only the world knows the true time.

use pgherd_core::units::Time;

/// True time in microseconds since the world began.
pub type Moment = u64;

pub const MILLISECOND: u64 = 1_000;
pub const SECOND: u64 = 1_000_000;

/// The clock of one machine since it last booted.
#[derive(Debug, Clone)]
pub struct LocalClock {
    /// What it showed at the true time `since`.
    origin: u64,
    since: Moment,
    /// How much faster than true time it runs.
    drift_ppm: i64,
    /// For how long it and the calendar stood still since `since`, in true time.
    stood: u64,
    /// How far the calendar clock was set forward since boot, as by a host after a freeze.
    stepped: u64,
}

impl LocalClock {
    pub fn booted(now: Moment, origin: u64, drift_ppm: i64) -> Self {
        Self { origin, since: now, drift_ppm, stood: 0, stepped: 0 }
    }

    pub fn drift_ppm(&self) -> i64 {
        self.drift_ppm
    }

    /// What CLOCK_BOOTTIME shows.
    pub fn local(&self, now: Moment) -> Time {
        let running = now.saturating_sub(self.since).saturating_sub(self.stood);
        Time(self.origin + self.faster(running))
    }

    /// What CLOCK_REALTIME shows, on the same scale.
    pub fn calendar(&self, now: Moment) -> Time {
        Time(self.local(now).0 + self.stepped)
    }

    /// When the clock will show `local`, if it never stands still again.
    pub fn moment(&self, local: Time) -> Moment {
        let shown = local.0.saturating_sub(self.origin);
        let running = u128::from(shown) * 1_000_000 / u128::from(self.rate());
        let running = u64::try_from(running).unwrap_or(u64::MAX);
        // One microsecond more, because the division rounds down.
        self.since.saturating_add(self.stood).saturating_add(running).saturating_add(1)
    }

    pub fn stand_still(&mut self, duration: u64) {
        self.stood += duration;
    }

    pub fn step(&mut self, forward: u64) {
        self.stepped += forward;
    }

    fn rate(&self) -> u64 {
        1_000_000_u64.saturating_add_signed(self.drift_ppm)
    }

    fn faster(&self, running: u64) -> u64 {
        let shown = u128::from(running) * u128::from(self.rate()) / 1_000_000;
        u64::try_from(shown).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_and_a_frozen_one_stands() {
        let mut clock = LocalClock::booted(SECOND, 5, 10_000);
        assert_eq!(clock.local(2 * SECOND), Time(1_010_005));
        clock.stand_still(SECOND);
        assert_eq!(clock.local(3 * SECOND), Time(1_010_005));
        assert_eq!(clock.calendar(3 * SECOND), Time(1_010_005));
        clock.step(SECOND);
        assert_eq!(clock.calendar(3 * SECOND), Time(2_010_005));
    }

    #[test]
    fn the_moment_of_a_reading_is_when_the_clock_shows_it() {
        for drift in [-10_000, 0, 7, 10_000] {
            let clock = LocalClock::booted(3, 77, drift);
            let moment = clock.moment(Time(123_456_789));
            assert!(clock.local(moment) >= Time(123_456_789));
            assert!(clock.local(moment - 3) < Time(123_456_789));
        }
    }
}
