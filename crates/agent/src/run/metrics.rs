//! Says what metrics are made from.
//!
//! Never looks anything up for it.

use super::Agent;
use crate::metrics::Facts;
use pgherd_api::agent::MetricsSpec;

impl Agent {
    pub(super) fn facts(&self) -> Facts {
        let intent = self.intent.as_ref();
        Facts {
            status: self.status(),
            fenced: intent.is_some_and(|intent| intent.fenced.contains(&self.me)),
            archived: self.archiving.counts(),
            backups: self.backups.known(),
        }
    }

    /// How they are to be served, once that is known.
    pub(super) fn metrics_wanted(&self) -> Option<MetricsSpec> {
        self.specification.as_ref().map(|told| told.metrics)
    }
}
