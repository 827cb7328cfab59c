//! Why a verdict is what it is: facts as values; people read the text made from them.
//!
//! Never a sentence made elsewhere.

use crate::names::InstanceName;
use crate::plan::Task;
use crate::record::Pair;
use crate::seen::Change;
use crate::units::{Bytes, Epoch, Time, Timeline, WalPosition};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    NothingToDo,
    /// The record has not been read yet, or not since this incarnation began.
    RecordUnread,
    /// No record exists, and it is for another instance to make it.
    NoCluster {
        first: InstanceName,
    },
    /// The record was lost or set back; its last known members must all agree first.
    RecordLost {
        missing: Vec<InstanceName>,
    },
    NotAMember,
    Paused,
    Fenced,
    Stopped,
    ServerNotSeen,
    TaskRunning {
        task: Task,
        since: Time,
    },
    RetryLater {
        task: Task,
        times: u32,
        why: String,
    },
    RejoinFailed {
        times: u32,
        why: String,
    },
    OtherCluster,
    Outstanding {
        change: Change,
    },
    Writing {
        change: Change,
    },
    /// Its own grant still binds it.
    GrantRuns {
        left: Duration,
    },
    /// The primary has been silent for this long.
    PrimarySilent {
        primary: InstanceName,
        silent: Duration,
    },
    FailoverDelay {
        left: Duration,
    },
    TermRuns {
        left: Duration,
    },
    HandoverToOther {
        target: InstanceName,
    },
    Surveying {
        revoked: usize,
        needed: usize,
    },
    Sealing {
        revoked: usize,
        needed: usize,
    },
    Behind {
        other: InstanceName,
        position: WalPosition,
    },
    QuorumShort {
        pair: Pair,
        sealed: usize,
    },
    AloneQuorum,
    TooFarBehind {
        lag: Bytes,
        limit: Bytes,
    },
    NotReplayed,
    Released {
        by: InstanceName,
    },
    Won {
        epoch: Epoch,
    },
    Retaking,
    OfficeLost {
        epoch: Epoch,
    },
    PermissionOver,
    NewerEpoch {
        epoch: Epoch,
    },
    WrongTimeline {
        found: Timeline,
        reserved: Timeline,
    },
    Promoting {
        timeline: Timeline,
    },
    GateWaits {
        pair: Pair,
    },
    Crashed,
    Hung {
        misses: u32,
    },
    DiskFull,
    ReleasedToStandby {
        standby: InstanceName,
    },
    RestartInPlace,
    HandingOver {
        target: InstanceName,
    },
    NoCandidate,
    CandidateUnready {
        target: InstanceName,
    },
    ForkUnknown,
    Diverged {
        end: WalPosition,
        fork: WalPosition,
    },
    TimelineUnknown {
        timeline: Timeline,
    },
    HalfRewound,
    SourceNotReady {
        primary: InstanceName,
    },
    Streaming,
    NotStreaming,
    Sealed {
        below: Epoch,
    },
    DegradedToSolo,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
