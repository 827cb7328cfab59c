//! What PostgreSQL itself is told: parameters, access rules, libraries, LDAP, extensions.
//!
//! Never holds what the cluster decides about replication; see `synchronous`.

use super::synchronous::{SyncReplicaElectionConstraint, Synchronous};
use k8s_openapi::api::core::v1::SecretKeySelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The configuration of PostgreSQL, the same on every instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Postgresql {
    /// Entries for `postgresql.conf`, all written as strings: `max_connections: "200"`. Parameters
    /// that the cluster sets itself are refused with a reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Lines for `pg_hba.conf`. They come after the cluster's own rules and before its last one,
    /// which lets every user in from everywhere with a SCRAM password.
    #[serde(rename = "pg_hba", skip_serializing_if = "Vec::is_empty")]
    pub pg_hba: Vec<String>,
    /// Lines for `pg_ident.conf`.
    #[serde(rename = "pg_ident", skip_serializing_if = "Vec::is_empty")]
    pub pg_ident: Vec<String>,
    /// Libraries to load when PostgreSQL starts. `pg_stat_statements`, `auto_explain`, `pgaudit`
    /// and `pg_failover_slots` are added on their own when one of their parameters is set.
    #[serde(rename = "shared_preload_libraries", skip_serializing_if = "Vec::is_empty")]
    pub shared_preload_libraries: Vec<String>,
    /// Allow `ALTER SYSTEM` (PostgreSQL 17 and newer). What it changes is not replicated. Default:
    /// false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_alter_system: Option<bool>,
    /// How long a promotion may take, in seconds; a very long time when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promotion_timeout: Option<i32>,
    /// Make commits wait for standbys. Asynchronous when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synchronous: Option<Synchronous>,
    /// Which standbys may be synchronous, by labels of their nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_replica_election_constraint: Option<SyncReplicaElectionConstraint>,
    /// Authenticate users against an LDAP server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ldap: Option<Ldap>,
    /// Extensions that are mounted from images of their own (PostgreSQL 18 and newer).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub extensions: Vec<Extension>,
}

/// Authentication against an LDAP server; use either `bindAsAuth` or `bindSearchAuth`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Ldap {
    /// The server's host name or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The server's port; that of the scheme when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
    /// `ldap` or `ldaps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<LdapScheme>,
    /// Use StartTLS. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Bind as the user who connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_as_auth: Option<LdapBindAsAuth>,
    /// Search for the user first, then bind as what was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_search_auth: Option<LdapBindSearchAuth>,
}

/// How the LDAP server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LdapScheme {
    /// Plain LDAP, encrypted only with StartTLS.
    #[serde(rename = "ldap")]
    Ldap,
    /// LDAP over TLS.
    #[serde(rename = "ldaps")]
    Ldaps,
}

/// The bound name is prefix, user name and suffix, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LdapBindAsAuth {
    /// Text before the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Text after the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
}

/// How the user's entry is found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LdapBindSearchAuth {
    /// Where the search starts.
    #[serde(rename = "baseDN", skip_serializing_if = "Option::is_none")]
    pub base_dn: Option<String>,
    /// The entry to bind as for the search.
    #[serde(rename = "bindDN", skip_serializing_if = "Option::is_none")]
    pub bind_dn: Option<String>,
    /// The password for `bindDN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_password: Option<SecretKeySelector>,
    /// The attribute that holds the user name; `uid` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_attribute: Option<String>,
    /// A filter instead of `searchAttribute`; `$username` stands for the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_filter: Option<String>,
}

/// An extension that is mounted from an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extension {
    /// The extension's name; it is mounted at `/extensions/NAME`.
    #[schemars(length(min = 1, max = 59), regex(pattern = r"^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$"))]
    pub name: String,
    /// The image to mount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<ExtensionImage>,
    /// Folders in the image for `extension_control_path`. Default: `share`.
    #[serde(rename = "extension_control_path", default, skip_serializing_if = "Vec::is_empty")]
    pub extension_control_path: Vec<String>,
    /// Folders in the image for `dynamic_library_path`. Default: `lib`.
    #[serde(rename = "dynamic_library_path", default, skip_serializing_if = "Vec::is_empty")]
    pub dynamic_library_path: Vec<String>,
    /// Folders in the image for the linker's `LD_LIBRARY_PATH`.
    #[serde(rename = "ld_library_path", default, skip_serializing_if = "Vec::is_empty")]
    pub ld_library_path: Vec<String>,
    /// Folders in the image for `PATH`.
    #[serde(rename = "bin_path", default, skip_serializing_if = "Vec::is_empty")]
    pub bin_path: Vec<String>,
    /// Environment variables that the extension needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<ExtensionVariable>,
}

/// Where an extension's image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ExtensionImage {
    /// The image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<String>,
}

/// An environment variable that an extension needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionVariable {
    /// The variable's name.
    #[schemars(length(min = 1), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub name: String,
    /// The variable's value.
    #[schemars(length(min = 1))]
    pub value: String,
}
