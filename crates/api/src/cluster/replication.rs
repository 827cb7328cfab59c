//! Replication beyond synchronous commits: slots, and clusters that follow another cluster.
//!
//! Never names a standby or a position in the log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Replication slots keep the WAL that a standby still needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicationSlots {
    /// Slots for the cluster's own standbys.
    #[schemars(extend("default" = { "enabled": true }))]
    pub high_availability: HighAvailabilitySlots,
    /// Keep the users' own slots on the standbys, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronize_replicas: Option<SynchronizeReplicas>,
    /// How often the slots of standbys are moved forward, in seconds. Default: 30.
    #[schemars(range(min = 1))]
    pub update_interval: i64,
}

impl Default for ReplicationSlots {
    fn default() -> Self {
        Self {
            high_availability: HighAvailabilitySlots::default(),
            synchronize_replicas: None,
            update_interval: 30,
        }
    }
}

/// Slots for the cluster's own standbys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct HighAvailabilitySlots {
    /// Use slots between primary and standbys. Default: true.
    pub enabled: bool,
    /// How the names of these slots begin: lower-case letters, digits and `_`. Default: `_cnpg_`.
    #[schemars(regex(pattern = r"^[0-9a-z_]*$"))]
    pub slot_prefix: String,
    /// Keep logical slots usable after a failover. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronize_logical_decoding: Option<bool>,
}

impl Default for HighAvailabilitySlots {
    fn default() -> Self {
        Self { enabled: true, slot_prefix: "_cnpg_".to_owned(), synchronize_logical_decoding: None }
    }
}

/// Keep physical slots that users made on the standbys, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["enabled"]))]
pub struct SynchronizeReplicas {
    /// Copy the users' physical slots to the standbys. Default: true.
    pub enabled: bool,
    /// Regular expressions; slots whose name matches one are left alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_patterns: Vec<String>,
}

impl Default for SynchronizeReplicas {
    fn default() -> Self {
        Self { enabled: true, exclude_patterns: Vec::new() }
    }
}

/// Follow another cluster: this one stays read-only until it is promoted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// The entry of `externalClusters` that is followed.
    #[schemars(length(min = 1))]
    pub source: String,
    /// Whether this cluster follows `source`. Leave it out when `primary` is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The cluster of the distributed topology that is the primary one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The name of this cluster in the distributed topology; `metadata.name` when absent.
    #[serde(rename = "self", skip_serializing_if = "Option::is_none")]
    pub self_name: Option<String>,
    /// The token that the demoted cluster gave out; promotion waits until it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion_token: Option<String>,
    /// Stay behind the source by this time, as a duration such as `8h`. No delay when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_apply_delay: Option<String>,
}
