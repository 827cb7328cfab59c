//! One instance as the world knows it: its machine, its disk, its server and its agent.
//!
//! Never decides; the agent's `plan` does, from what the looks at this show it.

use crate::agent::Agent;
use crate::clock::{LocalClock, Moment};
use crate::names::{CommitRule, NodeId, SLOTS};
use crate::server::stream::ConnectionId;
use crate::wal::{BranchId, LogEnd};
use pgherd_core::intent::Intent;
use pgherd_core::names::InstanceName;
use pgherd_core::plan::Task;
use pgherd_core::seen::{Durable, Gate, Obeyed, Pending};
use pgherd_core::units::{Epoch, Lsn, SystemId, Time, Timeline};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

#[derive(Debug)]
pub struct Node {
    pub id: NodeId,
    pub name: InstanceName,
    pub machine: Machine,
    pub agent: Option<Agent>,
    /// Counts agents, so that what was meant for an earlier one is recognised.
    pub life: u32,
    pub durable: Durable,
    pub volume: u64,
    pub intent: Rc<Intent>,
    /// Which of the user's intents that is.
    pub intent_number: u64,
    pub task: Option<TaskRun>,
    /// Counts tasks.
    pub runs: u32,
    pub folder: Option<Folder>,
    /// An older copy of it that somebody keeps.
    pub copy: Option<Folder>,
    pub process: Process,
    /// Counts server processes.
    pub process_id: u32,
    pub trouble: Trouble,
    /// The configuration number the server runs with.
    pub configuration: u64,
    /// Some of it counts only from its next start on.
    pub pending: Pending,
    /// When the log last grew, on its own clock.
    pub progress: Option<Time>,
    /// How long crash recovery takes from now on.
    pub redo: u64,
    /// The highest epoch for which it has told somebody, or itself, where its log ends for good.
    pub voted: Epoch,
    /// Where the log of the epoch it follows ended, as it last heard.
    pub heard: Option<(Epoch, Lsn)>,
}

#[derive(Debug)]
pub struct Machine {
    pub power: Power,
    pub clock: LocalClock,
    pub frozen_until: Moment,
    pub agent_stopped_until: Moment,
    pub server_stopped_until: Moment,
    /// Until then its server may write although its time is over: it could not run, so it could
    /// not fence itself.
    pub excused_until: Moment,
    /// Requests to the record's store, and answers from it, that are being lost.
    pub asks_cut: u8,
    pub answers_cut: u8,
    /// Requests to the record's store take so much longer.
    pub asks_late: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// The instance does not exist, or not yet.
    Nowhere,
    On,
    Off,
}

/// What is wrong with the server or its disk, for the time being.
#[derive(Debug, Default)]
pub struct Trouble {
    pub disk_full: u8,
    pub hung_since: Option<Moment>,
    pub stopped_since: Option<Moment>,
    pub backlog_until: Moment,
    pub slow_reload_until: Moment,
    /// The log it would need next is gone from the primary.
    pub wal_gone: bool,
    /// The next rewind fails half-way.
    pub rewind_fails: bool,
}

/// PGDATA.
#[derive(Debug, Clone)]
pub struct Folder {
    pub system_id: SystemId,
    pub log: LogEnd,
    /// The highest timeline that PostgreSQL would find here when it looks for a free one.
    pub visible: Timeline,
    pub control: Control,
    /// A rewind did not come to its end: what is here is neither old nor new.
    pub half_rewound: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    CleanPrimary,
    CleanStandby,
    Crashed { scanned: bool },
}

#[derive(Debug)]
pub enum Process {
    None,
    Starting,
    Standby(StandbyProcess),
    Primary(PrimaryProcess),
}

#[derive(Debug, Default)]
pub struct StandbyProcess {
    pub follows: Option<FollowedBy>,
    pub replayed: Lsn,
    /// Replay of what was there at the start is not through before.
    pub replays_by: Moment,
    /// Something was received since the start: from then on the end of the log is known.
    pub received: bool,
    pub receiver: Option<ConnectionId>,
    /// Counts what it was told to follow, so that older attempts to connect end.
    pub follow_number: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct FollowedBy {
    pub primary: NodeId,
    pub epoch: Epoch,
}

#[derive(Debug)]
pub struct PrimaryProcess {
    /// The epoch under which it was opened; the holder's may have been raised since.
    pub epoch: Epoch,
    pub branch: BranchId,
    pub gate: Gate,
    pub obeys: Option<Obeyed>,
    /// What the configuration file says; `None` in asynchronous mode.
    pub file_rule: Option<CommitRule>,
    pub postmaster_rule: Option<CommitRule>,
    /// Counts changes of the configuration file, as each process has read it.
    pub file_version: u32,
    pub postmaster_version: u32,
    pub checkpointer_version: u32,
    /// Whether backends wait at all: set by the checkpointer.
    pub waits: bool,
    pub senders: BTreeMap<NodeId, ConnectionId>,
    pub waiting: VecDeque<Lsn>,
    pub checkpointed: bool,
    pub state: PrimaryState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrimaryState {
    Running,
    /// A clean stop has ended all sessions.
    Stopping,
    /// The postmaster is dead and its children live on.
    Orphaned,
}

#[derive(Debug, Clone)]
pub struct TaskRun {
    pub number: u32,
    pub task: Task,
    pub began: Moment,
    pub process_id: u32,
    /// How far a task with several stages has come.
    pub stage: u8,
}

impl Node {
    pub fn primary(&self) -> Option<&PrimaryProcess> {
        match &self.process {
            Process::Primary(primary) => Some(primary),
            Process::None | Process::Starting | Process::Standby(_) => None,
        }
    }

    pub fn primary_mut(&mut self) -> Option<&mut PrimaryProcess> {
        match &mut self.process {
            Process::Primary(primary) => Some(primary),
            Process::None | Process::Starting | Process::Standby(_) => None,
        }
    }

    pub fn standby(&self) -> Option<&StandbyProcess> {
        match &self.process {
            Process::Standby(standby) => Some(standby),
            Process::None | Process::Starting | Process::Primary(_) => None,
        }
    }

    pub fn standby_mut(&mut self) -> Option<&mut StandbyProcess> {
        match &mut self.process {
            Process::Standby(standby) => Some(standby),
            Process::None | Process::Starting | Process::Primary(_) => None,
        }
    }

    pub fn is_on(&self) -> bool {
        self.machine.power == Power::On
    }

    pub fn log(&self) -> Option<LogEnd> {
        self.folder.as_ref().map(|folder| folder.log)
    }

    pub fn local(&self, now: Moment) -> Time {
        self.machine.clock.local(now)
    }

    /// Until when the processes of the agent cannot run.
    pub fn agent_blocked_until(&self) -> Moment {
        self.machine.frozen_until.max(self.machine.agent_stopped_until)
    }

    /// Until when the processes of the server cannot run.
    pub fn server_blocked_until(&self) -> Moment {
        self.machine.frozen_until.max(self.machine.server_stopped_until)
    }

    /// Whether the server does what it is asked.
    pub fn server_answers(&self, now: Moment) -> bool {
        self.is_on() && self.server_blocked_until() <= now && self.trouble.hung_since.is_none()
    }
}

/// All slots, by id.
#[derive(Debug)]
pub struct Nodes(pub Vec<Node>);

impl Nodes {
    pub fn ids() -> impl Iterator<Item = NodeId> {
        (0..SLOTS).map(NodeId)
    }
}

impl std::ops::Index<NodeId> for Nodes {
    type Output = Node;

    #[expect(clippy::indexing_slicing, reason = "every id below SLOTS has a slot")]
    fn index(&self, id: NodeId) -> &Node {
        &self.0[usize::from(id.0)]
    }
}

impl std::ops::IndexMut<NodeId> for Nodes {
    #[expect(clippy::indexing_slicing, reason = "every id below SLOTS has a slot")]
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.0[usize::from(id.0)]
    }
}
