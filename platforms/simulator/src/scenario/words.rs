//! The words of a scenario: what is done to whom and for how long, and upon what.
//!
//! Never does anything: each word is a fault, a mark or a property as data.

use crate::clock::{MILLISECOND, Moment, SECOND};
use crate::faults::{Fault, Mark, TaskKind, What, When, Who};
use crate::names::{NodeId, NodeSet};
use crate::scenario::STANDS;
use crate::world::World;
use pgherd_core::intent::Durability;
use pgherd_core::seen::Change;
use std::fmt;

/// Something that is done to somebody.
#[derive(Debug, Clone)]
pub struct Act {
    who: Who,
    what: What,
    lasts: u64,
}

/// Something that is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Cue {
    mark: Mark,
    by: Option<NodeId>,
    nth: u32,
    from: Moment,
    then: u64,
}

type Test = Box<dyn Fn(&World) -> bool + Send + Sync>;

/// Something that is true of the world or not.
pub struct Property {
    what: String,
    test: Test,
}

pub const fn secs(seconds: u64) -> u64 {
    seconds * SECOND
}

pub const fn ms(milliseconds: u64) -> u64 {
    milliseconds * MILLISECOND
}

/// The instance of a letter.
pub fn node(letter: &str) -> NodeId {
    NodeId::lettered(letter.chars().next().unwrap_or('a'))
}

/// An instance by its letter, or `holder`, or `actor`: whoever did what was waited for.
pub fn who(word: &str) -> Who {
    match word {
        "holder" => Who::Holder,
        "actor" => Who::Actor,
        letter => Who::Node(node(letter)),
    }
}

fn set(letters: &str) -> NodeSet {
    letters.chars().map(NodeId::lettered).collect()
}

/// Any fault, for those without a word of their own.
pub fn act(victim: &str, what: What) -> Act {
    Act { who: who(victim), what, lasts: 10 * SECOND }
}

/// Nothing passes between these two.
pub fn cut(one: &str, other: &str) -> Act {
    act(one, What::CutBoth(node(other)))
}

/// Nothing of the first one reaches the other.
pub fn cut_way(from: &str, to: &str) -> Act {
    act(from, What::CutTo(node(to)))
}

/// Out of reach of all instances, but not of the record.
pub fn isolate(victim: &str) -> Act {
    act(victim, What::Isolate)
}

/// Out of reach of all instances and of the record.
pub fn island(victim: &str) -> Act {
    act(victim, What::Island)
}

/// Messages from one to the other take exactly so much longer.
pub fn late(from: &str, to: &str, delay: u64) -> Act {
    act(from, What::LateTo(node(to), delay))
}

pub fn record_out_of_reach(victim: &str) -> Act {
    act(victim, What::StoreCut)
}

/// Writes of this instance are applied, but it is never told.
pub fn record_answers_lost(victim: &str) -> Act {
    act(victim, What::StoreAnswersCut)
}

/// What this instance asks of the record arrives so much later.
pub fn record_asked_late(victim: &str, delay: u64) -> Act {
    act(victim, What::StoreLate(delay))
}

pub fn record_down() -> Act {
    act("a", What::StoreDown)
}

/// Somebody restores the store as it was so many writes of the record ago.
pub fn restore_record(back: usize) -> Act {
    act("a", What::StoreRestored { back })
}

/// Somebody deletes it.
pub fn delete_record() -> Act {
    act("a", What::StoreDeleted)
}

/// The machine stands still, and its clocks with it.
pub fn freeze_with_clock(victim: &str) -> Act {
    act(victim, What::FreezeClock)
}

pub fn freeze(victim: &str) -> Act {
    act(victim, What::FreezeMachine)
}

pub fn crash_agent(victim: &str) -> Act {
    act(victim, What::AgentCrash)
}

pub fn kill_container(victim: &str) -> Act {
    act(victim, What::ContainerKill)
}

pub fn kill_postmaster(victim: &str) -> Act {
    act(victim, What::PostmasterKill)
}

pub fn crash_server(victim: &str) -> Act {
    act(victim, What::BackendCrash)
}

/// Its agent stands still, the thread that fences too; its server runs on.
pub fn stop_agent(victim: &str) -> Act {
    act(victim, What::StopAgent)
}

pub fn stop_server(victim: &str) -> Act {
    act(victim, What::StopServer)
}

pub fn hang(victim: &str) -> Act {
    act(victim, What::Hang)
}

/// Somebody copies the folder of this instance away.
pub fn take_copy(victim: &str) -> Act {
    act(victim, What::CopyTaken)
}

/// Somebody replaces the volume of this instance by one with that copy.
pub fn put_back_copy(victim: &str) -> Act {
    act(victim, What::CopyPutBack)
}

pub fn fill_disk(victim: &str) -> Act {
    act(victim, What::DiskFull)
}

pub fn lose(victim: &str) -> Act {
    act(victim, What::NodeLoss)
}

pub fn lose_all() -> Act {
    act("a", What::AllLost)
}

pub fn switch_over_to(target: &str) -> Act {
    act("a", What::Switchover(Some(node(target))))
}

pub fn switch_over() -> Act {
    act("a", What::Switchover(None))
}

pub fn scale_up() -> Act {
    act("a", What::ScaleUp)
}

pub fn scale_down(leaves: &str) -> Act {
    act("a", What::ScaleDown(node(leaves)))
}

pub fn pause() -> Act {
    act("a", What::Pause)
}

pub fn fence(victim: &str) -> Act {
    act(victim, What::Fence)
}

/// Its agent is asked to leave, as before a restart of its machine.
pub fn leave(victim: &str) -> Act {
    act(victim, What::Leave)
}

pub fn wish(durability: Durability) -> Act {
    act("a", What::Durability(durability))
}

pub fn restart(letters: &str) -> Act {
    act("a", What::Restart(set(letters)))
}

impl Act {
    pub fn lasting(mut self, lasts: u64) -> Self {
        self.lasts = lasts;
        self
    }

    pub(super) fn when(self, when: When) -> Fault {
        Fault { when, who: self.who, what: self.what, lasts: self.lasts }
    }
}

pub fn upon(mark: Mark) -> Cue {
    Cue { mark, by: None, nth: 1, from: STANDS, then: 0 }
}

pub fn begins(task: TaskKind) -> Cue {
    upon(Mark::Begins(task))
}

pub fn ends(task: TaskKind) -> Cue {
    upon(Mark::Ends(task))
}

pub fn sends(change: Change) -> Cue {
    upon(Mark::Sends(change))
}

pub fn applied(change: Change) -> Cue {
    upon(Mark::Applied(change))
}

/// Somebody says that it is sealed.
pub fn votes() -> Cue {
    upon(Mark::Votes)
}

impl Cue {
    pub fn by(mut self, letter: &str) -> Self {
        self.by = Some(node(letter));
        self
    }

    pub fn nth(mut self, nth: u32) -> Self {
        self.nth = nth;
        self
    }

    pub fn from(mut self, from: Moment) -> Self {
        self.from = from;
        self
    }

    pub fn then(mut self, then: u64) -> Self {
        self.then = then;
        self
    }

    pub(super) fn when(self) -> When {
        let Self { mark, by, nth, from, then } = self;
        When::Upon { mark, by, nth, from, then }
    }
}

impl Property {
    pub fn new(
        what: impl Into<String>,
        test: impl Fn(&World) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { what: what.into(), test: Box::new(test) }
    }

    pub fn holds(&self, world: &World) -> bool {
        (self.test)(world)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
