//! The `Cluster` manifest: what a user asks for, and what it means once it is checked.
//!
//! Never changes what was written.

pub mod access;
pub mod annotations;
pub mod archive;
pub mod backup;
pub mod bootstrap;
pub mod certificates;
mod checked;
pub(crate) mod defaults;
pub mod external;
mod ignored;
pub mod images;
pub mod import;
pub mod initdb;
pub mod managed;
pub mod monitoring;
pub mod object_store;
pub mod parameters;
pub mod postgresql;
pub mod probes;
pub(crate) mod problem;
#[cfg(test)]
mod published;
pub mod recovery;
pub mod references;
pub mod replication;
mod rules;
pub mod scheduling;
pub mod spec;
pub mod status;
pub mod storage;
pub mod synchronous;
pub mod updates;

pub use checked::Checked;
pub use ignored::ACTED_UPON;
pub use problem::{Problem, Refusal};

use crate::field::FieldPath;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Shown, Subresources, kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spec::ClusterSpec;
use status::ClusterStatus;
use std::collections::BTreeSet;

/// A PostgreSQL cluster: one primary and its standbys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// How it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ClusterStatus>,
    /// The places that its author set; unknown unless it was read from text.
    #[serde(skip)]
    written: Option<BTreeSet<FieldPath>>,
}

impl Cluster {
    pub(crate) fn written_as(self, written: BTreeSet<FieldPath>) -> Self {
        Self { written: Some(written), ..self }
    }
}

kind!(Cluster, "clusters", NamespaceResourceScope);

impl Kind for Cluster {
    const SINGULAR: &'static str = "cluster";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Scale { selector: Some(".status.selector") };
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Instances", "integer", ".status.instances"),
        Column::new("Ready", "integer", ".status.readyInstances"),
        Column::new("Status", "string", ".status.phase"),
        Column::new("Primary", "string", ".status.currentPrimary"),
        Column {
            name: "SyncTopology",
            form: "string",
            path: ".status.conditions[?(@.type=='SyncReplicationTopologySatisfied')].reason",
            shown: Shown::Wide,
        },
    ];
    const RULES: &'static [Rule] = rules::RULES;
}
