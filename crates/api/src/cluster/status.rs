//! What is told about a cluster: its status, as users and their tools read it.
//!
//! Never decides anything; what is here was decided elsewhere.

use super::postgresql::Extension;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a cluster is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStatus {
    /// What goes on, such as `Cluster in healthy state` or `Failing over`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_reason: Option<String>,
    /// What is true of the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// How many instances there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i64>,
    /// How many of them can serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_instances: Option<i64>,
    /// The names of the instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instance_names: Vec<String>,
    /// The names of the instances by how they are: `healthy`, `replicating` or `failed`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub instances_status: BTreeMap<String, Vec<String>>,
    /// What each instance said last, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub instances_reported_state: BTreeMap<String, InstanceReportedState>,
    /// The instance that is the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_primary: Option<String>,
    /// When it became the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_primary_timestamp: Option<String>,
    /// Since when the primary is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_primary_failing_since_timestamp: Option<String>,
    /// The instance that shall be the primary; another one than `currentPrimary` while it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_primary: Option<String>,
    /// When that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_primary_timestamp: Option<String>,
    /// The number of PostgreSQL's timeline.
    #[serde(rename = "timelineID", skip_serializing_if = "Option::is_none")]
    pub timeline_id: Option<i64>,
    /// PostgreSQL's system identifier.
    #[serde(rename = "systemID", skip_serializing_if = "Option::is_none")]
    pub system_id: Option<String>,
    /// The highest number that an instance was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_generated_node: Option<i64>,
    /// On which nodes the instances are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// The service that leads to the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_service: Option<String>,
    /// The service that leads to any instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_service: Option<String>,
    /// The labels of the instances' pods, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The PostgreSQL image that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image that the data belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_data_image_info: Option<ImageInfo>,
    /// The image that the data is being upgraded to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_pg_data_image_info: Option<ImageInfo>,
    /// How many volume claims there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc_count: Option<i32>,
    /// Volume claims in use by an instance.
    #[serde(rename = "healthyPVC", skip_serializing_if = "Vec::is_empty")]
    pub healthy_pvc: Vec<String>,
    /// Volume claims of instances that have no pod.
    #[serde(rename = "danglingPVC", skip_serializing_if = "Vec::is_empty")]
    pub dangling_pvc: Vec<String>,
    /// Volume claims that are being filled.
    #[serde(rename = "initializingPVC", skip_serializing_if = "Vec::is_empty")]
    pub initializing_pvc: Vec<String>,
    /// Volume claims that are growing.
    #[serde(rename = "resizingPVC", skip_serializing_if = "Vec::is_empty")]
    pub resizing_pvc: Vec<String>,
    /// Volume claims that belong to an instance of which another one is missing.
    #[serde(rename = "unusablePVC", skip_serializing_if = "Vec::is_empty")]
    pub unusable_pvc: Vec<String>,
    /// How many jobs run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_count: Option<i32>,
    /// The certificates in use, and how long they are valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<CertificatesStatus>,
    /// The versions of the Secrets in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_resource_version: Option<SecretsResourceVersion>,
    /// The versions of the ConfigMaps in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_resource_version: Option<ConfigMapResourceVersion>,
    /// How the roles of `managed.roles` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_roles_status: Option<ManagedRolesStatus>,
    /// How the tablespaces are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tablespaces_status: Vec<TablespaceStatus>,
    /// The plugins in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugin_status: Vec<PluginStatus>,
    /// The addresses of the pods that `podSelectorRefs` select.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pod_selector_refs: Vec<PodSelectorRefStatus>,
    /// What poolers need of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pooler_integrations: Option<PoolerIntegrations>,
    /// Whether the cluster is becoming a follower of another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch_replica_cluster_status: Option<SwitchReplicaClusterStatus>,
    /// The token to promote another cluster with; made when this cluster was demoted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demotion_token: Option<String>,
    /// The token that this cluster was promoted with last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_promotion_token: Option<String>,
    /// The earliest moment that can be restored. Deprecated: see the Backup objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_recoverability_point: Option<String>,
    /// The earliest moment that can be restored, by method of backup. Deprecated.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub first_recoverability_point_by_method: BTreeMap<String, Time>,
    /// When the last backup succeeded. Deprecated: see the Backup objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_successful_backup: Option<String>,
    /// When the last backup succeeded, by method. Deprecated.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub last_successful_backup_by_method: BTreeMap<String, Time>,
    /// When the last backup failed. Deprecated: see the Backup objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failed_backup: Option<String>,
    /// The processor architectures that the operator has a program for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub available_architectures: Vec<AvailableArchitecture>,
    /// The source revision of the operator.
    #[serde(rename = "cloudNativePGCommitHash", skip_serializing_if = "Option::is_none")]
    pub cloud_native_pg_commit_hash: Option<String>,
    /// The checksum of the operator's program.
    #[serde(rename = "cloudNativePGOperatorHash", skip_serializing_if = "Option::is_none")]
    pub cloud_native_pg_operator_hash: Option<String>,
    /// The fingerprint of the certificate that the operator shows to instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator_certificate_fingerprint: Option<String>,
    /// Whether instances take a new program without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_update_enabled: Option<bool>,
}

/// What an instance said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceReportedState {
    /// Whether it is the primary.
    pub is_primary: bool,
    /// The number of its timeline.
    #[serde(rename = "timeLineID", skip_serializing_if = "Option::is_none")]
    pub timeline_id: Option<i64>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
}

/// On which nodes instances are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Topology {
    /// The labels of the node of each instance, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<String, BTreeMap<String, String>>,
    /// How many nodes hold instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes_used: Option<i32>,
    /// Whether the nodes could be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successfully_extracted: Option<bool>,
}

/// An image, and what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageInfo {
    /// The image.
    pub image: String,
    /// Its PostgreSQL major version.
    pub major_version: i64,
    /// The extensions that are mounted beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
}

/// The certificates in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct CertificatesStatus {
    /// The Secret with the authority that signed the server's certificate.
    #[serde(rename = "serverCASecret", skip_serializing_if = "Option::is_none")]
    pub server_ca_secret: Option<String>,
    /// The Secret with the server's certificate and key.
    #[serde(rename = "serverTLSSecret", skip_serializing_if = "Option::is_none")]
    pub server_tls_secret: Option<String>,
    /// The Secret with the authority that clients' certificates are checked with.
    #[serde(rename = "clientCASecret", skip_serializing_if = "Option::is_none")]
    pub client_ca_secret: Option<String>,
    /// The Secret with the certificate and key of user `streaming_replica`.
    #[serde(rename = "replicationTLSSecret", skip_serializing_if = "Option::is_none")]
    pub replication_tls_secret: Option<String>,
    /// The names in the server's certificate.
    #[serde(rename = "serverAltDNSNames", skip_serializing_if = "Vec::is_empty")]
    pub server_alt_dns_names: Vec<String>,
    /// Until when each Secret's certificate is valid.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expirations: BTreeMap<String, String>,
}

/// The versions of the Secrets in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretsResourceVersion {
    /// The superuser's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superuser_secret_version: Option<String>,
    /// The replication user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_secret_version: Option<String>,
    /// The application's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_secret_version: Option<String>,
    /// That of the one authority, before there were two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_version: Option<String>,
    /// That of the authority for clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca_secret_version: Option<String>,
    /// That of the authority for servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_ca_secret_version: Option<String>,
    /// That of the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_secret_version: Option<String>,
    /// That of the authority of the object store.
    #[serde(rename = "barmanEndpointCA", skip_serializing_if = "Option::is_none")]
    pub barman_endpoint_ca: Option<String>,
    /// Those of managed roles, by Secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub managed_role_secret_version: BTreeMap<String, String>,
    /// Those of external clusters, by Secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub external_cluster_secret_version: BTreeMap<String, String>,
    /// Those of queries for metrics, by Secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

/// The versions of the ConfigMaps in use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigMapResourceVersion {
    /// Those of queries for metrics, by ConfigMap.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, String>,
}

/// How the roles of `managed.roles` are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ManagedRolesStatus {
    /// The roles by how they are: `reconciled`, `pending-reconciliation`, `not-managed` or
    /// `reserved`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_status: BTreeMap<String, Vec<String>>,
    /// Why roles cannot be made as they are written, by role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cannot_reconcile: BTreeMap<String, Vec<String>>,
    /// Which password was set last, by role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub password_status: BTreeMap<String, PasswordState>,
}

/// Which password was set last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PasswordState {
    /// The version of its Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// The transaction that set it.
    #[serde(rename = "transactionID", skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<i64>,
}

/// How a tablespace is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TablespaceStatus {
    /// The tablespace's name.
    pub name: String,
    /// `pending` or `reconciled`.
    pub state: String,
    /// The role that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why it cannot be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A plugin in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// What the plugin says about itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it takes part in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// What it does in the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operator_capabilities: Vec<String>,
    /// What it does with WAL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wal_capabilities: Vec<String>,
    /// What it does for backups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backup_capabilities: Vec<String>,
    /// What it does for restores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restore_job_hook_capabilities: Vec<String>,
}

/// The pods that a selector selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSelectorRefStatus {
    /// The selector's name.
    pub name: String,
    /// The pods' addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}

/// What poolers need of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolerIntegrations {
    /// What PgBouncers need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_bouncer_integration: Option<PgBouncerIntegration>,
}

/// What PgBouncers need of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PgBouncerIntegration {
    /// The Secrets they log in with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
}

/// Whether a cluster is becoming a follower of another one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SwitchReplicaClusterStatus {
    /// Whether it goes on now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_progress: Option<bool>,
}

/// A processor architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AvailableArchitecture {
    /// Its name, such as `amd64`.
    pub go_arch: String,
    /// The checksum of the program for it.
    pub hash: String,
}
