//! Remembers from when on clusters can be recovered, as the repository was at the end of their last
//! backup, until that is in their status.
//!
//! Never what somebody computed from objects: the agent that took the backup has looked.

use k8s_openapi::jiff::Timestamp;
use pgherd_api::backup::Backup;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// By the namespace and the name of the cluster.
#[derive(Debug, Default)]
pub struct Recoverable(Mutex<BTreeMap<(String, String), Timestamp>>);

impl Recoverable {
    /// None: the agent does not know.
    pub(super) fn note(&self, backup: &Backup, since: Option<Timestamp>) {
        let namespace = backup.metadata.namespace.clone().unwrap_or_default();
        let key = (namespace, backup.spec.cluster.name.clone());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match since.and_then(whole) {
            Some(since) => all.insert(key, since),
            None => all.remove(&key),
        };
    }

    /// None: no backup of it has ended since this operator began to lead.
    pub(crate) fn since(&self, namespace: &str, cluster: &str) -> Option<Timestamp> {
        let key = (namespace.to_owned(), cluster.to_owned());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }
}

/// The first whole second from then on: the one before is out of reach.
fn whole(since: Timestamp) -> Option<Timestamp> {
    let more = i64::from(since.subsec_nanosecond() > 0);
    Timestamp::from_second(since.as_second().checked_add(more)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::backup;
    use super::*;

    #[test]
    fn each_cluster_has_a_moment_of_its_own() {
        let known = Recoverable::default();
        let ended = Timestamp::from_millisecond(7500).unwrap();
        known.note(&backup("a", 1), Some(ended));
        assert_eq!(known.since("shop", "db"), Timestamp::from_second(8).ok());
        assert_eq!((known.since("shop", "other"), known.since("", "db")), (None, None));
        known.note(&backup("b", 2), None);
        assert_eq!(known.since("shop", "db"), None);
    }
}
