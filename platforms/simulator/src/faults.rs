//! What can go wrong, and what people do meanwhile: the words of a schedule.
//!
//! Never does anything; [`apply`] does. A schedule is a plain list, so that it can be shrunk.

use crate::clock::Moment;
use crate::names::{NodeId, NodeSet};
use pgherd_core::intent::Durability;
use pgherd_core::plan::Task;
use pgherd_core::seen::Change;
use std::fmt;

pub mod apply;
pub mod machines;
pub mod people;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub when: When,
    pub who: Who,
    pub what: What,
    /// How long it lasts, where that means something.
    pub lasts: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(Moment),
    /// So long after something was seen to happen for the `nth` time, counted from 1, at or after
    /// `from`.
    Upon {
        mark: Mark,
        /// Done by this one; otherwise by anybody.
        by: Option<NodeId>,
        nth: u32,
        from: Moment,
        then: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Node(NodeId),
    /// Whoever the record names, when it strikes.
    Holder,
    /// The first, second, ... instance that the record does not name.
    Other(u8),
    /// Whoever did what was waited for.
    Actor,
}

/// Something that a fault can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Begins(TaskKind),
    Ends(TaskKind),
    /// A write of the record leaves for the store.
    Sends(Change),
    /// A write of the record is applied.
    Applied(Change),
    Persists,
    SealsAnother,
    AnnouncesRelease,
    Fences,
    /// The fencing thread finds that the time is over.
    TimeOver,
    /// The agent finds so in the middle of a plan, and does not go on with it.
    PutsOff,
    /// Somebody says in a ballot that it is sealed.
    Votes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    Initialise,
    Start,
    Seal,
    Follow,
    Promote,
    Obey,
    OpenGate,
    Checkpoint,
    Stop,
    Reload,
    ScanEnd,
    FetchTail,
    Rewind,
    Clone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    // The network.
    /// Nothing from this instance reaches the other; or both ways.
    CutTo(NodeId),
    CutBoth(NodeId),
    Isolate,
    /// Out of reach of everybody, and the store out of its reach.
    Island,
    /// So many of a thousand messages of this instance are lost.
    Lose(u64),
    /// Messages of this instance take so much longer.
    Delay(u64),
    /// Messages of this instance to that one take exactly so much longer.
    LateTo(NodeId, u64),
    // The record.
    StoreDown,
    /// Half of the requests fail, are late, or are applied although the answer is lost.
    StoreGrey,
    /// The store is out of reach of this instance; requests, answers or both are lost.
    StoreCut,
    StoreAsksCut,
    StoreAnswersCut,
    /// What this instance asks of the store arrives so much later.
    StoreLate(u64),
    StoreDeleted,
    StoreRestored {
        back: usize,
    },
    StoreTouched,
    // Machines and processes.
    FreezeMachine,
    /// As above, and its clocks stand still meanwhile.
    FreezeClock,
    StopAgent,
    StopServer,
    StopBoth,
    /// So many of a thousand microseconds everything stands, in slices of 100 ms.
    Throttle(u64),
    AgentCrash,
    /// The agent dies after so many more steps.
    AgentCrashAfter(u32),
    AgentReexecutes,
    /// Agent and server die at once; the platform starts the agent again.
    ContainerKill,
    NodeLoss,
    AllLost,
    /// The instance comes back with an empty volume.
    VolumeReplaced,
    /// Somebody keeps a copy of the folder as it is now.
    CopyTaken,
    /// The instance comes back with another volume, and on it that copy.
    CopyPutBack,
    /// The calendar jumps forward.
    CalendarStep(u64),
    // The server.
    PostmasterKill,
    BackendCrash,
    Hang,
    DiskFull,
    ReplayBacklog,
    SlowReload,
    WalGone,
    RewindFails,
    // People.
    Switchover(Option<NodeId>),
    ScaleUp,
    ScaleDown(NodeId),
    Pause,
    Fence,
    Leave,
    Durability(Durability),
    StopAll,
    Restart(NodeSet),
    Reconfigure,
}

/// The end of a fault that lasts.
#[derive(Debug, Clone, Copy)]
pub struct Relief {
    pub what: What,
    pub node: NodeId,
}

impl TaskKind {
    pub fn of(task: &Task) -> Self {
        match task {
            Task::Initialise => Self::Initialise,
            Task::Start { .. } => Self::Start,
            Task::Seal { .. } => Self::Seal,
            Task::Follow { .. } => Self::Follow,
            Task::Promote { .. } => Self::Promote,
            Task::Obey { .. } => Self::Obey,
            Task::OpenGate { .. } => Self::OpenGate,
            Task::Checkpoint { .. } => Self::Checkpoint,
            Task::Stop { .. } => Self::Stop,
            Task::Reload { .. } => Self::Reload,
            Task::ScanEnd => Self::ScanEnd,
            Task::FetchTail { .. } => Self::FetchTail,
            Task::Rewind { .. } => Self::Rewind,
            Task::Clone { .. } => Self::Clone,
        }
    }
}

impl Fault {
    pub fn at(moment: Moment, who: Who, what: What, lasts: u64) -> Self {
        Self { when: When::At(moment), who, what, lasts }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.when {
            When::At(at) => write!(f, "at {:.3}s", seconds(at))?,
            When::Upon { mark, by, nth, from, then } => write!(
                f,
                "{:.3}s after {mark:?} by {by:?} number {nth} from {:.3}s",
                seconds(then),
                seconds(from)
            )?,
        }
        write!(f, ": {:?} {:?} for {:.3}s", self.who, self.what, seconds(self.lasts))
    }
}

#[expect(clippy::cast_precision_loss, reason = "for reading only")]
pub fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}
