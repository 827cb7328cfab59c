//! Everything that can happen in the world: one closed list.
//!
//! Never carries a decision: it names what is due, and the world looks whether it still holds.

use crate::clock::Moment;
use crate::faults::{Fault, Relief};
use crate::liveness::Deadline;
use crate::names::{CommitRule, NodeId};
use crate::server::stream::ConnectionId;
use crate::wal::LogEnd;
use pgherd_core::intent::Intent;
use pgherd_core::message::{Reply, Request};
use pgherd_core::record::{Record, Write};
use pgherd_core::seen::Change;
use pgherd_core::units::Time;
use std::rc::Rc;

#[derive(Debug)]
pub enum Happening {
    /// The platform starts an agent, unless another life has begun since.
    AgentStarts {
        node: NodeId,
        life: u32,
    },
    AgentResumes {
        node: NodeId,
        life: u32,
    },
    Timer {
        node: NodeId,
        life: u32,
    },
    Probe {
        node: NodeId,
        life: u32,
    },
    FenceDue {
        node: NodeId,
        life: u32,
    },
    TreeDead {
        node: NodeId,
        process_id: u32,
        killer: Killer,
    },
    TaskDue {
        node: NodeId,
        run: u32,
    },
    Request(Box<Letter>),
    Reply(Box<ReplyLetter>),
    StoreAsked(Box<Ask>),
    StoreAnswered(Box<StoreAnswer>),
    Connects {
        node: NodeId,
        process_id: u32,
        follow_number: u32,
    },
    Received {
        standby: NodeId,
        connection: ConnectionId,
        upto: LogEnd,
    },
    Acknowledged {
        primary: NodeId,
        connection: ConnectionId,
        upto: LogEnd,
    },
    /// One side of a connection learns that the other is gone.
    Closes {
        connection: ConnectionId,
    },
    /// Both sides of a connection have heard nothing for as long as they wait, if it was cut since.
    FallsSilent {
        connection: ConnectionId,
        since: Moment,
    },
    Reloads {
        node: NodeId,
        process_id: u32,
        reader: Reader,
        version: u32,
        rule: Option<CommitRule>,
    },
    Commits,
    Strikes {
        fault: Fault,
        /// Who did what the fault waited for.
        actor: NodeId,
    },
    Relieves(Box<Relief>),
    Intends {
        node: NodeId,
        number: u64,
        intent: Rc<Intent>,
    },
    PowersOn {
        node: NodeId,
    },
    /// Somebody's excuse for writing too long is over.
    Judges,
    /// Something must have come true by now.
    Examines(Deadline),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killer {
    /// A `Fence` step of the agent of this life, which waits for it.
    Step { life: u32 },
    /// The fencing thread of the agent of this life.
    Thread { life: u32 },
    /// The agent, after the postmaster died.
    Cleaner { life: u32 },
    /// The platform, after the agent died.
    Platform,
}

/// A process that reads the configuration file in its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Postmaster,
    Checkpointer,
    Sender(ConnectionId),
}

#[derive(Debug, Clone)]
pub struct Letter {
    pub from: NodeId,
    pub to: NodeId,
    pub life: u32,
    pub request: Request,
    /// The asker gives up on the answer then.
    pub deadline: Moment,
}

#[derive(Debug)]
pub struct ReplyLetter {
    pub from: NodeId,
    pub to: NodeId,
    pub life: u32,
    pub reply: Reply,
    pub deadline: Moment,
}

#[derive(Debug, Clone)]
pub struct Ask {
    pub from: NodeId,
    pub life: u32,
    pub sent: Time,
    /// None: a read.
    pub write: Option<(Write, Change)>,
    pub deadline: Moment,
}

#[derive(Debug)]
pub struct StoreAnswer {
    pub to: NodeId,
    pub life: u32,
    pub sent: Time,
    pub record: Option<Record>,
    pub deadline: Moment,
}

/// Who must be able to run for something to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    Agent(NodeId),
    Server(NodeId),
    World,
}

impl Happening {
    pub fn actor(&self) -> Actor {
        match self {
            Self::AgentStarts { node, .. }
            | Self::AgentResumes { node, .. }
            | Self::Timer { node, .. }
            | Self::Probe { node, .. }
            | Self::FenceDue { node, .. }
            | Self::TaskDue { node, .. }
            | Self::Intends { node, .. } => Actor::Agent(*node),
            Self::TreeDead { node, killer, .. } => match killer {
                Killer::Platform => Actor::World,
                Killer::Step { .. } | Killer::Thread { .. } | Killer::Cleaner { .. } => {
                    Actor::Agent(*node)
                }
            },
            Self::Request(letter) => Actor::Agent(letter.to),
            Self::Reply(letter) => Actor::Agent(letter.to),
            Self::StoreAnswered(answer) => Actor::Agent(answer.to),
            Self::Connects { node, .. }
            | Self::Reloads { node, .. }
            | Self::Received { standby: node, .. }
            | Self::Acknowledged { primary: node, .. } => Actor::Server(*node),
            Self::StoreAsked(_)
            | Self::Closes { .. }
            | Self::FallsSilent { .. }
            | Self::Commits
            | Self::Strikes { .. }
            | Self::Relieves(_)
            | Self::PowersOn { .. }
            | Self::Judges
            | Self::Examines(_) => Actor::World,
        }
    }

    /// A number for the fingerprint of the run.
    pub fn fingerprint(&self) -> u64 {
        let (kind, who) = match self {
            Self::AgentStarts { node, .. } => (1, node.0),
            Self::AgentResumes { node, .. } => (2, node.0),
            Self::Timer { node, .. } => (3, node.0),
            Self::Probe { node, .. } => (4, node.0),
            Self::FenceDue { node, .. } => (5, node.0),
            Self::TreeDead { node, .. } => (6, node.0),
            Self::TaskDue { node, .. } => (7, node.0),
            Self::Request(letter) => (8, letter.to.0),
            Self::Reply(letter) => (9, letter.to.0),
            Self::StoreAsked(ask) => (10, ask.from.0),
            Self::StoreAnswered(answer) => (11, answer.to.0),
            Self::Connects { node, .. } => (12, node.0),
            Self::Received { standby, .. } => (13, standby.0),
            Self::Acknowledged { primary, .. } => (14, primary.0),
            Self::Closes { .. } => (15, 0),
            Self::FallsSilent { .. } => (16, 0),
            Self::Reloads { node, .. } => (17, node.0),
            Self::Commits => (18, 0),
            Self::Strikes { actor, .. } => (19, actor.0),
            Self::Relieves(_) => (20, 0),
            Self::Intends { node, .. } => (21, node.0),
            Self::PowersOn { node } => (22, node.0),
            Self::Judges => (23, 0),
            Self::Examines(_) => (24, 0),
        };
        kind << 8 | u64::from(who)
    }
}
