//! Servers and archives outside the cluster. Never holds a password, only where it is kept.

use super::backup::Plugin;
use super::object_store::BarmanObjectStore;
use k8s_openapi::api::core::v1::SecretKeySelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A server or an archive outside the cluster, to start from or to follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalCluster {
    /// The name that other fields use; by default also the name of the server in the archive.
    pub name: String,
    /// Connection parameters of libpq: `host`, `port`, `user`, `dbname`, `sslmode` and so on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connection_parameters: BTreeMap<String, String>,
    /// The password of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretKeySelector>,
    /// The client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_cert: Option<SecretKeySelector>,
    /// The client certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_key: Option<SecretKeySelector>,
    /// The certificate authority of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_root_cert: Option<SecretKeySelector>,
    /// The archive in an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barman_object_store: Option<BarmanObjectStore>,
    /// The plugin that reads the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Plugin>,
}
