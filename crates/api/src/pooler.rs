//! The `Pooler` manifest: PgBouncers in front of a cluster.
//!
//! Never starts one.

use crate::cluster::defaults::int32;
use crate::cluster::managed::ServiceTemplate;
use crate::cluster::monitoring::{MonitoringTls, Relabeling};
use crate::cluster::references::{LocalObjectReference, NamedMetadata};
pub(crate) mod parameters;

use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::api::apps::v1::DeploymentStrategy;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A pool of connections in front of a cluster, kept by PgBouncer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pooler {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `Pooler`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: PoolerSpec,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PoolerStatus>,
}

kind!(Pooler, "poolers", NamespaceResourceScope);

impl Kind for Pooler {
    const SINGULAR: &'static str = "pooler";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Scale { selector: None };
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("Type", "string", ".spec.type"),
        Column::new("Phase", "string", ".status.phase"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// Where a pooler leads, and how it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolerSpec {
    /// The cluster it leads to, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// Which instances it leads to. Default: `rw`.
    #[serde(default)]
    pub type_: PoolerType,
    /// How many PgBouncers run. Default: 1.
    #[serde(default = "int32::<1>")]
    pub instances: i32,
    /// The configuration of PgBouncer.
    pub pgbouncer: PgBouncer,
    /// What the pods look like; the container to change is called `pgbouncer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,
    /// How pods are replaced; Kubernetes' default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_strategy: Option<DeploymentStrategy>,
    /// What the service looks like; its selector is set for you.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_template: Option<ServiceTemplate>,
    /// A service account that exists already; one is made when absent. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub service_account_name: Option<String>,
    /// Which metrics are scraped. Deprecated: make your own PodMonitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<PoolerMonitoring>,
}

/// Which instances a pooler leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PoolerType {
    /// The primary.
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
    /// Standbys.
    #[serde(rename = "ro")]
    ReadOnly,
    /// Any instance.
    #[serde(rename = "r")]
    Read,
}

/// The configuration of PgBouncer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PgBouncer {
    /// When a connection to PostgreSQL goes back to the pool. Default: `session`.
    pub pool_mode: PoolMode,
    /// Entries for `pgbouncer.ini`, all written as strings: `max_client_conn: "1000"`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Lines for PgBouncer's `pg_hba.conf`.
    #[serde(rename = "pg_hba", skip_serializing_if = "Vec::is_empty")]
    pub pg_hba: Vec<String>,
    /// The query that looks up passwords; needs `authQuerySecret` or `serverTLSSecret`. Default: `SELECT usename, passwd
    /// FROM public.user_search($1)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_query: Option<String>,
    /// A Secret with the user and password, or the certificate, for `authQuery`; made for you when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_query_secret: Option<LocalObjectReference>,
    /// A Secret with the certificate that PgBouncer shows to PostgreSQL; made for you when absent.
    #[serde(rename = "serverTLSSecret", skip_serializing_if = "Option::is_none")]
    pub server_tls_secret: Option<LocalObjectReference>,
    /// A Secret with the authority that PostgreSQL's certificate is checked with; the cluster's
    /// when absent.
    #[serde(rename = "serverCASecret", skip_serializing_if = "Option::is_none")]
    pub server_ca_secret: Option<LocalObjectReference>,
    /// A Secret with the certificate that clients see; the cluster's when absent.
    #[serde(rename = "clientTLSSecret", skip_serializing_if = "Option::is_none")]
    pub client_tls_secret: Option<LocalObjectReference>,
    /// A Secret with the authority that clients' certificates are checked with; the cluster's when
    /// absent.
    #[serde(rename = "clientCASecret", skip_serializing_if = "Option::is_none")]
    pub client_ca_secret: Option<LocalObjectReference>,
    /// Hold clients' queries back until this is false again. Default: false.
    pub paused: bool,
    /// The PgBouncer image to run; the operator's default image when absent. Excludes
    /// `imageCatalogRef`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A catalog to look the image up in. Excludes `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_catalog_ref: Option<ComponentImageRef>,
}

/// When a connection to PostgreSQL goes back to the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PoolMode {
    /// When its client disconnects.
    #[default]
    #[serde(rename = "session")]
    Session,
    /// When its client's transaction ends; many more clients fit, but sessions keep no state.
    #[serde(rename = "transaction")]
    Transaction,
}

/// An image in a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ComponentImageRef {
    /// The catalog's API group; always `postgresql.cnpg.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_group: Option<String>,
    /// `ImageCatalog` (same namespace) or `ClusterImageCatalog`.
    pub kind: String,
    /// The catalog's name.
    pub name: String,
    /// The key of the image in `componentImages`.
    #[schemars(length(max = 63))]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub key: String,
}

/// What pods look like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<NamedMetadata>,
    /// The specification to merge into that of the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<PodSpec>,
}

/// Which metrics are scraped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolerMonitoring {
    /// Make a PodMonitor for the pooler. Default: false.
    pub enable_pod_monitor: bool,
    /// Rules of the PodMonitor for samples.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_monitor_metric_relabelings: Vec<Relabeling>,
    /// Rules of the PodMonitor for targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_monitor_relabelings: Vec<Relabeling>,
    /// Encryption of the metrics endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<MonitoringTls>,
}

/// What is there of a pooler.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolerStatus {
    /// How it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<PoolerPhase>,
    /// Why it is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_reason: Option<String>,
    /// Why it cannot be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many PgBouncers run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<i32>,
    /// The image they run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The Secrets in use, and their versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<PoolerSecrets>,
}

/// How a pooler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PoolerPhase {
    /// It passes queries on.
    #[serde(rename = "active")]
    Active,
    /// It holds queries back, as `paused` asks.
    #[serde(rename = "paused")]
    Paused,
    /// It has no instances.
    #[serde(rename = "inactive")]
    Inactive,
    /// It cannot be had.
    #[serde(rename = "failed")]
    Failed,
}

/// The Secrets a pooler uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PoolerSecrets {
    /// The authority that clients' certificates are checked with.
    #[serde(rename = "clientCA", skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<SecretVersion>,
    /// The certificate that clients see.
    #[serde(rename = "clientTLS", skip_serializing_if = "Option::is_none")]
    pub client_tls: Option<SecretVersion>,
    /// The authority that PostgreSQL's certificate is checked with.
    #[serde(rename = "serverCA", skip_serializing_if = "Option::is_none")]
    pub server_ca: Option<SecretVersion>,
    /// The certificate that PostgreSQL sees.
    #[serde(rename = "serverTLS", skip_serializing_if = "Option::is_none")]
    pub server_tls: Option<SecretVersion>,
    /// The Secrets for looking up passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pg_bouncer_secrets: Option<PgBouncerSecrets>,
}

/// The Secrets for looking up passwords.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PgBouncerSecrets {
    /// The user of `authQuery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_query: Option<SecretVersion>,
}

/// A Secret, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretVersion {
    /// The Secret's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its resource version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "pooler-name-is-a-label",
        at: "",
        rule: "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        message: "metadata.name becomes the name of a Service, but is no DNS label: use at most 63 lower-case letters, digits and -, begin with a letter and do not end with -",
        source: Source::Webhook,
    },
    Rule {
        name: "pooler-name-is-not-its-clusters",
        at: "",
        rule: "self.metadata.name != self.spec.cluster.name",
        message: "metadata.name is that of the cluster, whose objects have names like it: choose another, for example with -pooler at its end",
        source: Source::Webhook,
    },
    Rule {
        name: "pooler-cluster-has-a-name",
        at: "spec.cluster",
        rule: "self.name != ''",
        message: "cluster.name is empty: write the name of a cluster in the same namespace",
        source: Source::Webhook,
    },
    Rule {
        name: "pooler-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "pooler-image-or-catalog",
        at: "spec.pgbouncer",
        rule: "!(has(self.image) && has(self.imageCatalogRef))",
        message: "image and imageCatalogRef are both set, but only one of them can be meant: remove one",
        source: Source::Published,
    },
    Rule {
        name: "pooler-catalog-kind",
        at: "spec.pgbouncer.imageCatalogRef",
        rule: "self.kind == 'ImageCatalog' || self.kind == 'ClusterImageCatalog'",
        message: "kind is not the kind of a catalog: write ImageCatalog or ClusterImageCatalog",
        source: Source::Published,
    },
    Rule {
        name: "pooler-catalog-group",
        at: "spec.pgbouncer.imageCatalogRef",
        rule: "has(self.apiGroup) && self.apiGroup == 'postgresql.cnpg.io'",
        message: "apiGroup is not that of a catalog: write postgresql.cnpg.io",
        source: Source::Published,
    },
    Rule {
        name: "pooler-service-account-stays",
        at: "spec.serviceAccountName",
        rule: "self == oldSelf",
        message: "serviceAccountName cannot be changed: put the old name back",
        source: Source::Published,
    },
    Rule {
        name: "pooler-query-with-its-secret",
        at: "spec.pgbouncer",
        rule: "(has(self.authQuery) && self.authQuery != '') == ((has(self.authQuerySecret) && self.authQuerySecret.name != '') || (has(self.serverTLSSecret) && self.serverTLSSecret.name != ''))",
        message: "authQuery belongs together with authQuerySecret or serverTLSSecret: set it and one of them, or nothing to have them made",
        source: Source::Webhook,
    },
];
