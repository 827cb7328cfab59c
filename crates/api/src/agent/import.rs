//! What the first instance brings into a new cluster with `pg_dump` from a server outside of it.

use super::ExternalServer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The server whose databases a new cluster begins with, and which of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportSpec {
    /// Where from. What opens it: files in the folder `external`.
    pub server: ExternalServer,
    /// What is brought.
    pub what: ImportWhat,
    /// Definitions only, without rows.
    pub schema_only: bool,
    /// Further arguments of `pg_dump`.
    pub dump_options: Vec<String>,
    /// Further arguments of each `pg_restore`.
    pub restore_options: Vec<String>,
    /// Further arguments of the definitions' `pg_restore`.
    pub predata_options: Vec<String>,
    /// Further arguments of the rows' `pg_restore`.
    pub data_options: Vec<String>,
    /// Further arguments of the indexes' and constraints' `pg_restore`.
    pub postdata_options: Vec<String>,
}

/// What is imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ImportWhat {
    /// One database, into the applications' database; all in it belongs to its owner.
    Database {
        /// Its name there.
        name: String,
        /// Statements for the applications' database, run afterwards as the superuser.
        statements: Vec<String>,
    },
    /// Databases under their own names, with their owners.
    Server {
        /// Which databases.
        databases: ImportChoice,
        /// Which roles.
        roles: ImportChoice,
    },
}

/// Which of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImportChoice {
    /// All but those that every server has.
    All,
    /// These.
    Named(BTreeSet<String>),
}
