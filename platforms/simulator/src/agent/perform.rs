//! Performs one step of a plan, as the contract between core and its drivers says.
//!
//! Never performs two steps as one: an agent may die between any two.

use crate::agent::{Agent, Deadline};
use crate::clock::MILLISECOND;
use crate::faults::Mark;
use crate::happening::{Happening, Killer};
use crate::names::NodeId;
use crate::node::Process;
use crate::world::World;
use pgherd_core::message::Request;
use pgherd_core::notice::Event;
use pgherd_core::plan::{Step, Task};
use pgherd_core::seen::{Change, Durable};
use pgherd_core::units::Time;

/// Until the next plan after a step that failed.
const PUT_OFF: u64 = 500 * MILLISECOND;

impl World {
    pub fn perform(&mut self, id: NodeId, step: Step) {
        if self.dies_now(id) {
            self.agent_dies(id);
            return;
        }
        match step {
            Step::Persist(durable) => self.persist(id, durable),
            Step::Remember(note) => self.notice(id, Event::Remembered(note)),
            Step::Send { to, request } => {
                self.send(id, NodeId::of(&to), request.clone());
                self.notice(id, Event::Sent { to, request });
            }
            Step::ReadRecord => {
                self.ask_store(id, None);
                self.notice(id, Event::ReadSent);
            }
            Step::WriteRecord { write, change } => {
                self.mark(Mark::Sends(change), id);
                if change == Change::Claim {
                    let node = &mut self.nodes[id];
                    node.voted = node.voted.max(write.record.epoch);
                }
                self.ask_store(id, Some((write.clone(), change)));
                self.notice(id, Event::WriteSent { write, change });
            }
            Step::Arm { until, .. } => self.arm_fence(id, until),
            Step::Disarm => {
                if let Some(agent) = &mut self.nodes[id].agent {
                    agent.armed = None;
                }
            }
            Step::Fence { because } => {
                self.note(id, || format!("fences: {because}"));
                self.mark(Mark::Fences, id);
                self.fence(id);
            }
            Step::Perform(task) => self.start_task(id, task),
        }
    }

    pub fn agent_resumes(&mut self, id: NodeId, life: u32) {
        if self.nodes[id].life != life {
            return;
        }
        if let Some(agent) = &mut self.nodes[id].agent {
            agent.busy = false;
            self.run_agent(id);
        }
    }

    fn dies_now(&mut self, id: NodeId) -> bool {
        let over = self.now >= self.config.quiet_at;
        let Some(agent) = self.nodes[id].agent.as_mut().filter(|_| !over) else { return false };
        match agent.steps_to_live.as_mut() {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn persist(&mut self, id: NodeId, durable: Durable) {
        self.check_durable(id, &durable);
        self.nodes[id].durable = durable.clone();
        self.notice(id, Event::Persisted(durable));
        self.mark(Mark::Persists, id);
        let fsync = self.dice.agent.between(MILLISECOND / 5, 6 * MILLISECOND);
        self.pause_agent(id, fsync);
    }

    fn pause_agent(&mut self, id: NodeId, pause: u64) {
        let life = self.nodes[id].life;
        if let Some(agent) = &mut self.nodes[id].agent {
            agent.busy = true;
            self.after(pause, Happening::AgentResumes { node: id, life });
        }
    }

    fn send(&mut self, id: NodeId, to: NodeId, request: Request) {
        if let Request::Released(released) = &request {
            self.check_release(id, released.epoch);
            self.mark(Mark::AnnouncesRelease, id);
        }
        self.post(id, to, request);
    }

    fn arm_fence(&mut self, id: NodeId, until: Time) {
        let node = &mut self.nodes[id];
        let left = until.since(node.local(self.now));
        let calendar = node.machine.clock.calendar(self.now).after(left);
        if let Some(agent) = &mut node.agent {
            agent.armed = Some(Deadline { until, calendar });
        }
        self.notice(id, Event::Armed { until });
        self.schedule_fence(id);
        // The agent or its machine stood still since the plan was made: the rest is put off.
        if left.is_zero() {
            self.put_off(id);
        }
    }

    fn put_off(&mut self, id: NodeId) {
        self.note(id, || "the time is over: the rest of the plan is put off".to_owned());
        self.mark(Mark::PutsOff, id);
        if let Some(agent) = &mut self.nodes[id].agent {
            agent.steps.clear();
            agent.must_plan = false;
        }
        self.set_timer(id, PUT_OFF);
    }

    /// Kills the whole tree and waits until it is reaped.
    fn fence(&mut self, id: NodeId) {
        self.abort_task(id);
        let node = &self.nodes[id];
        let (life, process_id) = (node.life, node.process_id);
        if matches!(node.process, Process::None) {
            self.notice(id, Event::Reaped);
            return;
        }
        if let Some(agent) = &mut self.nodes[id].agent {
            agent.busy = true;
        }
        let takes = self.kill_takes();
        let killer = Killer::Step { life };
        self.after(takes, Happening::TreeDead { node: id, process_id, killer });
    }

    /// How long it takes to kill and reap a whole tree.
    pub fn kill_takes(&mut self) -> u64 {
        self.dice.agent.between(10 * MILLISECOND, 250 * MILLISECOND)
    }

    fn start_task(&mut self, id: NodeId, task: Task) {
        self.notice(id, Event::Started(task.clone()));
        self.begin_task(id, task);
    }
}

impl Agent {
    pub fn is_armed_until(&self) -> Option<Time> {
        self.armed.map(|deadline| deadline.until)
    }
}
