//! What instances say to each other: three requests and their replies.
//!
//! Every message names its epoch. Nothing here is an order: a reply says what its sender has
//! already persisted.

use crate::names::InstanceName;
use crate::record::{Revision, Term};
use crate::units::{Epoch, Time, WalPosition};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    Heartbeat(Heartbeat),
    Revoke(Revoke),
    Released(Released),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    Heartbeat(HeartbeatReply),
    Revoke(Vote),
    Released,
}

/// The holder asks for a grant and tells where its log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub epoch: Epoch,
    pub revision: Revision,
    /// The holder's own clock when it sent this; echoed, never compared with another clock.
    pub sent: Time,
    pub incarnation: u64,
    /// Where the holder's log ends; none while it is not open for writing.
    pub position: Option<WalPosition>,
    /// The recent timelines and where each began, so that a member can tell whether it diverged.
    pub terms: Vec<Term>,
    /// The holder has checkpointed on its own timeline: it can serve as the source of a rewind.
    pub rewind_ready: bool,
    /// Whose turn it is to start again, of the standbys that want to.
    #[serde(default)]
    pub may_restart: Option<InstanceName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatReply {
    pub epoch: Epoch,
    pub sent: Time,
    pub incarnation: u64,
    /// Neither votes nor claims for the length of a grant, counted from receipt.
    pub granted: bool,
    pub knows: Known,
    pub standing: Standing,
    /// It has settings to take up that need a restart, or was asked to start again, or is about to.
    #[serde(default)]
    pub wants_restart: bool,
    /// The last restart that was asked for and that it has begun; earlier versions do not say.
    #[serde(default)]
    pub restarted: Option<u64>,
}

/// What an instance has durably seen and promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Known {
    /// The highest epoch that is known to have had a holder.
    pub epoch: Epoch,
    /// The lowest epoch it still grants to.
    pub promise: Epoch,
}

/// How an instance is doing as a standby.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Receives the log of the primary.
    Streaming { position: WalPosition },
    /// Runs as a standby without receiving: sealed, or not connected yet.
    Waiting { position: WalPosition },
    /// Has no running server: being cloned, rewound, started or stopped.
    Unready,
    /// Stopped because its user fenced it.
    Fenced,
    /// Runs as a primary.
    Primary,
}

/// A candidate asks a member to confirm that the holder's grants are over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// The epoch that is to end, and the one that is to follow.
    pub epoch: Epoch,
    pub proposed: Epoch,
    pub revision: Revision,
    pub basis: Basis,
    /// A survey binds nobody; only a seal makes the member promise and stop receiving.
    pub purpose: Purpose,
    /// The candidate has this from the holder itself: the office of `epoch` is free.
    pub released: Option<Released>,
    /// Identifies the ballot, on the candidate's own clock.
    pub ballot: Time,
}

/// Where the candidate has the record from that it would take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Basis {
    /// The store holds it, so it should be the newest there is.
    Stored,
    /// The store has lost it or was set back: it is what the candidate remembers.
    Remembered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    Survey,
    Seal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    pub proposed: Epoch,
    pub ballot: Time,
    pub purpose: Purpose,
    pub knows: Known,
    pub stance: Stance,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stance {
    /// Its grant still runs, it holds office itself, or it knows a newer epoch or record.
    Refused,
    /// Its grant is over. To a survey: it would promise. To a seal: it has persisted the promise.
    Revoked,
    /// As `Revoked`, and its server no longer receives: its position is final below `proposed`.
    Sealed { position: WalPosition },
}

/// The holder's PostgreSQL is dead and reaped: the office of `epoch` is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    pub epoch: Epoch,
    pub by: InstanceName,
    /// Where its log ends, when that is known: nothing newer exists anywhere.
    pub end: Option<WalPosition>,
    /// Whom it was handed over to. Who has not read of it in the record yet must not compete.
    #[serde(default)]
    pub target: Option<InstanceName>,
}
