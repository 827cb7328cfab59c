//! Roles and services that are kept as they are written here. Never holds a password.

use super::defaults::{int64, yes};
use super::references::{LocalObjectReference, NamedMetadata};
use k8s_openapi::api::core::v1::ServiceSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Roles and services that are kept as they are written here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Managed {
    /// Roles of PostgreSQL.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Services of Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Services>,
}

/// A role of PostgreSQL; attributes that drift are set back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// The role's name.
    pub name: String,
    /// Whether the role shall exist. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// The role's description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// A Secret with `username` and `password`. The password is left alone when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<LocalObjectReference>,
    /// Set the password to NULL. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_password: Option<bool>,
    /// May log in. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<bool>,
    /// Is superuser. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superuser: Option<bool>,
    /// May create databases. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub createdb: Option<bool>,
    /// May create roles. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub createrole: Option<bool>,
    /// Has the privileges of the roles it is a member of. Default: true.
    #[serde(default = "yes")]
    pub inherit: bool,
    /// May replicate. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication: Option<bool>,
    /// Is not bound by row-level security. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bypassrls: Option<bool>,
    /// How many connections it may have; -1 for no limit. Default: -1.
    #[serde(default = "int64::<-1>")]
    pub connection_limit: i64,
    /// Until when the password is valid; for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Time>,
    /// The roles it is a member of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_roles: Vec<String>,
}

/// Whether a role shall exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Ensure {
    /// It is made and kept.
    #[default]
    #[serde(rename = "present")]
    Present,
    /// It is dropped.
    #[serde(rename = "absent")]
    Absent,
}

/// Services of Kubernetes besides the default ones.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Services {
    /// Default services that are not made: `r` or `ro`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disabled_default_services: Vec<ServiceKind>,
    /// Further services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<AdditionalService>,
}

/// Which instances a service leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceKind {
    /// The primary.
    #[serde(rename = "rw")]
    ReadWrite,
    /// Any instance.
    #[serde(rename = "r")]
    Read,
    /// Standbys.
    #[serde(rename = "ro")]
    ReadOnly,
}

/// A further service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalService {
    /// Which instances it leads to.
    pub selector_type: ServiceKind,
    /// The service itself.
    pub service_template: ServiceTemplate,
    /// How a change of the template reaches the service. Default: `patch`.
    #[serde(default)]
    pub update_strategy: UpdateStrategy,
}

/// How a change of a template reaches a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UpdateStrategy {
    /// The service is changed.
    #[default]
    #[serde(rename = "patch")]
    Patch,
    /// The service is deleted and made anew.
    #[serde(rename = "replace")]
    Replace,
}

/// A service to be made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceTemplate {
    /// Its name, labels and annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<NamedMetadata>,
    /// Its specification; the selector is set for you.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<ServiceSpec>,
}
