//! Volumes: data, WAL, tablespaces and scratch space. Never decides when a volume grows.

use k8s_openapi::api::core::v1::PersistentVolumeClaimSpec;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One volume of every instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Storage {
    /// How large the volume is, as a quantity such as `10Gi`. It can grow later, never shrink.
    /// Required unless `pvcTemplate` asks for a size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The storage class to use; the platform's default class when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// Grow existing volumes when `size` grows. Default: true.
    pub resize_in_use_volumes: bool,
    /// A template for the volume claim; `size` and `storageClass` win over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pvc_template: Option<PersistentVolumeClaimSpec>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: None, storage_class: None, resize_in_use_volumes: true, pvc_template: None }
    }
}

/// A tablespace, on a volume of its own in every instance. It cannot be removed later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tablespace {
    /// The tablespace's name in PostgreSQL.
    pub name: String,
    /// The tablespace's volume.
    pub storage: Storage,
    /// Who owns the tablespace; the superuser when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<TablespaceOwner>,
    /// Use it for temporary tables and files (`temp_tablespaces`). Default: false.
    #[serde(default)]
    pub temporary: bool,
}

/// The role that owns a tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct TablespaceOwner {
    /// The role's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Limits for the scratch space of every instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct EphemeralVolumesSizeLimit {
    /// Limit of shared memory (`/dev/shm`), as a quantity such as `1Gi`. No limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm: Option<Quantity>,
    /// Limit of temporary files, as a quantity such as `1Gi`. No limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temporary_data: Option<Quantity>,
}
