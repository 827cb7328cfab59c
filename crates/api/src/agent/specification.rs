//! What an agent is told: the wanted state of its cluster and of its PostgreSQL.
//!
//! Never holds a secret: passwords are files beside the data folder.

use super::{ArchiveSpec, ImportSpec, MetricsSpec, RecoverySpec};
use pgherd_core::intent::Intent;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything an agent is told. A higher number replaces a lower one as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Specification {
    /// Grows with every change.
    pub number: u64,
    /// What the user wants of the cluster.
    pub intent: Intent,
    /// How its PostgreSQL servers are created and configured.
    pub postgres: PostgresSpec,
    /// How its agents serve metrics.
    #[serde(default)]
    pub metrics: MetricsSpec,
}

/// Asks for a specification newer than the one the asker has; the answer may wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecificationAfter {
    /// The number the asker has; 0 for none.
    pub after: u64,
    /// How long the answer may wait for a newer one, in milliseconds; at most 10000.
    pub wait_milliseconds: u64,
}

/// How the PostgreSQL servers of a cluster are created and configured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostgresSpec {
    /// The user's settings (`postgresql.conf`), by name. Those that are pgherd's own are refused
    /// before they come here.
    pub parameters: BTreeMap<String, String>,
    /// The user's lines of `pg_hba.conf`, in order. pgherd's own lines come before them, and a
    /// line that lets applications in with a password over TLS after them.
    pub hba: Vec<String>,
    /// The user's lines of `pg_ident.conf`, in order.
    pub ident: Vec<String>,
    /// How the first instance creates the cluster.
    pub initdb: InitDb,
    /// The server outside the cluster that the first instance copies instead. Of `initdb`, only
    /// the names of database and owner count then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<ExternalServer>,
    /// The backup that the first instance restores instead. Of `initdb`, only the names of database
    /// and owner count then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoverySpec>,
    /// What the first instance brings into the new cluster from a server outside of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Box<ImportSpec>>,
    /// Whether `postgres` may log in with a password.
    pub superuser: Superuser,
    /// Where the log is archived to; nowhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveSpec>,
}

/// A server outside the cluster, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalServer {
    /// Its name in the manifest.
    pub name: String,
    /// Parameters of libpq, without secrets.
    pub parameters: BTreeMap<String, String>,
    /// What is needed beside them: files in the folder `external`.
    pub files: BTreeSet<ExternalFile>,
}

/// A file that opens a server outside the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExternalFile {
    /// The password, without a line end.
    Password,
    /// The client's certificate.
    Certificate,
    /// Its private key.
    Key,
    /// The authority that signed the server's certificate.
    Authority,
}

impl ExternalFile {
    /// All there can be.
    pub const ALL: [Self; 4] = [Self::Password, Self::Certificate, Self::Key, Self::Authority];

    /// The file's name in the folder `external`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Certificate => "tls.crt",
            Self::Key => "tls.key",
            Self::Authority => "ca.crt",
        }
    }
}

/// Whether the superuser may log in over the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Superuser {
    /// Only the agent may, over the socket in its private folder.
    #[default]
    Refused,
    /// With the password in the file `secrets/superuser`.
    Allowed,
}

/// How the first instance creates the cluster; of no effect once it exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InitDb {
    /// The database for applications (default `app`).
    pub database: String,
    /// The role that owns it (default `app`); its password is in the file `secrets/app`.
    pub owner: String,
    /// The encoding of new databases (default `UTF8`).
    pub encoding: String,
    /// The locale of everything that is not said otherwise (default `C`).
    pub locale: Option<String>,
    /// The collation of new databases.
    pub locale_collate: Option<String>,
    /// The character classes of new databases.
    pub locale_ctype: Option<String>,
    /// `libc`, `icu` or `builtin`: whose collations new databases use.
    pub locale_provider: Option<String>,
    /// The locale of the ICU provider.
    pub icu_locale: Option<String>,
    /// Collation rules that are added to the ICU locale.
    pub icu_rules: Option<String>,
    /// The locale of the builtin provider.
    pub builtin_locale: Option<String>,
    /// The size of one segment of the log, in MiB: a power of two from 1 to 1024 (default 16).
    pub wal_segment_size_mib: Option<u32>,
    /// Further arguments of `initdb`, as they are.
    pub options: Vec<String>,
    /// Statements for the database `postgres`, run once as the superuser.
    pub post_init_sql: Vec<String>,
    /// Statements for `template1`, run once as the superuser.
    pub post_init_template_sql: Vec<String>,
    /// Statements for the applications' database, run once as the superuser.
    pub post_init_application_sql: Vec<String>,
    /// Statements that are kept elsewhere, run in this order after those of the same database above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statement_files: Vec<StatementFile>,
}

/// Statements in a file of the folder `statements`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatementFile {
    /// Where they are run.
    pub database: InitialDatabase,
    /// The file's name.
    pub file: String,
    /// Where they come from, for messages: `key a of Secret b`.
    pub origin: String,
}

/// A database that exists when a cluster has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InitialDatabase {
    /// `postgres`.
    Postgres,
    /// `template1`.
    Template,
    /// The applications'.
    Application,
}

impl Default for InitDb {
    fn default() -> Self {
        Self {
            database: "app".to_owned(),
            owner: "app".to_owned(),
            encoding: "UTF8".to_owned(),
            locale: None,
            locale_collate: None,
            locale_ctype: None,
            locale_provider: None,
            icu_locale: None,
            icu_rules: None,
            builtin_locale: None,
            wal_segment_size_mib: None,
            options: Vec::new(),
            post_init_sql: Vec::new(),
            post_init_template_sql: Vec::new(),
            post_init_application_sql: Vec::new(),
            statement_files: Vec::new(),
        }
    }
}
