//! The `Subscription` manifest: what a database takes over from another one.
//!
//! Never runs SQL.

use crate::database::ReclaimPolicy;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A subscription for logical replication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `Subscription`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: SubscriptionSpec,
    /// What was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<SubscriptionStatus>,
}

kind!(Subscription, "subscriptions", NamespaceResourceScope);

impl Kind for Subscription {
    const SINGULAR: &'static str = "subscription";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("PG Name", "string", ".spec.name"),
        Column::new("Applied", "boolean", ".status.applied"),
        Column::new("Message", "string", ".status.message"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// What is subscribed to, and from where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionSpec {
    /// The cluster that subscribes, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// The database that subscribes. It cannot be changed.
    pub dbname: String,
    /// The subscription's name in PostgreSQL. It cannot be changed.
    pub name: String,
    /// The entry of `externalClusters` of the cluster that publishes.
    pub external_cluster_name: String,
    /// The publication's name.
    pub publication_name: String,
    /// The database that publishes; the one in the external cluster's connection parameters when
    /// absent.
    #[serde(rename = "publicationDBName", skip_serializing_if = "Option::is_none")]
    pub publication_db_name: Option<String>,
    /// Options such as `failover: "true"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What happens to the subscription when this object is deleted. Default: `retain`.
    #[serde(default)]
    pub subscription_reclaim_policy: ReclaimPolicy,
}

/// What was applied to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SubscriptionStatus {
    /// Whether PostgreSQL is as the specification says; absent before the first try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the specification that was applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "subscription-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "subscription-database-stays",
        at: "spec.dbname",
        rule: "self == oldSelf",
        message: "dbname cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "subscription-name-stays",
        at: "spec.name",
        rule: "self == oldSelf",
        message: "name cannot be changed: make a new object for another one",
        source: Source::Published,
    },
];
