//! Remembers since when agents that do long work have not been heard.
//!
//! Never longer than the work lasts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By the unique id of the object that asks for it.
#[derive(Debug, Default)]
pub(crate) struct Silences(Mutex<BTreeMap<String, Instant>>);

impl Silences {
    /// For how long it has not been heard, now included.
    pub(super) fn lasts(&self, errand: &str, now: Instant) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(*all.entry(errand.to_owned()).or_insert(now))
    }

    pub(super) fn forget(&self, errand: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(errand);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_until_it_is_forgotten() {
        let (silences, start) = (Silences::default(), Instant::now());
        let after = |seconds| silences.lasts("a", start + Duration::from_secs(seconds)).as_secs();
        assert_eq!([0, 7].map(after), [0, 7]);
        silences.forget("a");
        assert_eq!([8, 9].map(after), [0, 1]);
    }
}
