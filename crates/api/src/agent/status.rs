//! What an agent tells about itself and its PostgreSQL.
//!
//! Never older than the agent's last turn; `at` says when that was.

use super::{ArchiveStatus, BackupReport, DumpReport, RecoveryReport};
use jiff::Timestamp;
use pgherd_core::backup::taker::{Candidate, Part};
use pgherd_core::message::Known;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::record::{Holder, Record};
use pgherd_core::seen::{Follows, Gate, Obeyed, Sender};
use pgherd_core::units::{Bytes, Epoch, Lsn, SystemId, Timeline, WalPosition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one agent says about itself, its PostgreSQL, and what it knows of its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// This instance, its volume and its incarnation.
    pub me: Holder,
    /// When this was put together.
    pub at: Timestamp,
    /// Since when the agent runs; kept when it re-executes itself in place.
    pub started: Timestamp,
    /// The agent's process.
    pub pid: u32,
    /// The agent's version.
    pub version: String,
    /// The SHA-256 of the agent's program, in hexadecimal, where another one can be given to it; none
    /// as long as it is not known.
    #[serde(default)]
    pub executable: Option<String>,
    /// What its PostgreSQL is.
    pub role: Role,
    /// What it is doing, and why.
    pub verdict: VerdictSeen,
    /// The highest epoch it knows of, and the lowest it still grants to.
    pub known: Known,
    /// The epoch this very incarnation holds office for; none for a standby.
    pub holds: Option<Epoch>,
    /// How long it may go on writing if nobody confirms its office again, in milliseconds; none
    /// while its server needs no deadline.
    pub permission_milliseconds: Option<u64>,
    /// Its PostgreSQL.
    pub server: ServerStatus,
    /// What is being done to the server.
    pub task: Option<RunningTask>,
    /// The last thing that could not be done to the server, until it was done.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The newest record it has read: holder, phase, grantors, members and quorum.
    pub record: Option<Record>,
    /// How long ago the last answered read of the record was sent, in milliseconds.
    pub record_age_milliseconds: Option<u64>,
    /// The number of the specification it acts on; 0 for none.
    pub specification: u64,
    /// The number of the last switchover that was begun.
    pub switchover_done: u64,
    /// The number of the last restart that was begun here.
    pub restart_done: u64,
    /// The configuration the server runs with.
    pub configuration_done: u64,
    /// Which of the user's settings PostgreSQL refused, and why; they are left out.
    #[serde(default)]
    pub refused_settings: Vec<String>,
    /// Which settings its PostgreSQL takes up only when it is restarted.
    #[serde(default)]
    pub pending_restart: Vec<String>,
    /// Which configuration those are of; none as long as nobody has looked.
    #[serde(default)]
    pub pending_restart_of: Option<u64>,
    /// Whether its PostgreSQL has the passwords and slots that its present role asks for; none
    /// unless it runs.
    #[serde(default)]
    pub kept_up: Option<bool>,
    /// How archiving goes; none unless this is the primary of a cluster that archives.
    #[serde(default)]
    pub archive: Option<ArchiveStatus>,
    /// The base backup that it takes, or took last.
    #[serde(default)]
    pub backup: Option<BackupReport>,
    /// What it dumps or restores from a dump, or did last.
    #[serde(default)]
    pub dump: Option<Box<DumpReport>>,
    /// How the cluster comes, or came, out of a backup; on the instance that made it.
    #[serde(default)]
    pub recovery: Option<RecoveryReport>,
    /// The last changes of verdict, oldest first.
    pub happenings: Vec<Happening>,
}

impl Status {
    /// What the choice of who takes a base backup is made from.
    pub fn candidate(&self) -> Candidate {
        let part = match self.role {
            Role::Primary if self.holds.is_some() => Part::Primary,
            Role::Standby if self.server.streaming == Some(true) => Part::Streams,
            Role::Primary
            | Role::Standby
            | Role::Starting
            | Role::Stopped
            | Role::Absent
            | Role::Unknown => Part::Other,
        };
        let position = self.server.position.map(|position| position.lsn);
        Candidate { name: self.me.instance.clone(), part, position }
    }
}

/// What an instance's PostgreSQL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Open for writing.
    Primary,
    /// In recovery.
    Standby,
    /// Has processes, and does not answer yet.
    Starting,
    /// Has a data folder and no process.
    Stopped,
    /// Has no data folder.
    Absent,
    /// Has not been looked at yet.
    Unknown,
}

/// What an agent is doing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictSeen {
    /// `serving`, `opening`, `following`, `claiming`, `rejoining`, `leaving`, `fencing` or
    /// `waiting`.
    pub state: String,
    /// The reason in words.
    pub reason: String,
    /// The reason as a value, for programs; its form may grow.
    pub because: serde_json::Value,
    /// Since when.
    pub since: Timestamp,
}

/// One change of verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// The new state; see [`VerdictSeen::state`].
    pub state: String,
    /// The reason in words.
    pub reason: String,
    /// The epoch it is about, when it is about one.
    pub epoch: Option<Epoch>,
}

/// One PostgreSQL as its agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerStatus {
    /// The version of the programs that run it.
    pub version: Option<String>,
    /// The postmaster's process.
    pub pid: Option<u32>,
    /// The port clients reach it at, when it runs.
    pub port: Option<u16>,
    /// PostgreSQL's system identifier.
    pub system_id: Option<SystemId>,
    /// The timeline its log is on.
    pub timeline: Option<Timeline>,
    /// Where its log ends.
    pub position: Option<WalPosition>,
    /// How far a standby has replayed.
    pub replayed: Option<Lsn>,
    /// How far a standby is behind what the primary last told.
    pub lag: Option<Bytes>,
    /// Whom a standby is set to receive from.
    pub follows: Option<Follows>,
    /// A standby's receiver is connected.
    pub streaming: Option<bool>,
    /// Whether a primary lets clients in.
    pub gate: Option<Gate>,
    /// The rule for commits that every process of a primary obeys.
    pub obeys: Option<Obeyed>,
    /// A primary's standbys.
    pub senders: BTreeMap<InstanceName, Sender>,
    /// How a stopped server ended.
    pub stopped: Option<StoppedAt>,
    /// Probes in a row that were not answered.
    pub misses: u32,
    /// The log cannot grow because the disk is full.
    pub disk_full: bool,
    /// The volumes on which next to nothing is left.
    pub full_volumes: Vec<FullVolume>,
}

/// A volume on which next to nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FullVolume {
    /// What lies on it.
    pub holds: VolumeHolds,
    /// What fits on it, without what is reserved for root.
    pub size: Bytes,
    /// What is left of that.
    pub left: Bytes,
}

/// What lies on a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeHolds {
    /// The data, and the log where that has no volume of its own.
    Data,
    /// The log alone.
    Log,
}

impl FullVolume {
    /// How much of it is used, in percent.
    pub fn percent(&self) -> u64 {
        let used = self.size.0.saturating_sub(self.left.0);
        let percent = (u128::from(used) * 100).checked_div(u128::from(self.size.0));
        percent.and_then(|percent| u64::try_from(percent).ok()).unwrap_or(100)
    }
}

/// How a stopped server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StoppedAt {
    /// After a shutdown checkpoint as a primary.
    Clean,
    /// In recovery, as a standby.
    CleanStandby,
    /// It died.
    Crashed,
}

/// What could not be done to the server. It is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The task in words.
    pub name: String,
    /// How often in a row it has failed.
    pub times: u32,
    /// Why, and what to do about it.
    pub why: String,
}

/// What is being done to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningTask {
    /// The task in words.
    pub name: String,
    /// The task with all it was given; its form may grow.
    pub task: serde_json::Value,
    /// For how long it has been running, in milliseconds.
    pub running_milliseconds: u64,
}
