//! Faults of machines, processes and servers.
//!
//! Never touches the network or the record.

use crate::agent::Agent;
use crate::clock::{MILLISECOND, SECOND};
use crate::faults::{Fault, What, Who};
use crate::happening::Happening;
use crate::names::NodeId;
use crate::node::{Control, Folder, Nodes, Power};
use crate::world::World;
use pgherd_core::seen::Durable;

/// What the fencing thread may take once it runs again: a tick, a kill, and a little luck.
const WAKING: u64 = 330 * MILLISECOND;
/// A throttled machine stands still once in each of these.
const SLICE: u64 = 100 * MILLISECOND;

impl World {
    /// Makes it so; true when something has to be undone in the end.
    pub(super) fn machine_fails(&mut self, what: What, node: NodeId, lasts: u64) -> bool {
        if !self.nodes[node].is_on() {
            return false;
        }
        match what {
            What::AgentCrash => self.agent_dies(node),
            What::AgentCrashAfter(steps) => {
                if let Some(agent) = &mut self.nodes[node].agent {
                    agent.steps_to_live = Some(steps);
                }
            }
            What::AgentReexecutes => self.agent_reexecutes(node),
            What::ContainerKill => self.container_dies(node),
            What::NodeLoss => self.lose_node(node, lasts),
            What::AllLost => self.lose_all(lasts),
            What::VolumeReplaced => self.replace_volume(node, lasts),
            What::CopyTaken => self.nodes[node].copy = self.nodes[node].folder.clone(),
            What::CopyPutBack => self.put_back_copy(node, lasts),
            What::PostmasterKill => self.postmaster_dies(node),
            What::BackendCrash => self.backend_crashes(node),
            What::Throttle(permille) => self.throttle(node, lasts, permille),
            What::CalendarStep(forward) => self.step_calendar(node, forward),
            What::Hang | What::DiskFull => return self.server_sickens(what, node),
            What::ReplayBacklog | What::SlowReload | What::WalGone | What::RewindFails => {
                self.server_weakens(what, node, lasts);
            }
            _ => self.stop_running(what, node, lasts),
        }
        false
    }

    /// Something cannot run for a while, and goes on afterwards as if nothing had been.
    fn stop_running(&mut self, what: What, node: NodeId, lasts: u64) {
        let until = self.now + lasts;
        let machine = &mut self.nodes[node].machine;
        let mut excused = until + WAKING;
        match what {
            What::StopAgent => machine.agent_stopped_until = machine.agent_stopped_until.max(until),
            What::StopServer => {
                machine.server_stopped_until = machine.server_stopped_until.max(until);
            }
            What::StopBoth => {
                machine.agent_stopped_until = machine.agent_stopped_until.max(until);
                machine.server_stopped_until = machine.server_stopped_until.max(until);
            }
            What::FreezeClock if until > machine.frozen_until => {
                let from = machine.frozen_until.max(self.now);
                machine.clock.stand_still(until - from);
                machine.frozen_until = until;
                let armed = self.nodes[node].agent.as_ref().and_then(Agent::is_armed_until);
                let clock = &self.nodes[node].machine.clock;
                excused =
                    excused.max(armed.map_or(0, |at| clock.moment(at).saturating_add(WAKING)));
            }
            _ => machine.frozen_until = machine.frozen_until.max(until),
        }
        if what == What::StopServer {
            self.nodes[node].trouble.stopped_since = Some(self.now);
        } else {
            self.excuse(node, excused);
        }
        self.watch_connections(node);
    }

    /// The instance cannot fence itself in time until then.
    fn excuse(&mut self, node: NodeId, until: u64) {
        let machine = &mut self.nodes[node].machine;
        machine.excused_until = machine.excused_until.max(until);
        self.queue.add(until.saturating_add(1), Happening::Judges);
        if let Some(branch) = self.nodes[node].primary().map(|primary| primary.branch) {
            self.forest[branch].tainted = true;
        }
    }

    fn throttle(&mut self, node: NodeId, lasts: u64, permille: u64) {
        let mut at = 0;
        while at < lasts {
            let lasts = SLICE * permille.min(990) / 1000;
            let fault = Fault::at(self.now + at, Who::Node(node), What::FreezeMachine, lasts);
            self.after(at, Happening::Strikes { fault, actor: node });
            at += SLICE;
        }
    }

    fn lose_node(&mut self, node: NodeId, lasts: u64) {
        self.power_off(node);
        self.after(lasts, Happening::PowersOn { node });
    }

    fn lose_all(&mut self, lasts: u64) {
        for node in Nodes::ids().filter(|id| self.nodes[*id].is_on()).collect::<Vec<_>>() {
            let pause = lasts / 2 + self.dice.fault.below(lasts / 2 + 1);
            self.lose_node(node, pause);
        }
    }

    /// Only while everything is well: with another copy missing, this would be real loss.
    fn replace_volume(&mut self, node: NodeId, lasts: u64) {
        if !self.is_settled() || self.intent.instances.len() < 2 || self.is_set_back() {
            return;
        }
        if let Some(branch) = self.nodes[node].primary().map(|primary| primary.branch) {
            self.forest[branch].tainted = true;
        }
        self.change_volume(node, None, lasts.max(SECOND));
    }

    /// Whoever restores an instance by hand knows nothing of what it had promised since.
    fn put_back_copy(&mut self, node: NodeId, lasts: u64) {
        let copy = self.nodes[node].copy.take();
        let crashed = Control::Crashed { scanned: false };
        let folder = copy.map(|copy| Folder { control: crashed, ..copy });
        self.change_volume(node, folder, lasts);
    }

    fn change_volume(&mut self, node: NodeId, folder: Option<Folder>, lasts: u64) {
        self.power_off(node);
        let volume = self.dice.fault.draw();
        let machine = &mut self.nodes[node];
        machine.folder = folder;
        machine.durable = Durable::default();
        machine.volume = volume;
        machine.heard = None;
        self.after(lasts, Happening::PowersOn { node });
    }

    /// Whether the store holds another record than the holder believes.
    fn is_set_back(&self) -> bool {
        let Some(record) = self.store.current() else { return true };
        let agent = self.nodes[NodeId::of(&record.holder.instance)].agent.as_ref();
        agent.is_none_or(|agent| agent.seen.record.value.as_ref() != Some(record))
    }

    fn step_calendar(&mut self, node: NodeId, forward: u64) {
        let slot = &mut self.nodes[node];
        slot.machine.clock.step(forward);
        let life = slot.life;
        let tick = self.dice.fault.below(50 * MILLISECOND);
        self.after(tick, Happening::FenceDue { node, life });
    }

    fn server_sickens(&mut self, what: What, node: NodeId) -> bool {
        if what == What::DiskFull {
            self.nodes[node].trouble.disk_full += 1;
            let panics = self.nodes[node].primary().is_some() && self.dice.fault.chance(500);
            if panics {
                self.backend_crashes(node);
            }
            return true;
        }
        let runs = !matches!(self.nodes[node].process, crate::node::Process::None);
        if runs && self.nodes[node].trouble.hung_since.is_none() {
            self.nodes[node].trouble.hung_since = Some(self.now);
            self.watch_connections(node);
            return true;
        }
        false
    }

    fn server_weakens(&mut self, what: What, node: NodeId, lasts: u64) {
        let until = self.now + lasts;
        // A log that is gone just when the primary is lost for good would be real loss.
        let spared = self.nodes[node].primary().is_some() || !self.is_settled();
        let receiver = self.nodes[node].standby().and_then(|standby| standby.receiver);
        let trouble = &mut self.nodes[node].trouble;
        match what {
            What::ReplayBacklog => trouble.backlog_until = trouble.backlog_until.max(until),
            What::SlowReload => trouble.slow_reload_until = trouble.slow_reload_until.max(until),
            What::WalGone if !spared => {
                trouble.wal_gone = true;
                if let Some(connection) = receiver {
                    self.close(connection);
                }
            }
            What::WalGone => {}
            _ => trouble.rewind_fails = true,
        }
    }

    /// The platform takes away the machine of an instance that nobody wants any more.
    pub fn remove_machine(&mut self, node: NodeId) {
        self.power_off(node);
        let slot = &mut self.nodes[node];
        slot.machine.power = Power::Nowhere;
        slot.folder = None;
        slot.durable = Durable::default();
    }
}
