//! Slows a backup down to the rate that was asked for.
//!
//! Never makes up for time in which nothing was read.

use pgherd_core::units::Bytes;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Throttle {
    rate: Option<u64>,
    next: Instant,
}

impl Throttle {
    /// So many bytes in a second.
    pub(super) fn new(rate: Option<Bytes>) -> Self {
        Self { rate: rate.map(|rate| rate.0.max(1)), next: Instant::now() }
    }

    /// Waits until so many bytes may be read.
    pub(super) async fn take(&mut self, bytes: u64) {
        let Some(rate) = self.rate else { return };
        tokio::time::sleep_until(self.next).await;
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        let lasts = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
        self.next = self.next.max(Instant::now()) + lasts;
    }
}
