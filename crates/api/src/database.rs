//! The `Database` manifest: a database in a cluster, and what is in it.
//!
//! Never runs SQL.

pub mod objects;

use crate::cluster::managed::Ensure;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use objects::{ExtensionSpec, ForeignDataWrapper, ForeignServer, ObjectStatus, SchemaSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A database in a cluster. It is applied whenever this object changes; what is changed by SQL in
/// between stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `Database`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DatabaseSpec,
    /// What was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DatabaseStatus>,
}

kind!(Database, "databases", NamespaceResourceScope);

impl Kind for Database {
    const SINGULAR: &'static str = "database";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("PG Name", "string", ".spec.name"),
        Column::new("Applied", "boolean", ".status.applied"),
        Column::new("Message", "string", ".status.message"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// What a database shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSpec {
    /// The cluster that holds it, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// The database's name in PostgreSQL. It cannot be changed.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// Whether the database shall exist. Default: `present`.
    #[serde(default)]
    pub ensure: Ensure,
    /// What happens to the database when this object is deleted. Default: `retain`.
    #[serde(default)]
    pub database_reclaim_policy: ReclaimPolicy,
    /// The database it is copied from; `template1` when absent. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// The encoding; that of the template when absent. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The locale; sets collation and character types at once. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Who provides collations: `libc`, `icu` or `builtin`. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale_provider: Option<String>,
    /// The collation. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale_collate: Option<String>,
    /// The character types. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale_c_type: Option<String>,
    /// The ICU locale; needs `localeProvider: icu`. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_locale: Option<String>,
    /// More ICU collation rules; needs `localeProvider: icu`. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// The built-in locale; needs `localeProvider: builtin`. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin_locale: Option<String>,
    /// The version of the collation. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
    /// Whether everybody may copy it. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_template: Option<bool>,
    /// Whether anybody may connect to it. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_connections: Option<bool>,
    /// How many connections it may have; -1 for no limit. Default: -1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i64>,
    /// The tablespace it lies in; that of the template when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
    /// Schemas in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<SchemaSpec>,
    /// Extensions in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtensionSpec>,
    /// Foreign data wrappers in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fdws: Vec<ForeignDataWrapper>,
    /// Foreign servers in the database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ForeignServer>,
}

/// What happens in PostgreSQL when an object is deleted in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum ReclaimPolicy {
    /// It is dropped.
    #[serde(rename = "delete")]
    Delete,
    /// It stays.
    #[default]
    #[serde(rename = "retain")]
    Retain,
}

/// What was applied to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DatabaseStatus {
    /// Whether PostgreSQL is as the specification says; absent before the first try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the specification that was applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What was applied of each schema.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<ObjectStatus>,
    /// What was applied of each extension.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ObjectStatus>,
    /// What was applied of each foreign data wrapper.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fdws: Vec<ObjectStatus>,
    /// What was applied of each foreign server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ObjectStatus>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "database-builtin-locale-needs-its-provider",
        at: "spec",
        rule: "!has(self.builtinLocale) || (has(self.localeProvider) && self.localeProvider == 'builtin')",
        message: "builtinLocale needs localeProvider: builtin: add it or remove builtinLocale",
        source: Source::Published,
    },
    Rule {
        name: "database-icu-locale-needs-its-provider",
        at: "spec",
        rule: "!has(self.icuLocale) || (has(self.localeProvider) && self.localeProvider == 'icu')",
        message: "icuLocale needs localeProvider: icu: add it or remove icuLocale",
        source: Source::Published,
    },
    Rule {
        name: "database-icu-rules-need-their-provider",
        at: "spec",
        rule: "!has(self.icuRules) || (has(self.localeProvider) && self.localeProvider == 'icu')",
        message: "icuRules need localeProvider: icu: add it or remove icuRules",
        source: Source::Published,
    },
    Rule {
        name: "database-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-name-stays",
        at: "spec.name",
        rule: "self == oldSelf",
        message: "name cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-template-stays",
        at: "spec.template",
        rule: "self == oldSelf",
        message: "template cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-encoding-stays",
        at: "spec.encoding",
        rule: "self == oldSelf",
        message: "encoding cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-locale-stays",
        at: "spec.locale",
        rule: "self == oldSelf",
        message: "locale cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-locale-provider-stays",
        at: "spec.localeProvider",
        rule: "self == oldSelf",
        message: "localeProvider cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-collation-stays",
        at: "spec.localeCollate",
        rule: "self == oldSelf",
        message: "localeCollate cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-character-types-stay",
        at: "spec.localeCType",
        rule: "self == oldSelf",
        message: "localeCType cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-icu-locale-stays",
        at: "spec.icuLocale",
        rule: "self == oldSelf",
        message: "icuLocale cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-icu-rules-stay",
        at: "spec.icuRules",
        rule: "self == oldSelf",
        message: "icuRules cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-builtin-locale-stays",
        at: "spec.builtinLocale",
        rule: "self == oldSelf",
        message: "builtinLocale cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-collation-version-stays",
        at: "spec.collationVersion",
        rule: "self == oldSelf",
        message: "collationVersion cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "database-is-not-postgres",
        at: "spec.name",
        rule: "self != 'postgres'",
        message: "database postgres belongs to PostgreSQL itself: use another name",
        source: Source::Published,
    },
    Rule {
        name: "database-is-not-template0",
        at: "spec.name",
        rule: "self != 'template0'",
        message: "database template0 belongs to PostgreSQL itself: use another name",
        source: Source::Published,
    },
    Rule {
        name: "database-is-not-template1",
        at: "spec.name",
        rule: "self != 'template1'",
        message: "database template1 belongs to PostgreSQL itself: use another name",
        source: Source::Published,
    },
    Rule {
        name: "database-wrapper-usage-has-a-role",
        at: "spec.fdws[].usage[].name",
        rule: "self != ''",
        message: "name is empty: write the role that may use it",
        source: Source::Published,
    },
    Rule {
        name: "database-server-has-a-wrapper",
        at: "spec.servers[].fdw",
        rule: "self != ''",
        message: "fdw is empty: write the foreign data wrapper that reaches the server",
        source: Source::Published,
    },
    Rule {
        name: "database-server-usage-has-a-role",
        at: "spec.servers[].usage[].name",
        rule: "self != ''",
        message: "name is empty: write the role that may use it",
        source: Source::Published,
    },
];
