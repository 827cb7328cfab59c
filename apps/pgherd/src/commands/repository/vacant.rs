//! Finds out whether the place for a new cluster's own log is free.
//!
//! Never writes there.

use super::Answer;
use pgherd_api::agent::ArchiveSpec;
use serde::{Deserialize, Serialize};

/// Which place: what opens the repository that is asked opens that, too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vacant {
    pub(crate) own: ArchiveSpec,
}

/// It is; one that is not is refused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Free {
    pub(super) place: String,
}

impl Answer for Free {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![self.place.clone()]
    }

    fn lines(&self) -> Vec<String> {
        vec![format!("{} is free", self.place)]
    }
}
