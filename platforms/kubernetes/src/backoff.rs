//! Decides how long to wait before trying once more.
//!
//! Never longer than its bound, and never the same for all who wait.

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

const LEAST: Duration = Duration::from_millis(50);

/// Counts the failures in a row.
pub(crate) struct Backoff {
    bounds: Range<Duration>,
    failures: u32,
}

impl Backoff {
    pub(crate) fn up_to(most: Duration) -> Self {
        Self::of(LEAST..most)
    }

    pub(crate) fn of(bounds: Range<Duration>) -> Self {
        Self { bounds, failures: 0 }
    }

    /// It went well: the next failure is a first one.
    pub(crate) fn begin_anew(&mut self) {
        self.failures = 0;
    }

    /// It failed: so long to wait.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = pause(self.failures, &self.bounds, draw());
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        self.begin_anew();
    }
}

/// Doubles with every failure; half of it is left to `draw`, of which every value is as likely.
fn pause(failures: u32, bounds: &Range<Duration>, draw: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    let whole = bounds.start.saturating_mul(doubled).min(bounds.end);
    whole.div_f64(2.0).mul_f64(1.0 + f64::from(draw) / f64::from(u32::MAX))
}

/// Chance enough to keep agents from asking in step: std seeds each hasher anew.
fn draw() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn it_doubles_up_to_its_bound_and_half_of_it_is_chance() {
        let mut lines = Vec::new();
        for failures in [0, 1, 2, 5, 6, 31, 32, u32::MAX] {
            let of = |draw| pause(failures, &(LEAST..Duration::from_secs(2)), draw);
            lines.push(format!("{failures}: {:?} to {:?}", of(0), of(u32::MAX)));
        }
        expect![[r#"
            0: 25ms to 50ms
            1: 50ms to 100ms
            2: 100ms to 200ms
            5: 800ms to 1.6s
            6: 1s to 2s
            31: 1s to 2s
            32: 1s to 2s
            4294967295: 1s to 2s"#]]
        .assert_eq(&lines.join("\n"));
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::up_to(Duration::from_secs(2));
        for _ in 0..20 {
            assert!(backoff.pause() <= Duration::from_secs(2));
        }
        assert!(backoff.pause() >= Duration::from_secs(1));
        backoff.begin_anew();
        assert!(backoff.pause() <= LEAST);
    }
}
