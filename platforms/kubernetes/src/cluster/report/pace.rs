//! Decides how long a status that says little new may wait: many clusters that come up at once share
//! one API server.
//!
//! Never lets wait what people and their scripts wait for.

use super::phase::SETTING_UP;
use crate::hindrance;
use pgherd_api::cluster::status::ClusterStatus;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Details of one cluster are written once in this time.
const DETAILS: Duration = Duration::from_secs(10);
/// While its first instance is made, nobody looks for them: what comes next has them, too.
const DETAILS_OF_NEW: Duration = Duration::from_secs(30);

/// By the cluster's unique id: when its status was written last, if that was a short time ago.
#[derive(Debug, Default)]
pub struct Paced(Mutex<BTreeMap<String, Instant>>);

impl Paced {
    /// How much longer this status is not to be written; none when it is to be now.
    pub(super) fn pause(
        &self,
        cluster: &str,
        (before, after): (&ClusterStatus, &ClusterStatus),
        now: Instant,
    ) -> Option<Duration> {
        if without_details(before) != without_details(after) {
            return None;
        }
        let is_new = after.phase.as_deref() == Some(SETTING_UP);
        let pause = if is_new { DETAILS_OF_NEW } else { DETAILS };
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = pause.saturating_sub(now.saturating_duration_since(*all.get(cluster)?));
        Some(left).filter(|left| !left.is_zero())
    }

    pub(super) fn note(&self, cluster: &str, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, at| now.saturating_duration_since(*at) < DETAILS_OF_NEW);
        all.insert(cluster.to_owned(), now);
    }
}

/// What of a status is news at once: not how far something is, but that something else is so.
fn without_details(status: &ClusterStatus) -> ClusterStatus {
    let mut conditions = status.conditions.clone();
    for condition in &mut conditions {
        condition.message.clear();
    }
    let phase_reason = status.phase_reason.clone();
    ClusterStatus {
        conditions,
        // Nothing comes of it by waiting.
        phase_reason: phase_reason.filter(|reason| hindrance::is_by_kubelet(reason)),
        instances_status: BTreeMap::new(),
        instances_reported_state: BTreeMap::new(),
        topology: None,
        certificates: None,
        pvc_count: None,
        healthy_pvc: Vec::new(),
        initializing_pvc: Vec::new(),
        ..status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_api::cluster::status::Topology;

    #[test]
    fn details_wait_for_each_other_and_nothing_else_does() {
        let (paced, then) = (Paced::default(), Instant::now());
        let before = ClusterStatus { phase: Some("one".to_owned()), ..ClusterStatus::default() };
        let detail = ClusterStatus { topology: Some(Topology::default()), ..before.clone() };
        let reason = |told: &str| {
            let phase_reason = Some(told.to_owned());
            ClusterStatus { phase_reason, ..detail.clone() }
        };
        let stuck = reason("not ready: db-2; pod/db-2: image pg:15 cannot be pulled: not found");
        let news = ClusterStatus { phase: Some("other".to_owned()), ..detail.clone() };
        assert_eq!(paced.pause("a", (&before, &detail), then), None);
        paced.note("a", then);
        let soon = then + DETAILS / 5;
        assert_eq!(paced.pause("a", (&before, &detail), soon), Some(DETAILS / 5 * 4));
        assert_eq!(paced.pause("b", (&before, &detail), soon), None);
        assert_eq!(paced.pause("a", (&before, &news), soon), None);
        let other = reason("not ready: db-2");
        assert_eq!(paced.pause("a", (&before, &other), soon), Some(DETAILS / 5 * 4));
        assert_eq!(paced.pause("a", (&other, &stuck), soon), None);
        assert_eq!(paced.pause("a", (&stuck, &stuck), soon), Some(DETAILS / 5 * 4));
        assert_eq!(paced.pause("a", (&stuck, &other), soon), None);
        assert_eq!(paced.pause("a", (&before, &detail), then + DETAILS), None);

        let new = |status: &ClusterStatus| {
            let phase = Some(SETTING_UP.to_owned());
            ClusterStatus { phase, ..status.clone() }
        };
        let (before, detail) = (new(&before), new(&detail));
        let left = paced.pause("a", (&before, &detail), then + DETAILS);
        assert_eq!(left, Some(DETAILS_OF_NEW.saturating_sub(DETAILS)));
        assert_eq!(paced.pause("a", (&before, &detail), then + DETAILS_OF_NEW), None);
        assert_eq!(paced.pause("a", (&detail, &news), soon), None);
    }
}
