//! What is told of a dump: the small object that makes it one, readable by people and programs.
//!
//! Never needed to use the files by hand: each database is what `pg_restore` reads.

use super::{DumpFile, Oid};
use jiff::Timestamp;
use pgherd_core::backup::BackupId;
use pgherd_core::dump::Dump;
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use serde::{Deserialize, Serialize};

/// What is written; readers refuse greater ones.
pub const FORMAT: u32 = 1;

/// A dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    pub format: u32,
    /// What people call it.
    pub name: String,
    pub began: Timestamp,
    pub ended: Timestamp,
    /// By which program.
    pub taken_by: String,
    pub from: DumpedFrom,
    /// How each database is stored.
    pub stored_as: DumpedFormat,
    pub jobs: u32,
    /// Only these tables, as patterns of pg_dump.
    pub tables: Vec<String>,
    /// Roles and tablespaces.
    pub globals: DumpedFile,
    pub databases: Vec<DumpedDatabase>,
}

/// Where it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedFrom {
    pub instance: String,
    pub part: DumpedPart,
    pub system: SystemId,
    pub timeline: Timeline,
    /// PostgreSQL's version, such as 150018.
    pub version: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpedPart {
    Primary,
    Standby,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DumpedFormat {
    /// One file for `pg_restore`.
    Custom,
    /// A folder for it.
    Directory,
}

/// One database of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedDatabase {
    pub name: String,
    pub oid: Oid,
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// What it took in the server.
    pub size: Bytes,
    pub snapshot: Snapshot,
    /// Roles that own something in it or have rights there.
    pub roles: Vec<String>,
    /// The custom format's file, or the list of the directory format's files.
    pub file: DumpedFile,
    /// How many files it is, and what they take in the store.
    pub files: u64,
    pub stored: Bytes,
}

/// As of when a database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub at: Timestamp,
    /// All that was committed before this position is in it.
    pub lsn: Lsn,
}

/// A file of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedFile {
    pub name: DumpFile,
    pub bytes: Bytes,
    /// In hexadecimal.
    pub sha256: String,
}

/// What a database in the directory format consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DumpedFiles {
    pub files: Vec<DumpedFile>,
}

impl Description {
    /// What it takes in the store.
    pub fn stored(&self) -> Bytes {
        let databases = self.databases.iter().map(|database| database.stored.0);
        Bytes(self.globals.bytes.0 + databases.sum::<u64>())
    }

    /// What its databases took in the server.
    pub fn size(&self) -> Bytes {
        Bytes(self.databases.iter().map(|database| database.size.0).sum())
    }

    /// As far as decisions need it.
    pub fn dump(&self, id: &BackupId) -> Dump {
        let mut names: Vec<&str> = self.databases.iter().map(|it| it.name.as_str()).collect();
        names.sort_unstable();
        let mut tables = self.tables.clone();
        tables.sort_unstable();
        Dump {
            id: id.clone(),
            began: Moment(self.began.as_microsecond()),
            content: format!("{names:?} {tables:?}"),
        }
    }
}

impl DumpedFiles {
    pub fn bytes(&self) -> Bytes {
        Bytes(self.files.iter().map(|file| file.bytes.0).sum())
    }
}
