//! A plan: the steps one instance takes next, and why it takes these or none.
//!
//! Never performed in part and never reordered: a step may rely on the ones before it.

use crate::message::Request;
use crate::names::InstanceName;
use crate::record::{Pair, Write};
use crate::seen::{Ballot, Change, Durable};
use crate::units::{Epoch, Lsn, Time, Timeline, WalPosition};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use crate::reason::Reason;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub verdict: Verdict,
    /// Plan again after this long even if nothing happens.
    pub look_again_after: Duration,
}

/// What the instance is doing, and why. The reason is for people; nothing depends on its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Verdict {
    /// It holds office and clients may write.
    Serving { epoch: Epoch, because: Reason },
    /// It holds office and is on the way to serving.
    Opening { epoch: Epoch, because: Reason },
    /// It receives the log of the primary.
    Following { primary: InstanceName, because: Reason },
    /// It tries to take over.
    Claiming { because: Reason },
    /// It brings its folder into a state from which it can follow.
    Rejoining { because: Reason },
    /// It gives up or hands over its office.
    Leaving { because: Reason },
    /// It makes sure that its server cannot write.
    Fencing { because: Reason },
    /// There is nothing it may or must do.
    Waiting { because: Reason },
}

impl Verdict {
    pub fn because(&self) -> &Reason {
        match self {
            Self::Serving { because, .. }
            | Self::Opening { because, .. }
            | Self::Following { because, .. }
            | Self::Claiming { because }
            | Self::Rejoining { because }
            | Self::Leaving { because }
            | Self::Fencing { because }
            | Self::Waiting { because } => because,
        }
    }
}

/// One act of the agent. Those that change state name the epoch they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Write and fsync; what follows relies on it.
    Persist(Durable),
    /// Keep in memory for the next plan.
    Remember(Note),
    Send {
        to: InstanceName,
        request: Request,
    },
    ReadRecord,
    /// Send this write, or send it once more; its fate is learnt by reading.
    WriteRecord {
        write: Write,
        change: Change,
    },
    /// Let the fencing thread kill the server at `until` unless it is given a later time.
    Arm {
        epoch: Epoch,
        until: Time,
    },
    /// The server is known to be dead or harmless: no deadline is needed.
    Disarm,
    /// Kill every process of the server now, whatever else is going on.
    Fence {
        because: Reason,
    },
    /// Start a task on the server; its end comes as an event.
    Perform(Task),
}

/// A fact about this instance's own doings that the next plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Note {
    Ballot(Option<Ballot>),
    AloneSince(Option<Time>),
    ReleaseSent(Time),
    HandoverBegan(Option<Time>),
    /// That the folder is whole again is on disk.
    FolderWhole,
}

/// One thing done to the server. At most one runs at a time; only fencing interrupts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    /// Create the folder of a new cluster and stop it cleanly.
    Initialise,
    /// Start as a standby that receives from nobody, replaying what it has. What it has beyond `cut`
    /// never was in the primary's past, and is set aside first.
    Start {
        cut: Option<WalPosition>,
    },
    /// Stop receiving and make sure of it; then the position is final below `epoch`.
    Seal {
        epoch: Epoch,
    },
    /// Receive from this primary.
    Follow {
        epoch: Epoch,
        primary: InstanceName,
    },
    /// Open for writing on exactly this timeline, with this rule for commits from the first one.
    Promote {
        epoch: Epoch,
        timeline: Timeline,
        obey: Option<Pair>,
        gate: crate::seen::Gate,
    },
    /// Change the rule for commits and wait until every process obeys it.
    Obey {
        epoch: Epoch,
        pair: Option<Pair>,
    },
    OpenGate {
        epoch: Epoch,
    },
    Checkpoint {
        epoch: Epoch,
    },
    /// Stop after a shutdown checkpoint, sending all of it to the standbys that are connected.
    Stop {
        epoch: Epoch,
    },
    /// Make a running server read its configuration again; what needs a restart waits for one.
    Reload {
        configuration: u64,
    },
    /// Find the end of the log of a server that died.
    ScanEnd,
    /// Fetch the tail of a dead primary's log from its agent and replay it.
    FetchTail {
        epoch: Epoch,
        from: InstanceName,
        until: WalPosition,
    },
    /// Make this diverged folder a copy of the primary's past.
    Rewind {
        epoch: Epoch,
        primary: InstanceName,
    },
    /// Replace the folder by a copy of the primary's; the old one is kept until the copy is whole.
    Clone {
        epoch: Epoch,
        primary: InstanceName,
    },
}

impl Task {
    /// What the task does, without whom and under which epoch: failures are counted by it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Initialise => "initialise",
            Self::Start { .. } => "start",
            Self::Seal { .. } => "seal",
            Self::Follow { .. } => "follow",
            Self::Promote { .. } => "promote",
            Self::Obey { .. } => "obey",
            Self::OpenGate { .. } => "open gate",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Stop { .. } => "stop",
            Self::Reload { .. } => "reload",
            Self::ScanEnd => "scan end",
            Self::FetchTail { .. } => "fetch tail",
            Self::Rewind { .. } => "rewind",
            Self::Clone { .. } => "clone",
        }
    }
}

/// What a finished task left behind, beyond what the next look at the server shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Done,
    /// From this position on every process obeys the new rule.
    Obeyed {
        since: Lsn,
    },
    Failed {
        why: String,
    },
}
