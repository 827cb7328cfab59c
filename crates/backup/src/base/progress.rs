//! How far a backup or a restore is.
//!
//! Never guesses before there is something to guess from.

use pgherd_core::units::Bytes;
use std::time::Duration;

/// Plain numbers; whoever shows them chooses the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of files that are done.
    pub done: Bytes,
    pub total: Bytes,
    /// Packed bytes that were handed to the store or came from it.
    pub moved: Bytes,
    pub elapsed: Duration,
}

impl Progress {
    /// Bytes of files in a second.
    pub fn rate(&self) -> Option<Bytes> {
        let micros = self.elapsed.as_micros();
        let rate = (u128::from(self.done.0) * 1_000_000).checked_div(micros)?;
        u64::try_from(rate).ok().map(Bytes)
    }

    /// How much longer it takes at this rate.
    pub fn left(&self) -> Option<Duration> {
        let left = self.total.0.saturating_sub(self.done.0);
        let rate = self.rate().filter(|rate| rate.0 > 0)?;
        Some(Duration::from_millis(left.saturating_mul(1000) / rate.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_was_done() {
        let at = |done, elapsed| Progress {
            done: Bytes(done),
            total: Bytes(1000),
            moved: Bytes(0),
            elapsed: Duration::from_secs(elapsed),
        };
        assert_eq!(at(250, 5).rate(), Some(Bytes(50)));
        assert_eq!(at(250, 5).left(), Some(Duration::from_secs(15)));
        assert_eq!(at(0, 5).left(), None);
        assert_eq!(at(0, 0).rate(), None);
    }
}
