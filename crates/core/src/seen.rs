//! What one instance has seen: its own disk and server, the record, and what its peers said.
//!
//! Not knowing is a value here; only [`notice`](crate::notice) changes it, only `plan` reads it.

use crate::message::{Known, Purpose, Released, Standing, Vote};
use crate::names::InstanceName;
use crate::plan::Task;
use crate::record::{Holder, Pair, Record, Revision, Term, Write};
use crate::rules::{Rule, broken};
use crate::units::{Epoch, Lsn, SystemId, Time, Timeline, WalPosition};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everything an instance decides from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub me: Holder,
    /// When this incarnation began to look; grants of an earlier one may run one grant from here.
    pub began: Time,
    pub durable: Durable,
    pub record: RecordSeen,
    /// The write that was sent and whose fate is not known.
    pub outstanding: Option<Outstanding>,
    /// How many writes this incarnation has made.
    pub writes: u64,
    pub office: Office,
    pub grant: GrantGiven,
    pub peers: BTreeMap<InstanceName, Peer>,
    pub ballot: Option<Ballot>,
    /// The last release heard of: somebody's office is free.
    pub released: Option<ReleaseHeard>,
    /// Since when this instance has told others that it released its own office.
    pub release_sent: Option<Time>,
    pub server: Server,
    pub health: Health,
    pub task: Option<Running>,
    pub failed: Option<Failed>,
    /// When the handover of the present epoch began.
    pub handover_began: Option<Time>,
    /// The last rewind came to its end; the durable marker can go.
    pub rewound: bool,
    /// The highest epoch and promise anybody has told of.
    pub heard: Known,
}

/// What survives a restart of the agent: written and fsynced before anything relies on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Durable {
    pub known: Known,
    /// The server receives WAL only from holders of this epoch or a later one.
    pub seal: Epoch,
    /// The last epoch under which this folder was open for writing.
    pub served: Epoch,
    /// A rewind was begun and not finished: the folder must not be started.
    pub rewinding: bool,
    /// How often rejoining failed since it last worked.
    pub rejoin_failures: u32,
    /// The folder cannot be made to follow: only a fresh copy will do.
    pub must_clone: bool,
    /// The number of the last restart that was asked for and begun.
    pub restarted: u64,
    pub system_id: Option<SystemId>,
    /// The newest record this instance has read.
    pub record: Option<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSeen {
    pub value: Option<Record>,
    /// When the present revision was first seen: a term is counted from here.
    pub first_seen: Time,
    /// When the last read that was answered had been sent.
    pub read: Option<Time>,
    /// When the last read was sent.
    pub asked: Option<Time>,
    /// The store has gone back behind what it once held.
    pub regressed: Option<Regression>,
}

/// What the store holds instead of the newest record that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    pub found: Option<Record>,
    pub since: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outstanding {
    pub write: Write,
    pub change: Change,
    /// A confirmed write proves office from its *first* sending: any of its copies may be the one
    /// that was applied.
    pub first_sent: Time,
    pub last_sent: Time,
}

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    Create,
    Claim,
    Retake,
    Bump,
    Restore,
    /// Everything the holder keeps up to date while it serves: G, M, Q, the fork, the term.
    Amend,
    HandOver,
    AbortHandOver,
    Vacate,
}

/// The proof that this incarnation may write, as long as it holds the newest record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Office {
    /// The epoch this incarnation was confirmed for; zero when for none.
    pub epoch: Epoch,
    /// When the last confirmed write of the record was first sent.
    pub confirmed: Option<Time>,
    /// When the heartbeat was sent that each member last granted in this epoch.
    pub grants: BTreeMap<InstanceName, Time>,
    /// A member's promise above our epoch: an election came to nothing, or is under way.
    pub promised_above: Option<Epoch>,
    /// An order to obey another rule was begun and has not been confirmed: what each process of
    /// the server obeys is not known.
    pub rule_unsettled: bool,
    /// Since when a commit has found no standby that could acknowledge it.
    pub alone_since: Option<Time>,
    /// The deadline that the fencing thread was last given.
    pub armed_until: Option<Time>,
}

/// The grant this instance has given: until then it neither votes nor claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantGiven {
    pub until: Time,
    /// The last heartbeat of the highest epoch, and when it came.
    pub heard: Option<Heard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub from: InstanceName,
    pub at: Time,
    pub epoch: Epoch,
    /// The one of the sender's record.
    #[serde(default)]
    pub revision: Revision,
    pub position: Option<WalPosition>,
    pub terms: Vec<Term>,
    pub rewind_ready: bool,
    #[serde(default)]
    pub may_restart: Option<InstanceName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseHeard {
    pub release: Released,
    pub at: Time,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Peer {
    /// When the last heartbeat to it was sent.
    pub asked: Option<Time>,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub at: Time,
    pub knows: Known,
    pub standing: Standing,
    #[serde(default)]
    pub wants_restart: bool,
    #[serde(default)]
    pub restarted: Option<u64>,
}

/// A candidate's attempt: first a survey, then a seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    pub began: Time,
    pub purpose: Purpose,
    /// The epoch that is to end and the one that is to follow.
    pub epoch: Epoch,
    pub proposed: Epoch,
    pub asked: Time,
    pub votes: BTreeMap<InstanceName, Vote>,
}

/// The state of this instance's PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Server {
    /// Nobody has looked yet.
    Unknown,
    /// There is no data folder.
    Absent,
    /// The folder exists and no process of it lives.
    Down {
        system_id: SystemId,
        end: End,
    },
    /// Processes exist; it does not answer yet.
    Starting,
    Standby(Standby),
    Primary(Primary),
}

/// Where the log of a stopped server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// Stopped after a shutdown checkpoint.
    Clean { position: WalPosition },
    /// Stopped as a standby: it may go on from here.
    CleanStandby { position: WalPosition },
    /// Died; the end is known once its log was scanned.
    Crashed { position: Option<WalPosition>, timeline: Timeline },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    pub system_id: SystemId,
    /// Received and flushed, or replayed, whichever is further.
    pub position: WalPosition,
    /// The first position of its timeline, from the timeline's history file.
    pub began: Lsn,
    pub replayed: Lsn,
    /// The position is final unless more is received: either something was received since the
    /// server started, or replay has come to the end of what is here.
    pub settled: bool,
    /// Whom it is set to receive from, and under which epoch it was set.
    pub follows: Option<Follows>,
    /// Its receiver is connected and streaming.
    pub streaming: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follows {
    pub primary: InstanceName,
    pub epoch: Epoch,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Primary {
    pub system_id: SystemId,
    /// Where its flushed log ends.
    pub position: WalPosition,
    /// The first position of its timeline.
    pub began: Lsn,
    pub gate: Gate,
    /// The pair that every backend and sender obeys, and from which position on.
    pub obeys: Option<Obeyed>,
    pub senders: BTreeMap<InstanceName, Sender>,
    /// A checkpoint on its own timeline was completed.
    pub checkpointed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Gate {
    /// Clients are refused until what they would read cannot be lost any more.
    Closed,
    Open,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obeyed {
    pub pair: Option<Pair>,
    pub since: Lsn,
}

/// A standby as the primary's WAL sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    pub flushed: Lsn,
    pub streaming: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Upstream {
    #[default]
    InPlace,
    /// It is reached at another address by now.
    Moved,
}

/// What of the configuration counts only from the next start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pending {
    #[default]
    Nothing,
    Some,
}

/// What the local probes say of the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Probes in a row that were not answered.
    pub misses: u32,
    /// When the log last grew.
    pub progress: Option<Time>,
    pub disk_full: bool,
    /// The configuration number the server runs with.
    pub configuration: u64,
    #[serde(default)]
    pub pending: Pending,
    /// The receiver was told that the log it needs is gone.
    pub wal_gone: bool,
    /// Whether the primary is still where the server was pointed at.
    #[serde(default)]
    pub upstream: Upstream,
    /// What crash recovery would have to replay, divided by the measured rate, in milliseconds.
    pub redo_milliseconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub task: Task,
    pub since: Time,
}

/// The last task that failed, and how often in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub task: Task,
    pub at: Time,
    pub times: u32,
    pub why: String,
}

impl Seen {
    /// What a new incarnation sees before it has looked; an earlier one may have given a grant of
    /// this length just before it ended.
    pub fn new(me: Holder, durable: Durable, began: Time, grant: Duration) -> Self {
        let until = if broken(Rule::WaitAfterBoot) { began } else { began.after(grant) };
        Self {
            me,
            began,
            durable,
            record: RecordSeen {
                value: None,
                first_seen: began,
                read: None,
                asked: None,
                regressed: None,
            },
            outstanding: None,
            writes: 0,
            office: Office::default(),
            grant: GrantGiven { until, heard: None },
            peers: BTreeMap::new(),
            ballot: None,
            released: None,
            release_sent: None,
            server: Server::Unknown,
            health: Health::default(),
            task: None,
            failed: None,
            handover_began: None,
            rewound: false,
            heard: Known::default(),
        }
    }

    /// Learns how long the grants of an earlier incarnation were. Only for one that has not been told
    /// what is wanted yet, and so has granted nothing itself.
    pub fn limit_earlier_grant(&mut self, grant: Duration) {
        self.grant.until = self.grant.until.min(self.began.after(grant));
    }

    pub fn name(&self) -> &InstanceName {
        &self.me.instance
    }

    /// The newest record, when it names this very incarnation and no newer holder is known of.
    pub fn my_office(&self) -> Option<&Record> {
        self.record.value.as_ref().filter(|record| {
            record.holder == self.me
                && record.epoch == self.office.epoch
                && self.highest_known() <= record.epoch
        })
    }

    /// The members of the record except this instance.
    pub fn others<'a>(
        &'a self,
        members: &'a BTreeSet<InstanceName>,
    ) -> impl Iterator<Item = &'a InstanceName> {
        members.iter().filter(|name| **name != self.me.instance)
    }

    pub fn position(&self) -> Option<WalPosition> {
        match &self.server {
            Server::Standby(standby) => Some(standby.position),
            Server::Primary(primary) => Some(primary.position),
            Server::Down { end, .. } => match end {
                End::Clean { position } | End::CleanStandby { position } => Some(*position),
                End::Crashed { position, .. } => *position,
            },
            Server::Unknown | Server::Absent | Server::Starting => None,
        }
    }

    /// Whether this instance's server is a standby that receives the primary's log.
    pub fn server_streams(&self) -> bool {
        matches!(&self.server, Server::Standby(standby) if standby.streaming)
    }

    pub fn is_writable(&self) -> bool {
        matches!(self.server, Server::Primary(_))
    }

    /// The answer of a peer that is not older than `oldest`.
    pub fn fresh_answer(&self, peer: &InstanceName, oldest: Time) -> Option<&Answer> {
        self.peers.get(peer)?.answer.as_ref().filter(|answer| answer.at >= oldest)
    }

    /// The highest epoch this instance knows of in any way.
    pub fn highest_known(&self) -> Epoch {
        let record = self.record.value.as_ref().map_or(Epoch(0), |record| record.epoch);
        record.max(self.durable.known.epoch).max(self.heard.epoch)
    }
}
