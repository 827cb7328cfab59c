//! The fencing thread: kills the server when its time is over, whatever the agent's loop does.
//!
//! Never runs while its process is stopped or its machine frozen, and never looks at anything but
//! its deadline and two clocks.

use crate::agent::Wake;
use crate::clock::MILLISECOND;
use crate::faults::Mark;
use crate::happening::{Happening, Killer};
use crate::names::NodeId;
use crate::node::Process;
use crate::world::World;
use pgherd_core::notice::Event;

/// How often the thread looks at the clocks.
const TICK: u64 = 50 * MILLISECOND;

impl World {
    /// Sees to it that the thread looks at the clocks when its deadline passes.
    pub fn schedule_fence(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let life = node.life;
        let Some(agent) = &mut node.agent else { return };
        let Some(deadline) = agent.armed else { return };
        let due = node.machine.clock.moment(deadline.until).max(self.now);
        // One that is scheduled before that looks again when it finds the deadline moved.
        if agent.fence_wakes.is_some_and(|at| at <= due.saturating_add(TICK)) {
            return;
        }
        let at = due.saturating_add(self.dice.agent.below(TICK));
        agent.fence_wakes = Some(at);
        self.queue.add(at, Happening::FenceDue { node: id, life });
    }

    pub fn fence_due(&mut self, id: NodeId, life: u32) {
        let node = &mut self.nodes[id];
        let Some(agent) = node.agent.as_mut().filter(|_| node.life == life) else { return };
        if agent.fence_wakes.is_some_and(|at| at <= self.now) {
            agent.fence_wakes = None;
        }
        let Some(deadline) = agent.armed else { return };
        let over = node.machine.clock.local(self.now) >= deadline.until
            || node.machine.clock.calendar(self.now) >= deadline.calendar;
        if !over {
            self.schedule_fence(id);
            return;
        }
        agent.armed = None;
        if !matches!(node.process, Process::None) {
            let process_id = node.process_id;
            self.note(id, || "fencing thread: the time is over".to_owned());
            self.mark(Mark::TimeOver, id);
            let takes = self.kill_takes();
            let killer = Killer::Thread { life };
            self.after(takes, Happening::TreeDead { node: id, process_id, killer });
        }
    }

    pub fn tree_dead(&mut self, id: NodeId, process_id: u32, killer: Killer) {
        // Somebody else may have been quicker, and another server may run by now.
        let killed = self.nodes[id].process_id == process_id;
        if killed {
            self.kill_tree(id);
        }
        let alive = self.nodes[id].life;
        match killer {
            Killer::Step { life } if life == alive => {
                self.notice(id, Event::Reaped);
                self.agent_resumes(id, life);
            }
            Killer::Thread { life } if life == alive && killed => {
                self.abort_task(id);
                let process_id = self.nodes[id].process_id;
                self.wake(id, Wake::Fenced { process_id });
            }
            Killer::Cleaner { life } if life == alive => self.wake(id, Wake::Look),
            Killer::Step { .. }
            | Killer::Thread { .. }
            | Killer::Cleaner { .. }
            | Killer::Platform => {}
        }
    }
}
