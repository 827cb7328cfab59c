//! Remembers for a while that certificates were looked at and found good: those that a user gives are not
//! watched, so that each look asks the API server.
//!
//! Never once anything of the cluster has changed, and never for longer than a cluster at rest was
//! left alone anyway.

use super::super::LOOK_AGAIN;
use super::super::manifests::{self, Blueprint};
use super::super::observe::Seen;
use super::super::wanted::Wanted;
use pgherd_core::fleet::{Plan, Verdict};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// By the cluster's unique id: what it was like, and when.
#[derive(Debug, Default)]
pub struct Looked(Mutex<BTreeMap<String, (String, Instant)>>);

impl Looked {
    pub(super) fn is_recent(&self, cluster: &str, state: &str, now: Instant) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(cluster).is_some_and(|(known, at)| {
            known == state && now.saturating_duration_since(*at) < LOOK_AGAIN
        })
    }

    pub(super) fn note(&self, cluster: &str, state: String, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(cluster.to_owned(), (state, now));
    }
}

/// What a look depends on; none while something goes on, in which it may be needed at once.
pub(super) fn state(
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
) -> Option<String> {
    if plan.verdict != Verdict::Healthy || !plan.steps.is_empty() {
        return None;
    }
    let versions = seen.secrets.iter().map(|(name, it)| (name, &it.metadata.resource_version));
    let instances: Vec<_> = wanted.wishes.instances.keys().collect();
    let generation = blueprint.cluster.metadata.generation;
    Some(manifests::digest(&(generation, versions.collect::<Vec<_>>(), instances)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_or_is_long_ago_is_looked_at_again() {
        let (looked, then) = (Looked::default(), Instant::now());
        assert!(!looked.is_recent("a", "1", then));
        looked.note("a", "1".to_owned(), then);
        assert!(looked.is_recent("a", "1", then + LOOK_AGAIN / 2));
        assert!(!looked.is_recent("a", "2", then));
        assert!(!looked.is_recent("b", "1", then));
        assert!(!looked.is_recent("a", "1", then + LOOK_AGAIN));
    }
}
