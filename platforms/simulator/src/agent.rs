//! The agent's loop in virtual time: the same core code, driven by the same contract as the real
//! agent drives it.
//!
//! Never decides and never skips a step: what it does between two plans is what the plan said.

use crate::clock::{MILLISECOND, Moment, SECOND};
use crate::happening::{Happening, Letter};
use crate::names::NodeId;
use crate::node::Process;
use crate::world::World;
use pgherd_core::audit::audit;
use pgherd_core::instance;
use pgherd_core::message::{Reply, Request};
use pgherd_core::notice::Event;
use pgherd_core::plan::{Outcome, Plan, Step, Task, Verdict};
use pgherd_core::record::Record;
use pgherd_core::seen::Seen;
use pgherd_core::units::Time;
use std::collections::VecDeque;

pub mod fencing;
pub mod life;
pub mod perform;
pub mod post;
pub mod record;

/// How often plans may follow each other without anything happening in between.
const REPLANS: u32 = 16;
/// How often a plan is made twice, to see that it is the same.
const PURITY_EVERY: u64 = 32;

#[derive(Debug)]
pub struct Agent {
    pub seen: Seen,
    inbox: VecDeque<Wake>,
    steps: VecDeque<Step>,
    /// What to note and to say once the steps are done.
    reply: Option<Pending>,
    must_plan: bool,
    replans: u32,
    /// A step takes time: nothing else happens in this agent until then.
    pub busy: bool,
    timer_at: Option<Moment>,
    /// For when a happening is queued that will look at it; later ones are stale.
    timer_queued: Option<Moment>,
    pub armed: Option<Deadline>,
    /// When the fencing thread is next woken.
    pub fence_wakes: Option<Moment>,
    /// The agent dies after so many more steps.
    pub steps_to_live: Option<u32>,
    pub verdict: Option<Verdict>,
    /// When it last did more than keep things going.
    pub last_act: Moment,
    plans: u64,
}

/// What the fencing thread was given, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    pub until: Time,
    pub calendar: Time,
}

#[derive(Debug)]
pub enum Wake {
    Noticed(Event),
    /// The fencing thread has killed the server; `process_id` is what the next one counts from.
    Fenced {
        process_id: u32,
    },
    /// Look at the server, and note what is there.
    Look,
    Asked(Letter),
    /// A task has ended; a fresh look comes before its end is noted.
    Ended {
        task: Task,
        outcome: Outcome,
    },
    Timer,
}

#[derive(Debug)]
struct Pending {
    to: NodeId,
    life: u32,
    reply: Reply,
    heard: Option<Event>,
    deadline: Moment,
}

impl Agent {
    pub fn new(seen: Seen, now: Moment) -> Self {
        Self {
            seen,
            inbox: VecDeque::from([Wake::Look]),
            steps: VecDeque::new(),
            reply: None,
            must_plan: true,
            replans: 0,
            busy: false,
            timer_at: None,
            timer_queued: None,
            armed: None,
            fence_wakes: None,
            steps_to_live: None,
            verdict: None,
            last_act: now,
            plans: 0,
        }
    }

    /// Forgets what was under way, but not what was seen: it re-executed itself.
    pub fn reexecuted(&mut self) {
        self.inbox = VecDeque::from([Wake::Look]);
        self.steps.clear();
        self.reply = None;
        self.must_plan = true;
        self.busy = false;
        self.timer_at = None;
        self.timer_queued = None;
        self.fence_wakes = None;
    }

    pub fn is_between_plans(&self) -> bool {
        !self.busy && self.steps.is_empty() && self.reply.is_none()
    }
}

impl World {
    /// Something happened that this agent, if it lives, takes note of.
    pub fn wake(&mut self, id: NodeId, wake: Wake) {
        if let Some(agent) = &mut self.nodes[id].agent {
            agent.inbox.push_back(wake);
            self.run_agent(id);
        }
    }

    pub fn notice(&mut self, id: NodeId, event: Event) {
        let now = self.nodes[id].local(self.now);
        if let Some(agent) = &mut self.nodes[id].agent {
            agent.seen.notice(event, now);
        }
    }

    pub fn timer(&mut self, id: NodeId, life: u32) {
        let node = &mut self.nodes[id];
        let Some(agent) = node.agent.as_mut().filter(|_| node.life == life) else { return };
        if agent.timer_queued.is_none_or(|queued| queued > self.now) {
            return;
        }
        agent.timer_queued = None;
        match agent.timer_at {
            Some(at) if at <= self.now => {
                agent.timer_at = None;
                self.wake(id, Wake::Timer);
            }
            Some(at) => self.queue_timer(id, at),
            None => {}
        }
    }

    /// The periodic look at the server.
    pub fn probe(&mut self, id: NodeId, life: u32) {
        let node = &self.nodes[id];
        let Some(agent) = node.agent.as_ref().filter(|_| node.life == life) else { return };
        let often = matches!(node.process, Process::Primary(_)) || agent.seen.ballot.is_some();
        let pause = if often {
            100 * MILLISECOND
        } else {
            self.dice.agent.between(500 * MILLISECOND, SECOND)
        };
        self.after(pause, Happening::Probe { node: id, life });
        self.wake(id, Wake::Look);
    }

    /// Carries on where it stopped: steps, then the reply, then a plan, then the next event.
    pub fn run_agent(&mut self, id: NodeId) {
        loop {
            let Some(agent) = &mut self.nodes[id].agent else { return };
            if agent.busy {
                return;
            }
            if let Some(step) = agent.steps.pop_front() {
                self.perform(id, step);
            } else if let Some(pending) = agent.reply.take() {
                self.send_reply(id, pending);
            } else if agent.must_plan {
                self.plan(id);
            } else if let Some(wake) = agent.inbox.pop_front() {
                agent.must_plan = true;
                agent.replans = 0;
                self.take_in(id, wake);
            } else {
                return;
            }
        }
    }

    fn take_in(&mut self, id: NodeId, wake: Wake) {
        match wake {
            Wake::Noticed(event) => self.notice(id, event),
            // The loop may have killed it as well, and have started another one since.
            Wake::Fenced { process_id } => {
                if self.nodes[id].process_id == process_id {
                    self.notice(id, Event::Reaped);
                }
            }
            Wake::Look => {
                let looked = self.look(id);
                self.notice(id, looked);
            }
            Wake::Asked(letter) => self.answer(id, &letter),
            Wake::Ended { task, outcome } => {
                let looked = self.look(id);
                self.notice(id, looked);
                self.notice(id, Event::Finished { task, outcome });
            }
            Wake::Timer => {}
        }
    }

    fn plan(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let now = node.local(self.now);
        let Some(agent) = &mut node.agent else { return };
        let plan = instance::plan(&node.intent, &agent.seen, now);
        self.figures.plans += 1;
        agent.plans += 1;
        if agent.plans.is_multiple_of(PURITY_EVERY) {
            let again = instance::plan(&node.intent, &agent.seen, now);
            if again != plan {
                self.checker.fail(self.now, "S14", || format!("{id} planned two things at once"));
            }
        }
        let refused = audit(&plan, &node.intent, &agent.seen, now).err();
        if let Some(refusal) = refused {
            self.checker.fail(self.now, "audit", || format!("{id}: {refusal}"));
            agent.must_plan = false;
            self.set_timer(id, 500 * MILLISECOND);
            return;
        }
        self.follow_plan(id, plan);
    }

    fn follow_plan(&mut self, id: NodeId, plan: Plan) {
        let now = self.now;
        let pause = u64::try_from(plan.look_again_after.as_micros()).unwrap_or(u64::MAX);
        self.trace_verdict(id, &plan.verdict);
        let Some(agent) = &mut self.nodes[id].agent else { return };
        let record = agent.seen.record.value.as_ref();
        if !plan.steps.iter().all(|step| is_routine(step, record)) {
            agent.last_act = now;
        }
        agent.verdict = Some(plan.verdict);
        if plan.steps.is_empty() {
            agent.must_plan = false;
            self.set_timer(id, pause);
            return;
        }
        agent.steps = VecDeque::from(plan.steps);
        agent.replans += 1;
        if agent.replans > REPLANS {
            let steps = format!("{:?}", agent.steps);
            self.checker.fail(now, "bound", || format!("{id} plans without end: {steps}"));
        }
    }

    fn set_timer(&mut self, id: NodeId, pause: u64) {
        let node = &mut self.nodes[id];
        let Some(agent) = &mut node.agent else { return };
        // The pause is measured on the local clock, which may be slow by a hundredth.
        let at = self.now.saturating_add(pause).saturating_add(pause / 100 + 1);
        let at = if node.machine.clock.drift_ppm() < 0 { at } else { self.now + pause.max(1) };
        agent.timer_at = Some(at);
        self.queue_timer(id, at);
    }

    /// One happening for the earliest moment is enough: it queues the next one.
    fn queue_timer(&mut self, id: NodeId, at: Moment) {
        let node = &mut self.nodes[id];
        let Some(agent) = &mut node.agent else { return };
        if agent.timer_queued.is_none_or(|queued| queued > at) {
            agent.timer_queued = Some(at);
            self.queue.add(at, Happening::Timer { node: id, life: node.life });
        }
    }
}

/// Whether a step only keeps things going.
fn is_routine(step: &Step, record: Option<&Record>) -> bool {
    match step {
        Step::Persist(_) | Step::ReadRecord | Step::Arm { .. } => true,
        Step::Send { request, .. } => matches!(request, Request::Heartbeat(_)),
        Step::WriteRecord { write, .. } => {
            record.is_some_and(|record| record.rewritten(write.record.written) == write.record)
        }
        Step::Remember(_) | Step::Disarm | Step::Fence { .. } | Step::Perform(_) => false,
    }
}
