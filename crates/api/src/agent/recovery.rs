//! From which backup the first instance makes its cluster, and where it stops.
//!
//! Never holds a secret: what opens the source's archive are files beside the data folder.

use super::ArchiveSpec;
use jiff::Timestamp;
use pgherd_core::units::{Bytes, Lsn, Timeline};
use serde::{Deserialize, Serialize};

/// The backup that a new cluster begins with, and how far its log is replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoverySpec {
    /// What the source is called in the manifest.
    pub name: String,
    /// Where the source's backups and log lie. What opens it: files in the folder `recovery`.
    pub source: ArchiveSpec,
    /// Where the replay stops.
    pub target: RecoveryTarget,
    /// Whether it stops just before the target instead of just after it.
    #[serde(default)]
    pub exclusive: bool,
    /// The timeline to follow; the newest that leads away from the backup when absent.
    #[serde(default)]
    pub timeline: Option<Timeline>,
    /// The id of the backup to begin with; chosen by the target when absent.
    #[serde(default)]
    pub backup: Option<String>,
}

/// Where the replay of a recovery stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecoveryTarget {
    /// Where the log ends.
    Latest,
    /// As soon as the data is consistent.
    Immediate,
    /// At a moment.
    Time(Timestamp),
    /// At a position.
    Lsn(Lsn),
    /// At the end of a transaction.
    Transaction(u32),
    /// At a restore point.
    Name(String),
}

/// How a cluster came out of a backup, or how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// What the source is called in the manifest.
    pub source: String,
    /// Where it lies.
    pub destination: String,
    /// The folder of the source there.
    pub server: String,
    /// The target in words.
    pub target: String,
    /// How far it is.
    pub phase: RecoveryPhase,
    /// Since when that is so.
    pub since: Timestamp,
    /// When it began.
    pub began: Timestamp,
    /// When it was completed.
    pub ended: Option<Timestamp>,
    /// The backup it begins with, once that is chosen.
    pub backup: Option<String>,
    /// Why it is that one.
    pub because: Option<String>,
    /// Bytes of files that are restored.
    pub done: Bytes,
    /// Bytes of files that there are; 0 as long as that is not known.
    pub total: Bytes,
    /// Bytes of files in a second, once it is known.
    pub rate: Option<Bytes>,
    /// How much longer the restore takes at that rate, in milliseconds.
    pub left_milliseconds: Option<u64>,
    /// The file of the log that PostgreSQL was given last.
    pub log: Option<String>,
    /// How many files of the log it was given.
    pub log_files: u64,
    /// When the last transaction was committed that is there.
    pub last_commit: Option<Timestamp>,
    /// Where the replay ended.
    pub lsn: Option<Lsn>,
    /// The timeline that the cluster begins on.
    pub timeline: Option<Timeline>,
    /// How far the log went when the backup was chosen.
    #[serde(default)]
    pub log_ends: Option<Lsn>,
    /// What was found there, if that was short of the target. It is not tried again before there is
    /// more log.
    #[serde(default)]
    pub fell_short: Option<String>,
}

/// How far a recovery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RecoveryPhase {
    /// The backup is chosen.
    Planning,
    /// Files are restored.
    Restoring,
    /// PostgreSQL replays the log.
    Replaying,
    /// Roles and the application's database are made.
    Opening,
    /// The cluster begins with it.
    Completed,
}
