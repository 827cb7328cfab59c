//! Where the data of a new cluster comes from. Never concerns a cluster that has data already.

use super::initdb::InitDb;
use super::references::{LocalObjectReference, SecretKeySelector};
use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a new cluster gets its data: one of the three; an empty database when all are absent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Bootstrap {
    /// Start with an empty database, or import one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initdb: Option<InitDb>,
    /// Start from a backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// Start with a copy of a running server.
    #[serde(rename = "pg_basebackup", skip_serializing_if = "Option::is_none")]
    pub pg_basebackup: Option<PgBaseBackup>,
}

impl Bootstrap {
    /// The Secret with the password of the application's role, if one is named.
    pub fn owner_secret(&self) -> Option<&LocalObjectReference> {
        let copy = self.pg_basebackup.as_ref().and_then(|it| it.secret.as_ref());
        let restored = || self.recovery.as_ref().and_then(|it| it.secret.as_ref());
        let new = || self.initdb.as_ref().and_then(|it| it.secret.as_ref());
        copy.or_else(restored).or_else(new)
    }
}

/// Start from a backup: from `source`, from `backup`, or from `volumeSnapshots`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Recovery {
    /// The entry of `externalClusters` whose archive is restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The Backup object to restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSource>,
    /// The volume snapshots to restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_snapshots: Option<VolumeSnapshots>,
    /// Where to stop; at the end of the archive when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_target: Option<RecoveryTarget>,
    /// The application's database. Default: `app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The role that owns the database. Default: the database's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A Secret with the owner's user name and password; one is generated when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<LocalObjectReference>,
}

/// A Backup object to restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupSource {
    /// The name of the Backup object.
    pub name: String,
    /// The certificate authority of the object store's endpoint.
    #[serde(rename = "endpointCA", skip_serializing_if = "Option::is_none")]
    pub endpoint_ca: Option<SecretKeySelector>,
}

/// Volume snapshots to restore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshots {
    /// The snapshot of the data volume.
    pub storage: TypedLocalObjectReference,
    /// The snapshot of the WAL volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal_storage: Option<TypedLocalObjectReference>,
    /// The snapshots of the tablespaces' volumes, by tablespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tablespace_storage: BTreeMap<String, TypedLocalObjectReference>,
}

/// Where a recovery stops: at most one of time, LSN, transaction, name or immediately.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct RecoveryTarget {
    /// A moment, as RFC 3339 or as PostgreSQL writes it; UTC without a zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_time: Option<String>,
    /// A position in the WAL, such as `16/B374D848`.
    #[serde(rename = "targetLSN", skip_serializing_if = "Option::is_none")]
    pub target_lsn: Option<String>,
    /// A transaction's number.
    #[serde(rename = "targetXID", skip_serializing_if = "Option::is_none")]
    pub target_xid: Option<String>,
    /// A restore point made with `pg_create_restore_point()`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// Stop as soon as the data is consistent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_immediate: Option<bool>,
    /// The timeline to follow: a number or `latest`. Default: `latest`.
    #[serde(rename = "targetTLI", skip_serializing_if = "Option::is_none")]
    pub target_tli: Option<String>,
    /// Stop just before the target instead of just after it. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<bool>,
    /// The base backup to start from; chosen by time or LSN when absent.
    #[serde(rename = "backupID", skip_serializing_if = "Option::is_none")]
    pub backup_id: Option<String>,
}

/// Start with a copy of a running server of the same major version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PgBaseBackup {
    /// The entry of `externalClusters` to copy.
    #[schemars(length(min = 1))]
    pub source: String,
    /// The application's database. Default: `app`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The role that owns the database. Default: the database's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// A Secret with the owner's user name and password; one is generated when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<LocalObjectReference>,
}
