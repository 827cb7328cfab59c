//! When and how backups are taken, and who archives. Never says where one instance keeps its data.

use super::defaults::yes;
use super::object_store::BarmanObjectStore;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the cluster is backed up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Backup {
    /// Which instance backups are taken from. Default: `prefer-standby`.
    pub target: BackupTarget,
    /// How far back recovery has to be possible: days, weeks or months, such as `30d`. Backups are
    /// kept for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-9][0-9]*[dwm]$"))]
    pub retention_policy: Option<String>,
    /// The archive in an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barman_object_store: Option<BarmanObjectStore>,
    /// Backups as volume snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshot: Option<VolumeSnapshot>,
}

/// Which instance backups are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum BackupTarget {
    /// The primary.
    #[serde(rename = "primary")]
    Primary,
    /// The most advanced standby, or the primary if there is none.
    #[default]
    #[serde(rename = "prefer-standby")]
    PreferStandby,
}

/// Backups as volume snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeSnapshot {
    /// The snapshot class of the data volume; the default class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// The snapshot class of the WAL volume. Default: `className`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_class_name: Option<String>,
    /// The snapshot classes of the tablespaces' volumes, by tablespace. Default: `className`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tablespace_class_name: BTreeMap<String, String>,
    /// Take snapshots while PostgreSQL runs; otherwise the instance is stopped for it. Default:
    /// true.
    pub online: bool,
    /// Details of snapshots of a running PostgreSQL.
    pub online_configuration: OnlineConfiguration,
    /// Whose deletion deletes the snapshots. Default: `none`.
    pub snapshot_owner_reference: SnapshotOwner,
    /// Labels for the snapshots.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the snapshots.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for VolumeSnapshot {
    fn default() -> Self {
        Self {
            class_name: None,
            wal_class_name: None,
            tablespace_class_name: BTreeMap::new(),
            online: true,
            online_configuration: OnlineConfiguration::default(),
            snapshot_owner_reference: SnapshotOwner::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// Details of snapshots of a running PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct OnlineConfiguration {
    /// A backup is done only when the WAL it needs is archived. Default: true.
    pub wait_for_archive: bool,
    /// Start with a fast checkpoint instead of waiting for a spread one. Default: false.
    pub immediate_checkpoint: bool,
}

impl Default for OnlineConfiguration {
    fn default() -> Self {
        Self { wait_for_archive: true, immediate_checkpoint: false }
    }
}

/// Whose deletion deletes the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SnapshotOwner {
    /// Nobody's: they stay.
    #[default]
    #[serde(rename = "none")]
    None,
    /// The cluster's.
    #[serde(rename = "cluster")]
    Cluster,
    /// The Backup object's.
    #[serde(rename = "backup")]
    Backup,
}

/// A plugin that takes part in the cluster's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// The plugin's name.
    pub name: String,
    /// Whether the plugin is used. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether the plugin archives WAL; at most one does. Default: false.
    #[serde(rename = "isWALArchiver", default)]
    pub is_wal_archiver: bool,
    /// The plugin's own settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}
