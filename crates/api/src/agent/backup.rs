//! What an agent is asked for a base backup, and what it tells of one.
//!
//! Never an order that counts twice: a backup has the name that its asker gave it, and to ask for the
//! same name again is to ask how it is.

use super::asked_by::AskedBy;
use jiff::Timestamp;
use pgherd_core::backup::course::{Before, Heard, Nature};
use pgherd_core::names::InstanceName;
use pgherd_core::units::{Bytes, Lsn, Timeline};
use serde::{Deserialize, Serialize};

/// Asks an agent to take a base backup into its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupOrder {
    /// The asker's own name for it, also shown to people as the backup's name: letters, digits, `.`,
    /// `-` and `_`.
    pub name: String,
    /// Begin with a fast checkpoint instead of a spread one; what the specification says when absent.
    #[serde(default)]
    pub immediate_checkpoint: Option<bool>,
    /// Whether it counts as completed only when all log that it needs is in the archive.
    #[serde(default = "yes")]
    pub wait_for_archive: bool,
    /// Store only what has changed since the last backup, where there is one to build on; all of it
    /// when absent.
    #[serde(default)]
    pub incremental: Option<Incremental>,
    /// The object that asks for it; none when a person does, by a command.
    #[serde(default)]
    pub asked_by: Option<AskedBy>,
    /// How fast it reads; as the specification says when absent.
    #[serde(default)]
    pub rate: Option<ReadRate>,
}

/// How much of its files a backup reads in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReadRate {
    /// As much as it can.
    #[default]
    Unlimited,
    /// So much at most.
    AtMost(Bytes),
}

impl ReadRate {
    /// What nobody asked for is not written: no specification changes because it can be.
    pub(super) fn is_unlimited(&self) -> bool {
        *self == Self::Unlimited
    }
}

/// How backups build on each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incremental {
    /// Every so many backups there is a full one, from 1 to 64. Default: 64.
    #[serde(default)]
    pub full_every: Option<u32>,
}

fn yes() -> bool {
    true
}

/// Asks for one backup of this agent, or cancels it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupNamed {
    /// The name it was ordered under; the last one when absent.
    #[serde(default)]
    pub name: Option<String>,
}

/// A base backup, as far as it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupReport {
    /// The name it was ordered under.
    pub name: String,
    /// The object that asked for it; none when a person did, by a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<AskedBy>,
    /// Its id in the archive, once it has one: when it began, in UTC, `20261122T112233`.
    pub id: Option<String>,
    /// The instance that takes it.
    pub instance: InstanceName,
    /// Where to, as the manifest names it.
    pub destination: String,
    /// The object store's endpoint, where the manifest names one.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The folder of the cluster there.
    pub server: String,
    /// How far it is.
    pub phase: BackupPhase,
    /// Since when that is so.
    pub since: Timestamp,
    /// When it was ordered.
    pub ordered: Timestamp,
    /// When it came to its end, whatever that was.
    pub ended: Option<Timestamp>,
    /// Bytes of files that are copied.
    pub done: Bytes,
    /// Bytes of files that there are.
    pub total: Bytes,
    /// Bytes that went to the archive, packed.
    pub stored: Bytes,
    /// Bytes of files in a second, once it is known.
    pub rate: Option<Bytes>,
    /// How much longer the copy takes at that rate, in milliseconds.
    pub left_milliseconds: Option<u64>,
    /// The file of the log that is waited for.
    pub waits_for: Option<String>,
    /// What PostgreSQL said when it began.
    pub began: Option<BackupBegun>,
    /// What is stored; there once it is listed in the archive.
    pub taken: Option<BackupTaken>,
    /// The id of the backup that it is incremental to; there once it is stored.
    #[serde(default)]
    pub builds_on: Option<String>,
    /// Why it is a full one although an incremental one was asked for.
    #[serde(default)]
    pub full_because: Option<String>,
    /// Why all pages were read for an incremental one, and not only those that the log names.
    #[serde(default)]
    pub all_read_because: Option<String>,
    /// Why it failed or what cancelled it, and what to do about it.
    pub failure: Option<String>,
    /// Whether what it failed at may have passed soon: a store that did not answer.
    #[serde(default)]
    pub passing: bool,
    /// The earliest moment that can be gone back to, as the repository was when it was completed.
    #[serde(default)]
    pub recoverable_since: Option<Timestamp>,
    /// When retention was applied after it; none where no policy is declared, and where that failed.
    #[serde(default)]
    pub retained: Option<Timestamp>,
    /// What is wrong although it is completed: bad pages, files that were left out, log or retention
    /// that did not go on.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl BackupReport {
    /// What its asker does next is decided from this.
    pub fn heard(&self) -> Heard<'_> {
        match self.phase {
            BackupPhase::Starting
            | BackupPhase::Checkpoint
            | BackupPhase::Copy
            | BackupPhase::Wal => Heard::Goes,
            BackupPhase::Completed => Heard::Completed,
            BackupPhase::Cancelled => Heard::Cancelled,
            BackupPhase::Failed => Heard::Failed {
                why: self.failure.as_deref().unwrap_or("its agent does not say why"),
                at: if self.began.is_some() { Before::End } else { Before::Begin },
                nature: if self.passing { Nature::Passing } else { Nature::Lasting },
            },
        }
    }
}

/// How far a base backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackupPhase {
    /// The archive is opened.
    Starting,
    /// PostgreSQL makes the checkpoint that it begins with.
    Checkpoint,
    /// Files are copied.
    Copy,
    /// It is stored, and the log that makes it consistent is waited for.
    Wal,
    /// It is in the archive and listed.
    Completed,
    /// There is no backup.
    Failed,
    /// There is no backup, because somebody did not want it any more.
    Cancelled,
}

impl BackupPhase {
    /// Whether nothing more will become of it.
    pub fn is_over(self) -> bool {
        match self {
            Self::Starting | Self::Checkpoint | Self::Copy | Self::Wal => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Whether it is in the archive, so that nothing that happens to the server can spoil it.
    pub fn is_stored(self) -> bool {
        match self {
            Self::Wal | Self::Completed => true,
            Self::Starting | Self::Checkpoint | Self::Copy | Self::Failed | Self::Cancelled => {
                false
            }
        }
    }
}

/// A base backup that has begun in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupBegun {
    /// When.
    pub at: Timestamp,
    /// The timeline it is on.
    pub timeline: Timeline,
    /// Where in the log recovery begins.
    pub lsn: Lsn,
    /// The file of the log that this is in.
    pub wal: String,
    /// PostgreSQL's version, such as 150018.
    pub version: u32,
}

/// A base backup that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupTaken {
    /// When it ended in PostgreSQL.
    pub at: Timestamp,
    /// How far recovery has to come.
    pub lsn: Lsn,
    /// The last file of the log that is needed for that.
    pub wal: String,
    /// How many files are in it.
    pub files: u64,
    /// How much they are.
    pub bytes: Bytes,
    /// How much its archives are.
    pub stored: Bytes,
    /// How many pages are damaged on disk, and so in the backup.
    pub bad_pages: u64,
}
