//! The `Backup` manifest: one backup of a cluster, and how it went.
//!
//! Never takes one.

pub mod manner;
pub mod mode;
pub mod rate;

use crate::cluster::backup::{BackupTarget, OnlineConfiguration};
use crate::cluster::object_store::{AzureCredentials, GoogleCredentials, S3Credentials};
use crate::cluster::references::{LocalObjectReference, SecretKeySelector};
use crate::errand::{Errand, Going, InstanceId, Told};
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pgherd_core::names::InstanceName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One backup of a cluster. Making the object takes the backup; it cannot be changed afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `Backup`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackupSpec,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BackupStatus>,
}

kind!(Backup, "backups", NamespaceResourceScope);

impl Errand for Backup {
    type Status = BackupStatus;

    fn cluster(&self) -> &str {
        &self.spec.cluster.name
    }

    fn told(&self) -> Option<&BackupStatus> {
        self.status.as_ref()
    }

    fn target(&self) -> Option<BackupTarget> {
        self.spec.target
    }

    fn instance(&self) -> Option<InstanceName> {
        self.manner().ok()?.instance
    }
}

impl Kind for Backup {
    const SINGULAR: &'static str = "backup";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("Method", "string", ".spec.method"),
        Column::new("Phase", "string", ".status.phase"),
        Column::new("Error", "string", ".status.error"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// What a backup shall be of, and how it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSpec {
    /// The cluster to back up, in the same namespace.
    pub cluster: LocalObjectReference,
    /// How the backup is taken. Default: `barmanObjectStore`.
    #[serde(default)]
    pub method: BackupMethod,
    /// Which instance it is taken from; `spec.backup.target` of the cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<BackupTarget>,
    /// Take a volume snapshot while PostgreSQL runs; `spec.backup.volumeSnapshot.online` of the
    /// cluster when absent. A backup into an archive is always taken so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// Details of a backup of a running PostgreSQL; those of the cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_configuration: Option<OnlineConfiguration>,
    /// The plugin that takes the backup; for method `plugin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_configuration: Option<PluginConfiguration>,
}

impl BackupSpec {
    /// Into the archive of this cluster, as the cluster says.
    pub fn of(cluster: &str) -> Self {
        Self {
            cluster: LocalObjectReference { name: cluster.to_owned() },
            method: BackupMethod::BarmanObjectStore,
            target: None,
            online: None,
            online_configuration: None,
            plugin_configuration: None,
        }
    }
}

/// How a backup is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum BackupMethod {
    /// Into the object store of `spec.backup.barmanObjectStore`.
    #[default]
    #[serde(rename = "barmanObjectStore")]
    BarmanObjectStore,
    /// As snapshots of the volumes.
    #[serde(rename = "volumeSnapshot")]
    VolumeSnapshot,
    /// By a plugin.
    #[serde(rename = "plugin")]
    Plugin,
}

/// The plugin that takes a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginConfiguration {
    /// The plugin's name.
    pub name: String,
    /// The plugin's own settings for this backup.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// How a backup went, and what is needed to restore it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct BackupStatus {
    /// How far it is: `pending`, `started`, `running`, `finalizing`, `completed`, `failed`,
    /// `walArchivingFailing` or `invalid backup definition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Whether PostgreSQL ran while the snapshots were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// The backup's id in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
    /// The backup's name in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// The folder of the server in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Where the archive lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_path: Option<String>,
    /// The object store's endpoint.
    #[serde(rename = "endpointURL", skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The certificate authority of the endpoint.
    #[serde(rename = "endpointCA", skip_serializing_if = "Option::is_none")]
    pub endpoint_ca: Option<SecretKeySelector>,
    /// Credentials for S3 and compatible stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_credentials: Option<S3Credentials>,
    /// Credentials for Azure Blob Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub azure_credentials: Option<AzureCredentials>,
    /// Credentials for Google Cloud Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub google_credentials: Option<GoogleCredentials>,
    /// How the object store encrypts the backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The first WAL file that a restore needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begin_wal: Option<String>,
    /// The last WAL file that a restore needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_wal: Option<String>,
    /// Where in the WAL the backup begins.
    #[serde(rename = "beginLSN", skip_serializing_if = "Option::is_none")]
    pub begin_lsn: Option<String>,
    /// Where in the WAL the backup ends.
    #[serde(rename = "endLSN", skip_serializing_if = "Option::is_none")]
    pub end_lsn: Option<String>,
    /// When taking it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When taking it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Time>,
    /// When work on this object began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciliation_started_at: Option<Time>,
    /// When work on this object ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciliation_terminated_at: Option<Time>,
    /// What the backup program wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_output: Option<String>,
    /// What the backup program wrote about errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_error: Option<String>,
    /// The file `backup_label` of a snapshot of a running PostgreSQL, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "byte"))]
    pub backup_label_file: Option<ByteString>,
    /// The file `tablespace_map` of a snapshot of a running PostgreSQL, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "byte"))]
    pub tablespace_map_file: Option<ByteString>,
    /// The instance it was taken from.
    #[serde(rename = "instanceID", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<InstanceId>,
    /// The PostgreSQL major version it was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major_version: Option<i64>,
    /// The snapshots; for method `volumeSnapshot`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_backup_status: Option<SnapshotBackupStatus>,
    /// What the plugin noted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plugin_metadata: BTreeMap<String, String>,
}

impl Told for BackupStatus {
    fn going(&self) -> Going {
        Going {
            phase: self.phase.clone(),
            error: self.error.clone(),
            instance_id: self.instance_id.clone(),
            started_at: self.started_at.clone(),
            reconciliation_started_at: self.reconciliation_started_at.clone(),
            reconciliation_terminated_at: self.reconciliation_terminated_at.clone(),
        }
    }

    fn with(self, going: Going) -> Self {
        Self {
            phase: going.phase,
            error: going.error,
            started_at: going.started_at,
            reconciliation_started_at: going.reconciliation_started_at,
            reconciliation_terminated_at: going.reconciliation_terminated_at,
            instance_id: going.instance_id,
            ..self
        }
    }
}

/// The snapshots that make up a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct SnapshotBackupStatus {
    /// One snapshot a volume.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<SnapshotElement>,
}

/// The snapshot of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotElement {
    /// The name of the VolumeSnapshot.
    pub name: String,
    /// What is on the volume: `PG_DATA`, `PG_WAL` or `PG_TABLESPACE`.
    pub type_: String,
    /// The tablespace on the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tablespace_name: Option<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "backup-stays",
        at: "spec",
        rule: "oldSelf == self",
        message: "a Backup cannot be changed: make a new one",
        source: Source::Published,
    },
    Rule {
        name: "backup-offline-needs-snapshots",
        at: "spec",
        rule: "self.method != 'barmanObjectStore' || !has(self.online) || self.online",
        message: "method barmanObjectStore takes every backup online: remove online: false, or write method: volumeSnapshot",
        source: Source::Ours,
    },
    Rule {
        name: "backup-plugin-needs-configuration",
        at: "spec",
        rule: "self.method != 'plugin' || (has(self.pluginConfiguration) && self.pluginConfiguration.name != '')",
        message: "method plugin needs to know which one: add pluginConfiguration with its name",
        source: Source::Webhook,
    },
];
