//! Why a verdict is what it is: facts as values; people read the text made from them.
//!
//! Never a sentence made elsewhere.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the text is split over three functions; each passes on what it does not know"
)]

use crate::names::InstanceName;
use crate::plan::Task;
use crate::record::Pair;
use crate::seen::Change;
use crate::units::{Bytes, Epoch, Lsn, Time, Timeline, WalPosition};
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
    WrongFork {
        found: Lsn,
        said: Lsn,
    },
    Promoting {
        timeline: Timeline,
    },
    GateWaits {
        pair: Pair,
    },
    Crashed,
    /// Recovery in place would take this long.
    LongRecovery {
        expected: Duration,
    },
    /// The server does not come up again in place.
    CannotRestart {
        times: u32,
        why: String,
    },
    Hung {
        misses: u32,
    },
    DiskFull,
    ReleasedToStandby {
        standby: InstanceName,
    },
    RestartInPlace,
    /// It is another instance's turn to start again, or one is away.
    RestartWaits,
    HandingOver {
        target: InstanceName,
    },
    /// It is to be stopped: nobody has asked for a switchover.
    MakingWay {
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
        if let Some(plain) = self.plain() {
            return f.write_str(plain);
        }
        match self.of_task(f) {
            Some(written) => written,
            None => self.of_protocol(f),
        }
    }
}

impl Reason {
    /// The reasons that carry no facts.
    fn plain(&self) -> Option<&'static str> {
        Some(match self {
            Self::NothingToDo => "nothing to do",
            Self::RecordUnread => "the record has not been read yet",
            Self::NotAMember => "not a member of the cluster yet",
            Self::Paused => "the cluster is paused",
            Self::Fenced => "fenced by its user",
            Self::Stopped => "shall be stopped",
            Self::ServerNotSeen => "the server has not been seen yet",
            Self::OtherCluster => {
                "its data folder belongs to another cluster (system identifier differs); move it away to have it cloned"
            }
            Self::AloneQuorum => {
                "the primary acknowledged commits alone, so nobody can show that none is missing"
            }
            Self::NotReplayed => "its log is not replayed to the end yet",
            Self::Retaking => "its own log has everything: taking the office anew",
            Self::PermissionOver => "the proof of office has run out",
            Self::Crashed => "PostgreSQL died",
            Self::DiskFull => "the disk is full",
            Self::RestartInPlace => "restarting in place",
            Self::RestartWaits => "waiting for its turn to restart",
            Self::NoCandidate => "there is nobody to take over or to copy from",
            Self::ForkUnknown => "the primary has not said where its timeline began",
            Self::HalfRewound => "a rewind was begun and not finished",
            Self::Streaming => "streaming",
            Self::NotStreaming => "not streaming yet",
            Self::DegradedToSolo => "no standby can acknowledge: commits are on the primary alone",
            _ => return None,
        })
    }

    /// The reasons that speak of tasks, writes and the server.
    fn of_task(&self, f: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
        Some(match self {
            Self::TaskRunning { task, .. } => write!(f, "{} is running", task.kind()),
            Self::RetryLater { task, times, why } => {
                write!(f, "{} failed {times} times, will try again: {why}", task.kind())
            }
            Self::RejoinFailed { times, why } => {
                write!(f, "rejoining failed {times} times: {why}")
            }
            Self::Outstanding { change } => {
                write!(f, "the fate of a write ({change:?}) is not known yet")
            }
            Self::Writing { change } => write!(f, "writing the record ({change:?})"),
            Self::WrongTimeline { found, reserved } => {
                write!(f, "opened on timeline {found}, but {reserved} was reserved for it")
            }
            Self::WrongFork { found, said } => {
                write!(f, "its timeline began at {found}, but the record says at {said}")
            }
            Self::Promoting { timeline } => write!(f, "opening on timeline {timeline}"),
            Self::GateWaits { pair } => {
                write!(f, "clients wait until {pair} have the end of recovery")
            }
            Self::Hung { misses } => {
                write!(f, "PostgreSQL left {misses} probes unanswered and writes no log")
            }
            Self::ReleasedToStandby { standby } => {
                write!(f, "PostgreSQL died; {standby} can take over at once")
            }
            Self::LongRecovery { expected } => write!(
                f,
                "PostgreSQL died, and its recovery here would take {} s: whoever can may take over",
                expected.as_secs()
            ),
            Self::CannotRestart { times, why } => write!(
                f,
                "PostgreSQL did not come up again in {times} attempts: whoever can may take over; {why}"
            ),
            Self::HandingOver { target } => write!(f, "handing over to {target}"),
            Self::MakingWay { target } => write!(f, "to be stopped: handing over to {target}"),
            Self::CandidateUnready { target } => {
                write!(f, "{target} is not ready to take over; going on")
            }
            Self::Diverged { end, fork } => {
                write!(f, "its log ends at {end}, but the primary's past left it at {fork}")
            }
            Self::TimelineUnknown { timeline } => {
                write!(f, "timeline {timeline} is in nobody's past: a fresh copy is needed")
            }
            Self::SourceNotReady { primary } => {
                write!(f, "{primary} has not checkpointed on its timeline yet")
            }
            _ => return None,
        })
    }

    /// The reasons that speak of grants, votes and epochs.
    fn of_protocol(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCluster { first } => write!(f, "{first} has not initialised the cluster yet"),
            Self::RecordLost { missing } if missing.is_empty() => {
                f.write_str("the record is gone or was set back")
            }
            Self::RecordLost { missing } => {
                let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
                write!(f, "the record is gone or was set back; not heard: {}", names.join(", "))
            }
            Self::GrantRuns { left } => {
                write!(f, "its grant to the primary runs for {} ms more", left.as_millis())
            }
            Self::PrimarySilent { primary, silent } => {
                write!(f, "{primary} has been silent for {} ms", silent.as_millis())
            }
            Self::FailoverDelay { left } => {
                write!(f, "failoverDelay has {} ms left", left.as_millis())
            }
            Self::TermRuns { left } => {
                write!(f, "the holder's term may run for {} ms more", left.as_millis())
            }
            Self::HandoverToOther { target } => write!(f, "the office is meant for {target}"),
            Self::Surveying { revoked, needed } => {
                write!(f, "{revoked} of {needed} needed grantors no longer hear the primary")
            }
            Self::Sealing { revoked, needed } => {
                write!(f, "sealing: {revoked} of {needed} needed votes")
            }
            Self::Behind { other, position } => write!(f, "{other} is further, at {position}"),
            Self::QuorumShort { pair, sealed } => {
                let size = pair.election_size();
                write!(f, "{sealed} voters are sealed, {size} are needed of the rule {pair}")
            }
            Self::TooFarBehind { lag, limit } => {
                write!(f, "{lag} behind the lost primary, the limit is {limit}")
            }
            Self::Released { by } => write!(f, "{by} has released the office"),
            Self::Won { epoch } => write!(f, "won epoch {epoch}"),
            Self::OfficeLost { epoch } => write!(f, "its office of epoch {epoch} is over"),
            Self::NewerEpoch { epoch } => write!(f, "epoch {epoch} has begun elsewhere"),
            Self::Sealed { below } => {
                write!(f, "it has promised to receive from no epoch below {below}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}
