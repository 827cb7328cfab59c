//! What an agent is asked for a logical dump, and what it tells of one, or of a restore from one.
//!
//! Never an order that counts twice: it has the name that its asker gave it, and to ask for the same
//! name again is to ask how it is.

use super::asked_by::AskedBy;
use jiff::Timestamp;
use pgherd_core::backup::course::{Before, Heard, Nature};
use pgherd_core::names::InstanceName;
use pgherd_core::units::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Asks an agent to dump databases into its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpOrder {
    /// The asker's own name for it, also shown to people: letters, digits, `.`, `-` and `_`.
    pub name: String,
    /// The databases; all but templates when empty.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Only these tables of the one database, as patterns of `pg_dump`.
    #[serde(default)]
    pub tables: Vec<String>,
    /// How each database is stored.
    pub format: DumpFormat,
    /// How many tables are dumped at once; more than one only with the directory format.
    pub jobs: u32,
    /// As `pg_dump --compress` takes it; its own default when absent.
    #[serde(default)]
    pub compress: Option<String>,
    /// Whether the passwords of roles are in it, as verifiers.
    #[serde(default)]
    pub passwords: DumpPasswords,
    /// For how long a snapshot may be held, in seconds.
    pub snapshot_limit_seconds: u64,
    /// Which dumps are kept afterwards, `30d` or `7`; what the archive's policy says when absent.
    #[serde(default)]
    pub retention: Option<String>,
    /// The object that asks for it; none when a person does, by a command.
    #[serde(default)]
    pub asked_by: Option<AskedBy>,
}

/// How `pg_dump` stores a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DumpFormat {
    /// One file, which is stored while it is written.
    #[default]
    Custom,
    /// A file for each table, which can be written and read in parallel.
    Directory,
}

/// Whether passwords of roles are dumped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DumpPasswords {
    /// As verifiers.
    #[default]
    Kept,
    /// Roles have no password.
    LeftOut,
}

/// Asks the primary's agent to restore a database from a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpRestoreOrder {
    /// The asker's own name for it.
    pub name: String,
    /// The dump's id or name, or `latest`.
    pub dump: String,
    /// Another cluster's name in the same archive, if it is that one's dump.
    #[serde(default)]
    pub server: Option<String>,
    /// The database in the dump; may be absent when there is only one.
    #[serde(default)]
    pub database: Option<String>,
    /// The database it goes into.
    pub into: String,
    /// What is known of that database, or to be done with it.
    pub target: DumpTarget,
    /// Only these tables, as `TABLE` or `SCHEMA.TABLE`.
    #[serde(default)]
    pub tables: Vec<String>,
    /// How many tables are restored at once.
    pub jobs: u32,
    /// To whom objects belong.
    #[serde(default)]
    pub owners: DumpOwners,
    /// What is done about roles that are missing here.
    #[serde(default)]
    pub roles: DumpRoles,
}

/// The database that a dump is restored into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpTarget {
    /// It is there, and has nothing of what is restored.
    Present,
    /// It is there, and what is restored replaces what it has of that.
    Cleaned,
    /// It is made for this.
    Created,
}

/// To whom restored objects belong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpOwners {
    /// As in the dump, with all that was granted.
    #[default]
    Kept,
    /// To the owner of the database; what was granted is left out.
    LeftOut,
}

/// What is done about roles that are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpRoles {
    /// The restore is refused.
    #[default]
    Needed,
    /// They are made as the dump says. Those that are there stay as they are.
    Created,
}

/// Asks for what an agent dumps or restores, or cancels it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpNamed {
    /// The name it was ordered under; the last one when absent.
    #[serde(default)]
    pub name: Option<String>,
}

/// A dump, or a restore from one, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpReport {
    /// The name it was ordered under.
    pub name: String,
    /// The object that asked for it; none when a person did, by a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<AskedBy>,
    /// What is done.
    pub work: DumpWork,
    /// The dump's id in the archive, once it has one: when it began, in UTC.
    pub id: Option<String>,
    /// The instance that works.
    pub instance: InstanceName,
    /// How far it is.
    pub phase: DumpPhase,
    /// Since when that is so.
    pub since: Timestamp,
    /// When it was ordered.
    pub ordered: Timestamp,
    /// When it came to its end, whatever that was.
    pub ended: Option<Timestamp>,
    /// The database it is at.
    pub database: Option<String>,
    /// How many databases are done, and how many there are.
    pub databases_done: u32,
    /// How many databases there are.
    pub databases: u32,
    /// Bytes that went to the archive or came from it, packed.
    pub moved: Bytes,
    /// How many bytes that will be, where it is known.
    pub total: Option<Bytes>,
    /// For how long the present snapshot is held, in seconds.
    pub snapshot_seconds: u64,
    /// How many transactions have begun since.
    pub snapshot_transactions: u64,
    /// Why it failed or what cancelled it, and what to do about it.
    pub failure: Option<String>,
    /// Whether what it failed at may have passed soon: a store that did not answer, or a server that
    /// was stopped.
    #[serde(default)]
    pub passing: bool,
    /// What is stored; there once it is listed in the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<DumpTaken>,
    /// What is wrong although it is completed.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl DumpReport {
    /// What its asker does next is decided from this.
    pub fn heard(&self) -> Heard<'_> {
        match self.phase {
            DumpPhase::Starting | DumpPhase::Globals | DumpPhase::Copy | DumpPhase::Analyze => {
                Heard::Goes
            }
            DumpPhase::Completed => Heard::Completed,
            DumpPhase::Cancelled => Heard::Cancelled,
            // What pg_dump failed at it would fail at again, and hold a snapshot for as long.
            DumpPhase::Failed => Heard::Failed {
                why: self.failure.as_deref().unwrap_or("its agent does not say why"),
                at: Before::Begin,
                nature: if self.passing { Nature::Passing } else { Nature::Lasting },
            },
        }
    }
}

/// A dump that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpTaken {
    /// The databases that are in it.
    pub databases: Vec<String>,
    /// What they took in the server.
    pub bytes: Bytes,
    /// What is stored.
    pub stored: Bytes,
}

/// What is done with a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpWork {
    /// It is taken.
    Dump,
    /// A database is restored from it.
    Restore,
}

/// How far a dump or a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpPhase {
    /// The archive is opened, and all is looked at that could be in the way.
    Starting,
    /// Roles and tablespaces are dumped.
    Globals,
    /// A database is dumped or restored.
    Copy,
    /// It is restored, and statistics of its tables are gathered.
    Analyze,
    /// It is listed, or restored.
    Completed,
    /// Nothing is kept of it.
    Failed,
    /// Nothing is kept of it, because somebody did not want it any more.
    Cancelled,
}

impl DumpPhase {
    /// Whether nothing more will become of it.
    pub fn is_over(self) -> bool {
        match self {
            Self::Starting | Self::Globals | Self::Copy | Self::Analyze => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }
}
