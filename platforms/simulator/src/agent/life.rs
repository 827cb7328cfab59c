//! Begin and end of an agent's life: what it keeps, and what happens to its server meanwhile.
//!
//! Never lets a server outlive its agent for longer than the fencing budget: the platform sees to
//! that, as it does for a container whose first process has died.

use crate::agent::{Agent, Wake};
use crate::clock::{MILLISECOND, SECOND};
use crate::happening::{Happening, Killer};
use crate::names::NodeId;
use crate::node::{Power, Process};
use crate::world::World;
use pgherd_core::record::Holder;
use pgherd_core::seen::Seen;

impl World {
    /// The platform starts an agent after a pause, as a new life.
    pub fn start_agent_after(&mut self, id: NodeId, pause: u64) {
        let node = &mut self.nodes[id];
        node.life += 1;
        let life = node.life;
        self.after(pause, Happening::AgentStarts { node: id, life });
    }

    pub fn agent_starts(&mut self, id: NodeId, life: u32) {
        let node = &self.nodes[id];
        if node.life != life || !node.is_on() || node.agent.is_some() {
            return;
        }
        // The platform starts nobody on top of a living server.
        self.kill_tree(id);
        let incarnation = self.dice.agent.draw();
        let node = &mut self.nodes[id];
        let began = node.local(self.now);
        let me = Holder { instance: node.name.clone(), volume: node.volume, incarnation };
        let grant = node.intent.timers.grant;
        let seen = Seen::new(me, node.durable.clone(), began, grant);
        node.agent = Some(Agent::new(seen, self.now));
        self.note(id, || "agent starts".to_owned());
        self.after(SECOND / 2, Happening::Probe { node: id, life });
        self.tell_intent(id);
        self.run_agent(id);
    }

    /// The agent dies; the platform kills what it leaves behind and starts it again.
    pub fn agent_dies(&mut self, id: NodeId) {
        if self.nodes[id].agent.is_none() {
            return;
        }
        self.end_agent(id);
        self.note(id, || "agent dies".to_owned());
        let node = &self.nodes[id];
        if !matches!(node.process, Process::None) {
            let process_id = node.process_id;
            let takes = self.kill_takes();
            let killer = Killer::Platform;
            self.after(takes, Happening::TreeDead { node: id, process_id, killer });
        }
        let pause = self.dice.agent.between(260 * MILLISECOND, 2 * SECOND);
        self.start_agent_after(id, pause);
    }

    /// The agent is gone, and with it whatever it was doing.
    pub fn end_agent(&mut self, id: NodeId) {
        self.abort_task(id);
        let node = &mut self.nodes[id];
        node.agent = None;
        node.life += 1;
    }

    /// The agent replaces its own program and keeps what it has seen, its server and its name; what
    /// it was waiting for is lost.
    pub fn agent_reexecutes(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let Some(agent) = node.agent.as_mut() else { return };
        if node.task.is_some() || !agent.is_between_plans() {
            return;
        }
        agent.reexecuted();
        agent.busy = true;
        node.life += 1;
        let life = node.life;
        self.note(id, || "agent re-executes itself".to_owned());
        let takes = self.dice.agent.between(20 * MILLISECOND, 200 * MILLISECOND);
        self.after(takes, Happening::AgentResumes { node: id, life });
        self.after(takes, Happening::Probe { node: id, life });
        self.schedule_fence(id);
    }

    pub fn power_off(&mut self, id: NodeId) {
        if !self.nodes[id].is_on() {
            return;
        }
        self.end_agent(id);
        self.kill_tree_silently(id);
        self.nodes[id].machine.power = Power::Off;
        self.note(id, || "loses power".to_owned());
    }

    pub fn power_on(&mut self, id: NodeId) {
        if self.nodes[id].machine.power == Power::On {
            return;
        }
        self.boot_machine(id);
        self.note(id, || "powers on".to_owned());
        let pause = self.dice.agent.between(100 * MILLISECOND, SECOND);
        self.start_agent_after(id, pause);
    }

    /// Both at once, as when a container is killed.
    pub fn container_dies(&mut self, id: NodeId) {
        if self.nodes[id].agent.is_none() {
            return;
        }
        self.end_agent(id);
        self.kill_tree(id);
        self.note(id, || "container dies".to_owned());
        let pause = self.dice.agent.between(200 * MILLISECOND, 3 * SECOND);
        self.start_agent_after(id, pause);
    }

    /// The postmaster is gone; the agent learns it at once and cleans up what is left.
    pub fn postmaster_gone(&mut self, id: NodeId) {
        let node = &self.nodes[id];
        let (life, process_id) = (node.life, node.process_id);
        if node.agent.is_some() {
            let takes = self.kill_takes();
            let killer = Killer::Cleaner { life };
            self.after(takes, Happening::TreeDead { node: id, process_id, killer });
        }
    }

    pub fn looks(&mut self, id: NodeId) {
        self.wake(id, Wake::Look);
    }
}
