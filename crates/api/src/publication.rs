//! The `Publication` manifest: what of a database others can subscribe to.
//!
//! Never runs SQL.

use crate::database::ReclaimPolicy;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A publication for logical replication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Publication {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `Publication`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: PublicationSpec,
    /// What was applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PublicationStatus>,
}

kind!(Publication, "publications", NamespaceResourceScope);

impl Kind for Publication {
    const SINGULAR: &'static str = "publication";
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

/// What a publication shall hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicationSpec {
    /// The cluster that publishes, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// The database that publishes. It cannot be changed.
    pub dbname: String,
    /// The publication's name in PostgreSQL. It cannot be changed.
    pub name: String,
    /// What is published: all tables, or some.
    pub target: PublicationTarget,
    /// Options such as `publish: "insert, update"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What happens to the publication when this object is deleted. Default: `retain`.
    #[serde(default)]
    pub publication_reclaim_policy: ReclaimPolicy,
}

/// What is published: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PublicationTarget {
    /// All tables of the database, also future ones. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_tables: Option<bool>,
    /// Some tables and schemas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100_000))]
    pub objects: Vec<PublicationObject>,
}

/// Something to publish: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PublicationObject {
    /// A table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<PublicationTable>,
    /// The schema all of whose tables are published, also future ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tables_in_schema: Option<String>,
}

/// A table to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicationTable {
    /// The table's name.
    pub name: String,
    /// The table's schema; found on the search path when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Leave out the tables that inherit from it. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<bool>,
    /// The columns to publish; all when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// What was applied to PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PublicationStatus {
    /// Whether PostgreSQL is as the specification says; absent before the first try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<bool>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the specification that was applied last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "publication-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "publication-database-stays",
        at: "spec.dbname",
        rule: "self == oldSelf",
        message: "dbname cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "publication-name-stays",
        at: "spec.name",
        rule: "self == oldSelf",
        message: "name cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "publication-all-tables-or-some",
        at: "spec.target",
        rule: "(has(self.allTables) && !has(self.objects)) || (!has(self.allTables) && has(self.objects))",
        message: "target is either all tables or some: keep one of allTables and objects",
        source: Source::Published,
    },
    Rule {
        name: "publication-all-tables-stays",
        at: "spec.target.allTables",
        rule: "self == oldSelf",
        message: "allTables cannot be changed: make a new Publication",
        source: Source::Published,
    },
    Rule {
        name: "publication-columns-or-schemas",
        at: "spec.target.objects",
        rule: "!(self.exists(o, has(o.table) && has(o.table.columns)) && self.exists(o, has(o.tablesInSchema)))",
        message: "a publication of whole schemas cannot leave out columns: remove columns or tablesInSchema",
        source: Source::Published,
    },
    Rule {
        name: "publication-table-or-schema",
        at: "spec.target.objects[]",
        rule: "(has(self.tablesInSchema) && !has(self.table)) || (!has(self.tablesInSchema) && has(self.table))",
        message: "an object is either a table or a schema: keep one of table and tablesInSchema",
        source: Source::Published,
    },
];
