//! From which backup the first instance makes its cluster, and where it stops.
//!
//! Never holds a secret: what opens the source's archive are files beside the data folder.

use super::ArchiveSpec;
use jiff::Timestamp;
use pgherd_core::units::{Lsn, Timeline};
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
