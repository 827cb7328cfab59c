//! What is in a database: schemas, extensions, foreign data wrappers and servers.
//!
//! Never runs SQL.

use crate::cluster::managed::Ensure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaSpec {
    /// The schema's name.
    pub name: String,
    /// Whether it shall exist. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// The role that owns it; the database's owner when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionSpec {
    /// The extension's name.
    pub name: String,
    /// Whether it shall exist. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// Its version; the newest that is installed when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The schema its objects lie in; chosen by PostgreSQL when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
}

/// A foreign data wrapper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForeignDataWrapper {
    /// The wrapper's name.
    pub name: String,
    /// Whether it shall exist. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// The function that reads and writes; `-` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<String>,
    /// The function that checks options; `-` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
    /// The role that owns it, a superuser; `postgres` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<ForeignOption>,
    /// Who may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
}

/// A foreign server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForeignServer {
    /// The server's name.
    pub name: String,
    /// The foreign data wrapper that reaches it.
    pub fdw: String,
    /// Whether it shall exist. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// Its options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<ForeignOption>,
    /// Who may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usage: Vec<Usage>,
}

/// An option of a foreign data wrapper or server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ForeignOption {
    /// The option's name.
    pub name: String,
    /// The option's value.
    pub value: String,
    /// Whether the option shall be set. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
}

/// Who may use something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The role's name.
    pub name: String,
    /// Whether the role may. Default: `grant`.
    #[serde(default)]
    pub type_: UsageType,
}

/// Whether a role may use something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum UsageType {
    /// It may.
    #[default]
    #[serde(rename = "grant")]
    Grant,
    /// It may not.
    #[serde(rename = "revoke")]
    Revoke,
}

/// What was applied of one object in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// The object's name.
    pub name: String,
    /// Whether it is as the specification says.
    pub applied: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
