//! The `FailoverQuorum` object: what the primary says about its synchronous standbys.
//!
//! Never decides who may take over.

use crate::kind::{AGE, Column, Kind, Rule, Scope, Subresources, kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The synchronous standbys of the cluster of the same name. The primary writes it; nobody else
/// does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverQuorum {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `FailoverQuorum`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// The synchronous standbys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<FailoverQuorumStatus>,
}

kind!(FailoverQuorum, "failoverquorums", NamespaceResourceScope);

impl Kind for FailoverQuorum {
    const SINGULAR: &'static str = "failoverquorum";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[AGE];
    const RULES: &'static [Rule] = &[];
}

/// The synchronous standbys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct FailoverQuorumStatus {
    /// How they are chosen: `any` or `first`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub standby_names: Vec<String>,
    /// How many of them a commit waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby_number: Option<i64>,
    /// The primary that said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
}
