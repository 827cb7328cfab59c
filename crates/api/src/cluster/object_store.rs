//! Where an archive lies in an object store, and how it is written. Never talks to one.

use super::references::SecretKeySelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// An archive of backups and WAL in an object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BarmanObjectStore {
    /// Where the archive lies, for example `s3://bucket/path`.
    #[schemars(length(min = 1))]
    pub destination_path: String,
    /// The folder of this server in the archive. Default: the cluster's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// The object store's endpoint, instead of the provider's own.
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
    /// How base backups are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataTransfer>,
    /// How WAL is written and read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wal: Option<WalTransfer>,
    /// Tags for every object that is written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Tags for timeline history files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub history_tags: BTreeMap<String, String>,
}

/// Credentials for S3 and compatible stores.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct S3Credentials {
    /// The access key's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<SecretKeySelector>,
    /// The access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretKeySelector>,
    /// The session token that belongs to the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretKeySelector>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<SecretKeySelector>,
    /// Use the role of the pod's service account. Default: false.
    #[serde(rename = "inheritFromIAMRole", skip_serializing_if = "Option::is_none")]
    pub inherit_from_iam_role: Option<bool>,
}

/// Credentials for Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct AzureCredentials {
    /// The connection string.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_string: Option<SecretKeySelector>,
    /// The storage account's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_account: Option<SecretKeySelector>,
    /// The storage account's key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_key: Option<SecretKeySelector>,
    /// A shared access signature instead of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_sas_token: Option<SecretKeySelector>,
    /// Use the managed identity of the pod. Default: false.
    #[serde(rename = "inheritFromAzureAD", skip_serializing_if = "Option::is_none")]
    pub inherit_from_azure_ad: Option<bool>,
    /// Use the default chain of credentials. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_azure_credentials: Option<bool>,
}

/// Credentials for Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct GoogleCredentials {
    /// A service account's key as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_credentials: Option<SecretKeySelector>,
    /// Use the identity of the GKE workload. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gke_environment: Option<bool>,
}

/// How base backups are written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DataTransfer {
    /// The compression; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Encryption by the store; the bucket's own setting when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How many parts are uploaded at once. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub jobs: Option<i32>,
    /// Start with a fast checkpoint instead of waiting for a spread one. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immediate_checkpoint: Option<bool>,
    /// Further arguments for the backup command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_command_args: Vec<String>,
    /// Further arguments for the restore command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restore_additional_command_args: Vec<String>,
}

/// How WAL is written and read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct WalTransfer {
    /// The compression; none when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<WalCompression>,
    /// Encryption by the store; the bucket's own setting when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How many files are sent or fetched at once. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_parallel: Option<i64>,
    /// Further arguments for the archive command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub archive_additional_command_args: Vec<String>,
    /// Further arguments for the restore command.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restore_additional_command_args: Vec<String>,
}

/// How base backups are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compression {
    /// Slow and small.
    #[serde(rename = "bzip2")]
    Bzip2,
    /// Understood everywhere.
    #[serde(rename = "gzip")]
    Gzip,
    /// Very fast.
    #[serde(rename = "lz4")]
    Lz4,
    /// Very fast.
    #[serde(rename = "snappy")]
    Snappy,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        })
    }
}

/// How WAL is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WalCompression {
    /// Slow and small.
    #[serde(rename = "bzip2")]
    Bzip2,
    /// Understood everywhere.
    #[serde(rename = "gzip")]
    Gzip,
    /// Very fast.
    #[serde(rename = "lz4")]
    Lz4,
    /// Very fast.
    #[serde(rename = "snappy")]
    Snappy,
    /// Very slow and very small.
    #[serde(rename = "xz")]
    Xz,
    /// Fast and small.
    #[serde(rename = "zstd")]
    Zstd,
}

/// Encryption by the object store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encryption {
    /// With keys of the store.
    #[serde(rename = "AES256")]
    Aes256,
    /// With keys of the key management service.
    #[serde(rename = "aws:kms")]
    AwsKms,
}
