//! The simulated world: what it is made of, and the loop that lets things happen in order.
//!
//! Never decides for an instance and never draws on real time: the same seed and schedule give the
//! same world.

use crate::checker::Checker;
use crate::clock::{MILLISECOND, Moment};
use crate::faults::apply::Armed;
use crate::faults::{Fault, Mark};
use crate::figures::Figures;
use crate::happening::{Actor, Happening};
use crate::names::{NodeId, SLOTS};
use crate::network::Network;
use crate::node::Nodes;
use crate::queue::Queue;
use crate::rng::{Rng, fold};
use crate::server::stream::Connections;
use crate::store::Store;
use crate::trace::Trace;
use crate::wal::Forest;
use pgherd_core::intent::{Durability, Intent};
use pgherd_core::names::ClusterName;
use pgherd_core::timers::Timers;
use std::rc::Rc;

pub mod birth;

/// What kind of world it is; with a seed and a schedule it says everything.
#[derive(Debug, Clone)]
pub struct Config {
    pub seed: u64,
    pub instances: u8,
    pub first: NodeId,
    pub durability: Durability,
    pub timers: Timers,
    pub failover_delay: std::time::Duration,
    /// When faults end, and when the run ends.
    pub quiet_at: Moment,
    pub ends_at: Moment,
    /// Whether to write down what happens.
    pub traced: Traced,
    /// Whether clocks drift as far as the protocol allows.
    pub clocks: Clocks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clocks {
    Drifting,
    True,
    /// Each is so many millionths too fast.
    Given([i64; SLOTS as usize]),
}

#[derive(Debug)]
pub struct World {
    pub now: Moment,
    pub queue: Queue<Happening>,
    pub config: Config,
    pub cluster: ClusterName,
    pub nodes: Nodes,
    pub network: Network,
    pub store: Store,
    pub store_down: u8,
    pub store_grey: u8,
    pub forest: Forest,
    pub connections: Connections,
    /// What the user wants now; instances learn it in their own time.
    pub intent: Rc<Intent>,
    /// How often it has changed.
    pub intents: u64,
    pub armed: Vec<Armed>,
    /// When the first fault struck.
    pub struck: Option<Moment>,
    /// What was seen to happen just now, if a scenario watches.
    pub marks: Option<Vec<(Mark, NodeId)>>,
    pub checker: Checker,
    pub trace: Trace,
    pub figures: Figures,
    pub dice: Dice,
    pub fingerprint: u64,
}

/// Streams of randomness, one per concern.
#[derive(Debug)]
pub struct Dice {
    pub agent: Rng,
    pub server: Rng,
    pub store: Rng,
    pub client: Rng,
    pub fault: Rng,
}

impl World {
    /// Lets happen what happens until the run ends or an invariant breaks.
    pub fn run(&mut self) {
        while self.step() {}
        self.finish();
    }

    /// Lets the next thing happen; false when the run is over.
    pub fn step(&mut self) -> bool {
        if self.checker.is_broken() {
            return false;
        }
        let Some((at, happening)) = self.queue.take_next() else { return false };
        if at > self.config.ends_at {
            return false;
        }
        self.now = at;
        if let Some(marks) = &mut self.marks {
            marks.clear();
        }
        if let Some(later) = self.blocked(happening.actor()) {
            self.queue.add(later, happening);
            return true;
        }
        self.fingerprint = fold(self.fingerprint, at << 16 ^ happening.fingerprint());
        self.figures.happenings += 1;
        self.happen(happening);
        true
    }

    pub fn after(&mut self, delay: u64, happening: Happening) {
        self.queue.add(self.now.saturating_add(delay), happening);
    }

    /// The schedule's faults, from now on.
    pub fn expect(&mut self, faults: &[Fault]) {
        for fault in faults {
            self.arm(fault.clone());
        }
    }

    /// When somebody who cannot run now will run again.
    fn blocked(&mut self, actor: Actor) -> Option<Moment> {
        let until = match actor {
            Actor::Agent(node) => self.nodes[node].agent_blocked_until(),
            Actor::Server(node) => self.nodes[node].server_blocked_until(),
            Actor::World => 0,
        };
        // Whoever wakes first after a freeze is a matter of luck.
        (until > self.now).then(|| until + self.dice.fault.below(15 * MILLISECOND))
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::AgentStarts { node, life } => self.agent_starts(node, life),
            Happening::AgentResumes { node, life } => self.agent_resumes(node, life),
            Happening::Timer { node, life } => self.timer(node, life),
            Happening::Probe { node, life } => self.probe(node, life),
            Happening::FenceDue { node, life } => self.fence_due(node, life),
            Happening::TreeDead { node, process_id, killer } => {
                self.tree_dead(node, process_id, killer);
            }
            Happening::TaskDue { node, run } => self.task_due(node, run),
            Happening::Request(letter) => self.request_arrives(&letter),
            Happening::Reply(letter) => self.reply_arrives(*letter),
            Happening::StoreAsked(ask) => self.store_asked(&ask),
            Happening::StoreAnswered(answer) => self.store_answered(*answer),
            Happening::Connects { node, process_id, follow_number } => {
                self.connects(node, process_id, follow_number);
            }
            Happening::Received { standby, connection, upto } => {
                self.received(standby, connection, upto);
            }
            Happening::Acknowledged { primary, connection, upto } => {
                self.acknowledged(primary, connection, upto);
            }
            Happening::Closes { connection } => self.close(connection),
            Happening::FallsSilent { connection, since } => self.falls_silent(connection, since),
            Happening::Reloads { node, process_id, reader, version, rule } => {
                if self.nodes[node].process_id == process_id {
                    self.reloads(node, reader, version, rule);
                }
            }
            Happening::Commits => self.clients_commit(),
            Happening::Strikes { fault, actor } => self.strike(&fault, actor),
            Happening::Relieves(relief) => self.relieve(*relief),
            Happening::Intends { node, number, intent } => self.intends(node, number, intent),
            Happening::PowersOn { node } => self.power_on(node),
            Happening::Judges => self.judge_writers(),
            Happening::Examines(deadline) => self.examine(deadline),
        }
    }
}
