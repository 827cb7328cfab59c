//! The one record of a cluster: who holds office, under which epoch, with whose consent.
//!
//! It is the only arbiter, changed by compare-and-swap on its revision. Never edited in place:
//! every change is a whole new record made by one of the functions here.

use crate::names::InstanceName;
use crate::units::{Epoch, Lsn, SystemId, Timeline, WalPosition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// How many writes the record has seen; 0 stands for "no record". Order of revisions is the order
/// of writes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// One life of one instance on one volume: a restarted agent, or a new volume under the old name,
/// is somebody else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    pub instance: InstanceName,
    /// Drawn once per data folder.
    pub volume: u64,
    /// Drawn at each start of the agent; kept when it re-executes itself in place.
    pub incarnation: u64,
}

/// Identifies one write, so that its writer recognises it after an answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct WriteId {
    pub incarnation: u64,
    pub number: u64,
}

/// What the holder is doing with its office.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    Serving,
    /// A switchover is under way: nobody but the target may claim by release.
    HandingOver {
        target: InstanceName,
    },
    /// The holder stopped PostgreSQL cleanly and left: nothing newer than `end` exists.
    Vacant {
        end: WalPosition,
    },
}

/// A rule for commits: acknowledged once `acks` of `voters` have flushed them.
///
/// With zero `acks` the primary acknowledges alone, and nobody can be elected without proof that
/// nothing newer exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    pub voters: BTreeSet<InstanceName>,
    pub acks: usize,
}

impl Pair {
    /// The primary acknowledges alone.
    pub fn solo() -> Self {
        Self { voters: BTreeSet::new(), acks: 0 }
    }

    /// How many of the voters must be sealed so that one of them has every acknowledged commit.
    pub fn election_size(&self) -> usize {
        (self.voters.len() + 1).saturating_sub(self.acks)
    }

    pub fn elects(&self, sealed: &BTreeSet<InstanceName>) -> bool {
        self.voters.intersection(sealed).count() >= self.election_size()
    }

    /// Whether those whose flushed position suffices are enough to acknowledge.
    pub fn acknowledges(&self, flushed: &BTreeSet<InstanceName>) -> bool {
        self.voters.intersection(flushed).count() >= self.acks
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let voters: Vec<String> = self.voters.iter().map(ToString::to_string).collect();
        write!(f, "{} of ({})", self.acks, voters.join(", "))
    }
}

/// How an office came to its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The cluster was new.
    Initialised,
    /// Its predecessor had lost the grants of too many members.
    GrantsLost,
    /// Its predecessor had not written the record for a whole term.
    TermOver,
    /// Its predecessor's PostgreSQL had died, and its agent released the office.
    Released,
    /// A switchover.
    HandedOver,
    /// It had held the office before, and its log had everything.
    Retaken,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialised => "the cluster was initialised",
            Self::GrantsLost => "the members no longer heard the primary before it",
            Self::TermOver => "the primary before it was silent for a whole term",
            Self::Released => "PostgreSQL died on the primary before it",
            Self::HandedOver => "the primary before it handed over",
            Self::Retaken => "it was the primary before, and was restarted",
        })
    }
}

/// One timeline that was handed out: to which epoch, and where it left its parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    pub epoch: Epoch,
    pub timeline: Timeline,
    /// The timeline that its holder's log was on when it claimed.
    pub parent: Timeline,
    pub holder: InstanceName,
    pub cause: Cause,
    /// Known once the holder has promoted; until then nobody can tell who must rewind.
    pub began: Option<Lsn>,
}

/// How many past terms the record keeps; an instance from before them is cloned anew.
pub const TERMS_KEPT: usize = 32;

/// The record itself. See `docs/adr/0001-one-record-and-peer-grants.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub revision: Revision,
    pub written: WriteId,
    pub epoch: Epoch,
    pub holder: Holder,
    pub phase: Phase,
    /// G: of these, enough must grant for the holder to write.
    pub grantors: BTreeSet<InstanceName>,
    /// M: who may claim, and whose unanimous grants replace the record while it is out of reach.
    pub members: BTreeSet<InstanceName>,
    /// Q: every rule under which a commit may have been acknowledged and not yet been confirmed
    /// under the newest one. Empty in asynchronous mode.
    pub quorum: BTreeSet<Pair>,
    /// The timeline this epoch writes on, and the next one nobody has been given.
    pub timeline: Timeline,
    pub next_timeline: Timeline,
    pub terms: Vec<Term>,
    pub system_id: SystemId,
    /// The number of the last switchover that was begun.
    pub switchover: u64,
}

/// What a candidate brings into office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    pub holder: Holder,
    pub epoch: Epoch,
    /// The timeline its log is on, and where that one began: its holder may have died before it
    /// could say so in the record.
    pub parent: Timeline,
    pub parent_began: Lsn,
    /// Where it will leave the parent, if that is certain before it opens: nobody has more of the
    /// log, and it ends with a whole record. Whoever knows can follow before the server is open.
    pub began: Option<Lsn>,
    pub cause: Cause,
    pub pair: Option<Pair>,
}

/// How many of `grantors` must be granting: q(G) = ceil(|G| / 2).
pub fn grants_needed(grantors: usize) -> usize {
    grantors.div_ceil(2)
}

impl Record {
    /// The record of a cluster that was just initialised, on timeline 1 by initdb, or further on as
    /// a copy. That one is left behind at once: every opening is a promotion onto a reserved
    /// timeline, the first one too.
    pub fn first(holder: Holder, system_id: SystemId, made: Timeline, written: WriteId) -> Self {
        let instance = holder.instance.clone();
        let timeline = made.next();
        let term = |epoch, timeline, began| Term {
            epoch: Epoch(epoch),
            timeline,
            parent: made,
            cause: Cause::Initialised,
            holder: instance.clone(),
            began,
        };
        Self {
            revision: Revision(1),
            written,
            epoch: Epoch(1),
            members: BTreeSet::from([instance.clone()]),
            holder,
            phase: Phase::Serving,
            grantors: BTreeSet::new(),
            quorum: BTreeSet::new(),
            timeline,
            next_timeline: timeline.next(),
            terms: vec![term(0, made, Some(Lsn(0))), term(1, timeline, None)],
            system_id,
            switchover: 0,
        }
    }

    /// Whom the office is being handed over to.
    pub fn target(&self) -> Option<&InstanceName> {
        match &self.phase {
            Phase::HandingOver { target } => Some(target),
            Phase::Serving | Phase::Vacant { .. } => None,
        }
    }

    /// Whether somebody else holds the office, or has held it, than in this epoch. A holder that took
    /// its own office back is the same one.
    pub fn has_changed_hands_since(&self, epoch: Epoch) -> bool {
        let (past, since): (Vec<&Term>, Vec<&Term>) =
            self.terms.iter().partition(|term| term.epoch <= epoch);
        let then = past.last().map(|term| &term.holder);
        since.iter().any(|term| Some(&term.holder) != then)
    }

    /// The same record as the next write of `written`.
    pub fn rewritten(&self, written: WriteId) -> Self {
        Self { revision: Revision(self.revision.0 + 1), written, ..self.clone() }
    }

    /// A new holder takes office on a timeline of its own; commits then follow its pair too.
    pub fn taken_over(&self, written: WriteId, takeover: Takeover) -> Self {
        let Takeover { holder, epoch, parent, parent_began, began, cause, pair } = takeover;
        let mut next = self.rewritten(written);
        next.epoch = epoch;
        next.phase = Phase::Serving;
        next.grantors = BTreeSet::new();
        next.quorum.extend(pair);
        next.timeline = self.next_timeline;
        next.next_timeline = self.next_timeline.next();
        for term in next.terms.iter_mut().filter(|term| term.timeline == parent) {
            term.began = term.began.or(Some(parent_began));
        }
        next.terms.push(Term {
            epoch,
            timeline: next.timeline,
            parent,
            cause,
            holder: holder.instance.clone(),
            began,
        });
        let surplus = next.terms.len().saturating_sub(TERMS_KEPT);
        next.terms.drain(..surplus);
        next.holder = holder;
        next
    }

    /// The holder keeps its office under a higher epoch, on the same timeline: some member has
    /// promised that epoch in an election that came to nothing.
    pub fn bumped(&self, written: WriteId, epoch: Epoch) -> Self {
        let mut next = self.rewritten(written);
        next.epoch = epoch;
        next.grantors = BTreeSet::new();
        next
    }
}

/// Identifies one stored version of the record, also across a restore of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub revision: Revision,
    pub written: WriteId,
}

impl Record {
    pub fn base(&self) -> Base {
        Base { revision: self.revision, written: self.written }
    }
}

/// A conditional write: applies only while the store holds exactly the version `base`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// None: only while there is no record at all.
    pub base: Option<Base>,
    pub record: Record,
}

impl Write {
    pub fn over(current: Option<&Record>, record: Record) -> Self {
        Self { base: current.map(Record::base), record }
    }

    /// Whether a store that holds `current` applies this write.
    pub fn applies_to(&self, current: Option<&Record>) -> bool {
        self.base == current.map(Record::base)
    }
}
