//! What must come true once faults are over: a primary, everybody behind it, and then silence.
//!
//! Never asks for it sooner than the slowest path of the protocol allows.

use crate::clock::{Moment, SECOND};
use crate::names::NodeId;
use crate::node::{Nodes, PrimaryState};
use crate::world::{Config, World};
use pgherd_core::intent::Durability;
use pgherd_core::record::Phase;
use pgherd_core::seen::Gate;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// Clients can write.
    Open,
    /// Everybody follows, and the record says so.
    Settled,
    /// Still so, and nobody has done anything but keep it going for a while.
    Still,
}

/// A term, a boot, and the work in between.
const OPEN_WITHIN: u64 = 26 * SECOND;
const SETTLED_WITHIN: u64 = 40 * SECOND;
const STILL_FOR: u64 = 4 * SECOND;

impl Deadline {
    pub const ALL: [Self; 3] = [Self::Open, Self::Settled, Self::Still];

    pub fn moment(self, config: &Config) -> Moment {
        match self {
            Self::Open => (config.quiet_at + OPEN_WITHIN).min(config.ends_at),
            Self::Settled => (config.quiet_at + SETTLED_WITHIN).min(config.ends_at),
            Self::Still => config.ends_at,
        }
    }
}

impl World {
    pub fn examine(&mut self, deadline: Deadline) {
        if deadline == Deadline::Open {
            self.network.calm_down();
        }
        let missing = match deadline {
            Deadline::Open => self.what_keeps_clients_out(),
            Deadline::Settled => self.what_is_unsettled(),
            Deadline::Still => self.what_is_unsettled().or_else(|| self.who_is_restless()),
        };
        if let Some(missing) = missing {
            self.checker.fail(self.now, "liveness", || format!("{deadline:?}: {missing}"));
        }
    }

    pub fn is_settled(&self) -> bool {
        self.what_is_unsettled().is_none()
    }

    pub fn is_open(&self) -> bool {
        self.what_keeps_clients_out().is_none()
    }

    /// The instance that clients write to, as long as all is well with it.
    pub fn writable_holder(&self) -> Option<NodeId> {
        let record = self.store.current()?;
        let holder = NodeId::of(&record.holder.instance);
        let node = &self.nodes[holder];
        let primary = node.primary()?;
        let same = node.agent.as_ref().is_some_and(|agent| agent.seen.me == record.holder);
        let open = primary.gate == Gate::Open && primary.state == PrimaryState::Running;
        let reserved = self.forest[primary.branch].timeline == record.timeline;
        (same && open && reserved && node.is_on()).then_some(holder)
    }

    fn what_keeps_clients_out(&self) -> Option<String> {
        match self.writable_holder() {
            Some(holder) if self.is_open_for_clients(holder) => None,
            Some(holder) => Some(format!("{holder} does not accept writes")),
            None => Some(match self.store.current() {
                Some(record) => format!("nobody serves; {}", crate::trace::summary(record)),
                None => "there is no record".to_owned(),
            }),
        }
    }

    pub fn what_is_unsettled(&self) -> Option<String> {
        if let Some(why) = self.what_keeps_clients_out() {
            return Some(why);
        }
        let holder = self.writable_holder()?;
        let wanted = |id: &NodeId| self.intent.instances.contains(&self.nodes[*id].name);
        for id in Nodes::ids().filter(wanted).filter(|id| *id != holder) {
            if !self.is_streaming(id, holder) {
                return Some(format!("{id} does not stream from {holder}"));
            }
        }
        self.what_the_record_lacks()
    }

    fn what_the_record_lacks(&self) -> Option<String> {
        let record = self.store.current()?;
        let shown = || Some(crate::trace::summary(record));
        let others = self.intent.instances.len().saturating_sub(1);
        if record.members != self.intent.instances || record.phase != Phase::Serving {
            return shown();
        }
        if record.grantors.len() != others {
            return shown();
        }
        let wanted = match self.intent.durability {
            Durability::Asynchronous { .. } => None,
            Durability::Required { acks } | Durability::Preferred { acks } => {
                Some(acks.min(others))
            }
        };
        let acks: Vec<usize> = record.quorum.iter().map(|pair| pair.acks).collect();
        let voters = record.quorum.iter().all(|pair| pair.voters.len() == others);
        let right = acks == Vec::from_iter(wanted) && (voters || others == 0);
        if right { None } else { shown() }
    }

    fn who_is_restless(&self) -> Option<String> {
        let wanted = |id: &NodeId| self.intent.instances.contains(&self.nodes[*id].name);
        Nodes::ids().filter(wanted).find_map(|id| {
            let agent = self.nodes[id].agent.as_ref()?;
            let idle = agent.last_act + STILL_FOR <= self.now;
            let verdict = agent.verdict.as_ref().map(crate::trace::described);
            (!idle).then(|| format!("{id} still acts: {}", verdict.unwrap_or_default()))
        })
    }

    /// The run is over.
    pub fn finish(&mut self) {
        let now = self.config.ends_at.min(self.now);
        self.figures.acknowledged_nothing_since(now);
    }
}
