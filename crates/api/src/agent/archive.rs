//! Where an agent archives its log to, and what it tells of that.
//!
//! Never holds a secret: what opens the archive are files beside the data folder.

use super::ReadRate;
use crate::cluster::object_store::{Compression, Encryption, WalCompression};
use jiff::Timestamp;
use pgherd_core::units::{Bytes, Lsn};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Where the log is archived to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveSpec {
    /// The repository, as the manifest names it.
    pub destination: String,
    /// The object store's endpoint, instead of the provider's own.
    pub endpoint: Option<String>,
    /// The folder of this cluster in the repository.
    pub server: String,
    /// Who the agent is there.
    pub identity: ArchiveIdentity,
    /// What opens it: files in the folder `archive`.
    pub files: BTreeSet<ArchiveFile>,
    /// How new files are packed; not at all when absent.
    pub compression: Option<WalCompression>,
    /// What the store encrypts with; the bucket's own setting when absent.
    pub encryption: Option<Encryption>,
    /// How many files are on their way at once.
    pub at_once: u32,
    /// How the log is stored before its segments are finished; not at all when absent.
    #[serde(default)]
    pub stream: Option<StreamSpec>,
    /// How base backups are taken.
    #[serde(default)]
    pub data: DataSpec,
    /// How far back recovery has to be possible, `30d`; backups are kept for ever when absent.
    #[serde(default)]
    pub retention: Option<String>,
}

impl ArchiveSpec {
    /// Whether everything in it is encrypted before it leaves the machine.
    pub fn is_encrypted(&self) -> bool {
        self.files.contains(&ArchiveFile::RepositoryKey)
    }
}

/// How the log is stored before its segments are finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamSpec {
    /// How long something new may wait.
    pub interval_milliseconds: u32,
}

impl Default for StreamSpec {
    fn default() -> Self {
        // With the look that finds something new, and the request that stores it, about a second.
        Self { interval_milliseconds: 900 }
    }
}

/// How base backups are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataSpec {
    /// How they are packed; not at all when absent.
    pub compression: Option<Compression>,
    /// What the store encrypts with; the bucket's own setting when absent.
    pub encryption: Option<Encryption>,
    /// How many parts are written at once.
    pub at_once: u32,
    /// Begin with a fast checkpoint instead of a spread one.
    pub immediate_checkpoint: bool,
    /// How fast they read.
    #[serde(skip_serializing_if = "ReadRate::is_unlimited")]
    pub rate: ReadRate,
}

impl Default for DataSpec {
    fn default() -> Self {
        Self {
            compression: None,
            encryption: None,
            at_once: 2,
            immediate_checkpoint: false,
            rate: ReadRate::Unlimited,
        }
    }
}

/// Who an agent is for the store of its archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArchiveIdentity {
    /// The user it runs as: the archive is a folder.
    User,
    /// Keys of S3.
    S3Keys,
    /// The role of the machine, at Amazon.
    S3Role,
    /// A connection string of Azure.
    AzureConnection,
    /// The key of a storage account of Azure.
    AzureKey,
    /// A shared access signature of Azure.
    AzureSignature,
    /// The identity of the machine, at Azure.
    AzureRole,
    /// The key of a service account at Google.
    GoogleKey,
    /// The identity of the machine, at Google.
    GoogleRole,
}

/// A file that opens an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "each is the field, or the annotation, of the manifest of that name"
)]
pub enum ArchiveFile {
    AccessKeyId,
    SecretAccessKey,
    SessionToken,
    Region,
    ConnectionString,
    StorageAccount,
    StorageKey,
    StorageSasToken,
    ApplicationCredentials,
    EndpointCa,
    RepositoryKey,
}

impl ArchiveFile {
    /// All there can be.
    pub const ALL: [Self; 11] = [
        Self::AccessKeyId,
        Self::SecretAccessKey,
        Self::SessionToken,
        Self::Region,
        Self::ConnectionString,
        Self::StorageAccount,
        Self::StorageKey,
        Self::StorageSasToken,
        Self::ApplicationCredentials,
        Self::EndpointCa,
        Self::RepositoryKey,
    ];

    /// What the manifest calls it.
    pub fn field(self) -> &'static str {
        match self {
            Self::AccessKeyId => "accessKeyId",
            Self::SecretAccessKey => "secretAccessKey",
            Self::SessionToken => "sessionToken",
            Self::Region => "region",
            Self::ConnectionString => "connectionString",
            Self::StorageAccount => "storageAccount",
            Self::StorageKey => "storageKey",
            Self::StorageSasToken => "storageSasToken",
            Self::ApplicationCredentials => "applicationCredentials",
            Self::EndpointCa => "endpointCA",
            Self::RepositoryKey => "the key for encryption",
        }
    }

    /// The file's name in the folder `archive`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessKeyId => "access-key-id",
            Self::SecretAccessKey => "secret-access-key",
            Self::SessionToken => "session-token",
            Self::Region => "region",
            Self::ConnectionString => "connection-string",
            Self::StorageAccount => "storage-account",
            Self::StorageKey => "storage-key",
            Self::StorageSasToken => "storage-sas-token",
            Self::ApplicationCredentials => "application-credentials",
            Self::EndpointCa => "ca.crt",
            Self::RepositoryKey => "repository-key",
        }
    }
}

/// How archiving goes on an instance that archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveStatus {
    /// Where to.
    pub destination: String,
    /// The last file that this agent has stored; none since it was started.
    pub last: Option<Archived>,
    /// How many files PostgreSQL has ready that are not stored.
    pub waiting: u64,
    /// How much they are.
    pub waiting_bytes: Bytes,
    /// Since when the oldest of them waits.
    #[serde(default)]
    pub waiting_since: Option<Timestamp>,
    /// How much may wait before that is an alarm, with what the disk has left.
    #[serde(default)]
    pub waiting_limit: Bytes,
    /// Why somebody has to see to what waits; none while it is not much.
    #[serde(default)]
    pub alarm: Option<String>,
    /// Why it does not go on; none while it does.
    pub failing: Option<ArchiveFailure>,
    /// How far what is not finished is in the store; none unless it is streamed.
    #[serde(default)]
    pub stream: Option<StreamStatus>,
}

impl ArchiveStatus {
    /// What somebody has to see to, the worst first.
    pub fn complaints(&self) -> Vec<String> {
        let why = |failing: &Option<ArchiveFailure>| failing.as_ref().map(|it| it.why.clone());
        let archived = why(&self.failing);
        // A store that is away is told once.
        let streamed = self.stream.as_ref().filter(|_| archived.is_none());
        let streamed = streamed.and_then(|stream| why(&stream.failing));
        let archived = archived.map(|why| format!("the log is not archived: {why}"));
        let streamed = streamed.map(|why| format!("the log is not streamed: {why}"));
        archived.into_iter().chain(self.alarm.clone()).chain(streamed).collect()
    }
}

/// How far the log is in the store, finished or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamStatus {
    /// Nothing before is missing there.
    pub stored: Lsn,
    /// How much PostgreSQL has flushed since.
    pub lag_bytes: Bytes,
    /// For how long the oldest of that is missing.
    pub lag_milliseconds: u64,
    /// How many pieces this agent has stored.
    pub pieces: u64,
    /// How long the last of them took.
    pub took_milliseconds: Option<u64>,
    /// Why it does not go on; none while it does.
    pub failing: Option<ArchiveFailure>,
}

/// A file of the log that is durable in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Archived {
    /// Its name.
    pub file: String,
    /// Since when it is there.
    pub at: Timestamp,
}

/// What keeps the archive from going on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveFailure {
    /// Since when.
    pub since: Timestamp,
    /// Why, and what to do about it.
    pub why: String,
}
