//! The whole specification: one field a feature, each feature in a file of its own.
//!
//! Never checks anything: `Cluster::checked` does.

use super::backup::{Backup, Plugin};
use super::bootstrap::Bootstrap;
use super::certificates::Certificates;
use super::external::ExternalCluster;
use super::images::ImageCatalogRef;
use super::managed::Managed;
use super::monitoring::Monitoring;
use super::postgresql::Postgresql;
use super::probes::{PrimaryLease, Probes};
use super::references::{LocalObjectReference, Metadata};
use super::replication::{Replica, ReplicationSlots};
use super::scheduling::{Affinity, NodeMaintenanceWindow, PodSelectorRef, ServiceAccountTemplate};
use super::storage::{EphemeralVolumesSizeLimit, Storage, Tablespace};
use super::updates::{LogLevel, PrimaryUpdateMethod, PrimaryUpdateStrategy};
use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EphemeralVolumeSource, PodSecurityContext, ProjectedVolumeSource,
    ResourceRequirements, SeccompProfile, SecurityContext, TopologySpreadConstraint,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wanted of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["instances"]))]
pub struct ClusterSpec {
    /// A text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How many instances the cluster has: a primary and standbys. Default: 1.
    #[schemars(range(min = 1))]
    pub instances: i64,
    /// The PostgreSQL image to run; the operator's default image when absent. Excludes
    /// `imageCatalogRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// A catalog to look the image up in. Excludes `imageName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_catalog_ref: Option<ImageCatalogRef>,
    /// `Always`, `IfNotPresent` or `Never`; Kubernetes' default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<String>,
    /// Secrets to pull images with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The volume of every instance.
    #[schemars(extend("default" = null))]
    pub storage: Storage,
    /// A volume of its own for WAL. It cannot be removed later. WAL lies with the data when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_storage: Option<Storage>,
    /// Tablespaces on volumes of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tablespaces: Vec<Tablespace>,
    /// A volume for scratch space; a folder of the node when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_volume_source: Option<EphemeralVolumeSource>,
    /// Limits for scratch space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_volumes_size_limit: Option<EphemeralVolumesSizeLimit>,
    /// Files to show to the instances at `/projected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projected_volume_template: Option<ProjectedVolumeSource>,
    /// CPU and memory of every instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The configuration of PostgreSQL.
    #[schemars(extend("default" = null))]
    pub postgresql: Postgresql,
    /// Where the data of a new cluster comes from; an empty database when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Servers and archives outside the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_clusters: Vec<ExternalCluster>,
    /// A Secret with the superuser's password; one is generated when absent. Needs
    /// `enableSuperuserAccess`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superuser_secret: Option<LocalObjectReference>,
    /// Give user `postgres` a password, so that it can connect from elsewhere. Default: false.
    pub enable_superuser_access: bool,
    /// Roles and services that are kept as they are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<Managed>,
    /// Certificates from Secrets; generated when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Certificates>,
    /// Replication slots of the standbys.
    #[schemars(extend("default" = { "highAvailability": { "enabled": true } }))]
    pub replication_slots: ReplicationSlots,
    /// Follow another cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Replica>,
    /// The least number of standbys a commit waits for. Deprecated: use `postgresql.synchronous`.
    /// Default: 0.
    #[schemars(range(min = 0))]
    pub min_sync_replicas: i64,
    /// The greatest number of standbys a commit waits for. Deprecated: use
    /// `postgresql.synchronous`. Default: 0.
    #[schemars(range(min = 0))]
    pub max_sync_replicas: i64,
    /// How long a lost primary is waited for beyond its detection, in seconds. Default: 0.
    pub failover_delay: i32,
    /// How long an instance may take to start, in seconds. Default: 3600.
    pub start_delay: i32,
    /// How long an instance may take to stop, in seconds. Default: 1800.
    pub stop_delay: i32,
    /// How much of `stopDelay` waits for sessions to end by themselves, in seconds. Default: 180.
    pub smart_shutdown_timeout: i32,
    /// How long the old primary may take to stop in a switchover, in seconds. Default: 3600.
    pub switchover_delay: i32,
    /// How long an instance may fail its liveness probe, in seconds. Default: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe_timeout: Option<i32>,
    /// How instances are probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// Times of the primary's lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_lease: Option<PrimaryLease>,
    /// When the primary is updated. Default: `unsupervised`.
    pub primary_update_strategy: PrimaryUpdateStrategy,
    /// How the primary is updated. Default: `restart`.
    pub primary_update_method: PrimaryUpdateMethod,
    /// Work on the nodes, announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_maintenance_window: Option<NodeMaintenanceWindow>,
    /// Protect the instances from evictions with a disruption budget. Default: true.
    #[serde(rename = "enablePDB")]
    pub enable_pdb: bool,
    /// On which nodes instances may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How instances are spread over zones and nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The scheduler that places the pods; Kubernetes' default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    /// The priority class of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Sets of pods for `pg_hba` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pod_selector_refs: Vec<PodSelectorRef>,
    /// The user id PostgreSQL runs as. Default: 26.
    #[serde(rename = "postgresUID")]
    pub postgres_uid: i64,
    /// The group id PostgreSQL runs as. Default: 26.
    #[serde(rename = "postgresGID")]
    pub postgres_gid: i64,
    /// The security context of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<PodSecurityContext>,
    /// The security context of the containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// The seccomp profile of the pods. Default: `RuntimeDefault`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
    /// A service account that exists already. Excludes `serviceAccountTemplate`; cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub service_account_name: Option<String>,
    /// Labels and annotations of the service account that is made. Excludes `serviceAccountName`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_template: Option<ServiceAccountTemplate>,
    /// Environment variables of the instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Where further environment variables come from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// Labels and annotations for every object that is made for the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inherited_metadata: Option<Metadata>,
    /// How the cluster is backed up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Plugins that take part in the cluster's life.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,
    /// Which metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// How much the instances log. Default: `info`.
    pub log_level: LogLevel,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            description: None,
            instances: 1,
            image_name: None,
            image_catalog_ref: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            storage: Storage::default(),
            wal_storage: None,
            tablespaces: Vec::new(),
            ephemeral_volume_source: None,
            ephemeral_volumes_size_limit: None,
            projected_volume_template: None,
            resources: None,
            postgresql: Postgresql::default(),
            bootstrap: None,
            external_clusters: Vec::new(),
            superuser_secret: None,
            enable_superuser_access: false,
            managed: None,
            certificates: None,
            replication_slots: ReplicationSlots::default(),
            replica: None,
            min_sync_replicas: 0,
            max_sync_replicas: 0,
            failover_delay: 0,
            start_delay: 3600,
            stop_delay: 1800,
            smart_shutdown_timeout: 180,
            switchover_delay: 3600,
            liveness_probe_timeout: None,
            probes: None,
            primary_lease: None,
            primary_update_strategy: PrimaryUpdateStrategy::default(),
            primary_update_method: PrimaryUpdateMethod::default(),
            node_maintenance_window: None,
            enable_pdb: true,
            affinity: None,
            topology_spread_constraints: Vec::new(),
            scheduler_name: None,
            priority_class_name: None,
            pod_selector_refs: Vec::new(),
            postgres_uid: 26,
            postgres_gid: 26,
            pod_security_context: None,
            security_context: None,
            seccomp_profile: None,
            service_account_name: None,
            service_account_template: None,
            env: Vec::new(),
            env_from: Vec::new(),
            inherited_metadata: None,
            backup: None,
            plugins: Vec::new(),
            monitoring: None,
            log_level: LogLevel::default(),
        }
    }
}
