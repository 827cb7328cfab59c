//! Remembers what the agents of each cluster are known to have done, and since when none is heard.
//!
//! Never takes for done what was asked since.

use pgherd_core::intent::{Intent, Restart};
use pgherd_core::names::InstanceName;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// By the cluster's unique id.
#[derive(Debug, Default)]
pub struct TakenUp(Mutex<BTreeMap<String, Known>>);

#[derive(Debug, Default)]
struct Known {
    done: Option<Asked>,
    unheard: Option<Instant>,
}

/// What the agents of a cluster are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) configuration: u64,
    pub(super) restart: Option<Restart>,
}

/// Whether any of those who were asked has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Some,
    None,
}

impl TakenUp {
    pub(super) fn is_so(&self, cluster: &str, asked: &Asked) -> bool {
        self.with(cluster, |known| known.done.as_ref() == Some(asked))
    }

    pub(super) fn note(&self, cluster: &str, asked: Asked) {
        self.with(cluster, |known| known.done = Some(asked));
    }

    /// For how long nobody has answered.
    pub(super) fn unheard(&self, cluster: &str, answers: Answers, now: Instant) -> Duration {
        self.with(cluster, |known| match answers {
            Answers::Some => {
                known.unheard = None;
                Duration::ZERO
            }
            Answers::None => now.saturating_duration_since(*known.unheard.get_or_insert(now)),
        })
    }

    fn with<T>(&self, cluster: &str, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(cluster.to_owned()).or_default())
    }
}

impl Asked {
    pub(super) fn of(intent: &Intent) -> Self {
        let (configuration, restart) = (intent.configuration, intent.restart.clone());
        // What is kept down does not start again.
        let restart = restart.filter(|_| !intent.stopped).map(|mut restart| {
            restart.instances.retain(|name| !intent.is_fenced(name));
            restart
        });
        Self { configuration, restart }
    }

    /// The number of the restart that is asked of an instance.
    pub(super) fn restart_of(&self, name: &InstanceName) -> Option<u64> {
        let restart = self.restart.as_ref().filter(|restart| restart.instances.contains(name))?;
        Some(restart.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lasts_until_somebody_answers() {
        let (known, start) = (TakenUp::default(), Instant::now());
        let after = |seconds, answers| {
            known.unheard("a", answers, start + Duration::from_secs(seconds)).as_secs()
        };
        let told = [(0, Answers::None), (30, Answers::None), (31, Answers::Some)];
        assert_eq!(told.map(|(seconds, answers)| after(seconds, answers)), [0, 30, 0]);
        assert_eq!(after(32, Answers::None), 0);
        assert_eq!(after(40, Answers::None), 8);
    }

    #[test]
    fn what_is_asked_since_is_not_done() {
        let known = TakenUp::default();
        let first = Asked { configuration: 7, restart: None };
        assert!(!known.is_so("a", &first));
        known.note("a", first.clone());
        assert!(known.is_so("a", &first));
        assert!(!known.is_so("b", &first));
        let restart = Some(Restart { number: 1, instances: [].into() });
        assert!(!known.is_so("a", &Asked { restart, ..first }));
    }
}
