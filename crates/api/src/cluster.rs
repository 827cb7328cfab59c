//! The `Cluster` manifest: what a user asks for, and what it means once it is checked.
//!
//! Never changes what was written.

pub mod access;
pub mod annotations;
pub mod backup;
pub mod bootstrap;
pub mod certificates;
mod checked;
mod defaults;
pub mod external;
mod ignored;
pub mod images;
pub mod initdb;
pub mod managed;
pub mod monitoring;
pub mod object_store;
pub mod parameters;
pub mod postgresql;
pub mod probes;
mod problem;
#[cfg(test)]
mod published;
pub mod references;
pub mod replication;
pub mod scheduling;
pub mod spec;
pub mod storage;
pub mod synchronous;
pub mod updates;

pub use checked::Checked;
pub use problem::{Problem, Refusal};

use crate::field::FieldPath;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use spec::ClusterSpec;
use std::collections::BTreeSet;

/// A PostgreSQL cluster: one primary and its standbys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `Cluster`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ClusterSpec,
    /// The places that its author set; unknown unless it was read from text.
    #[serde(skip)]
    written: Option<BTreeSet<FieldPath>>,
}

impl Cluster {
    pub(crate) fn written_as(self, written: BTreeSet<FieldPath>) -> Self {
        Self { written: Some(written), ..self }
    }
}
