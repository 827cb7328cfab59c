//! On which nodes instances run, and under which account. Never picks a node.

use super::references::NamedMetadata;
use k8s_openapi::api::core::v1::{NodeAffinity, PodAffinity, PodAntiAffinity, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// On which nodes instances may run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Affinity {
    /// Keep instances of the cluster apart. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_pod_anti_affinity: Option<bool>,
    /// `preferred`, or `required` to leave an instance waiting rather than on a shared node.
    /// Default: `preferred`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_anti_affinity_type: Option<String>,
    /// The label of nodes that has to differ. Default: `kubernetes.io/hostname`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_key: Option<String>,
    /// Labels that nodes must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Rules about nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// Taints of nodes that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Further pods to be near to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_pod_affinity: Option<PodAffinity>,
    /// Further pods to keep away from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_pod_anti_affinity: Option<PodAntiAffinity>,
}

/// Work on the nodes, announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeMaintenanceWindow {
    /// Whether the work goes on now. Default: false.
    pub in_progress: bool,
    /// Wait for the node to come back instead of making a new instance elsewhere. Default: true.
    #[serde(rename = "reusePVC")]
    pub reuse_pvc: bool,
}

impl Default for NodeMaintenanceWindow {
    fn default() -> Self {
        Self { in_progress: false, reuse_pvc: true }
    }
}

/// A set of pods whose addresses are kept up to date in `pg_hba` lines that name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSelectorRef {
    /// The name to write in `pg_hba` as `${podselector:NAME}`.
    #[schemars(length(min = 1), regex(pattern = r"^[a-z]([a-z0-9_-]*[a-z0-9])?$"))]
    pub name: String,
    /// Which pods belong to it, in the cluster's namespace.
    pub selector: LabelSelector,
}

/// The service account that is made for the instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountTemplate {
    /// Its name, labels and annotations.
    pub metadata: NamedMetadata,
}
