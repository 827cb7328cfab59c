//! What happens to the server: tasks that begin and end, looks, and deaths.
//!
//! Never lets the core see a server whose remaining processes still live.

use super::Agent;
use crate::observe::watch::{Closeness, Order};
use crate::observe::{Look, stopped};
use crate::perform::{self, Bench, Ended, Hands, Manner};
use crate::process::clock;
use crate::process::fence::{Fenced, State};
use crate::process::tree::{Dead, Reaper, TreeError};
use crate::reexec::Handover;
use crate::wake::Wake;
use pgherd_core::notice::Event;
use pgherd_core::plan::{Outcome, Task};
use pgherd_core::seen::{Gate, Health, Server, Upstream};
use pgherd_core::units::Time;
use rustix::process::Pid;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tracing::{info, warn};

/// How the task that is performed is called among the tasks of the agent.
const PERFORMING: &str = "performing";
const CERTAINTY: Duration = Duration::from_secs(2);

/// The task that is being performed, or has ended and waits for a look at what it left.
pub(super) struct Running {
    serial: u64,
    task: Task,
    handle: AbortHandle,
    ended: Option<(Time, Outcome)>,
}

impl Running {
    /// Whether the postmaster that there is was up before the task, and stays.
    pub(super) fn spares_server(&self) -> bool {
        !ends_server(&self.task)
    }
}

impl Agent {
    pub(super) fn begin(&mut self, task: Task) {
        self.see(Event::Started(task.clone()));
        let Some(bench) = self.bench() else { return };
        info!(task = task.kind(), "begins");
        let (hands, waker) = (self.hands.clone(), self.outside.waker.clone());
        self.serial += 1;
        let serial = self.serial;
        let performed = task.clone();
        let work = async move {
            let ended = perform::perform(bench, hands, performed, serial).await;
            waker.wake(Wake::TaskEnded(Box::new(ended))).await;
        };
        let handle = self.outside.tasks.spawn(PERFORMING, work);
        self.running = Some(Running { serial, task, handle, ended: None });
    }

    pub(super) fn bench(&self) -> Option<Bench> {
        Some(Bench {
            site: self.site.clone(),
            config: Arc::clone(&self.outside.config.borrow()),
            specification: Arc::clone(self.specification.as_ref()?),
            client: Arc::clone(&self.outside.client),
            fence: Arc::clone(&self.fence),
            accepted: Arc::clone(&self.accepted),
            system_id: self.seen.record.value.as_ref().map(|record| record.system_id),
            recovery: Arc::clone(&self.recovery),
            terms: self.seen.grant.heard.as_ref().map_or_else(Vec::new, |it| it.terms.clone()),
        })
    }

    /// A task is over for the core once somebody has looked at what it left.
    pub(super) fn task_ended(&mut self, ended: Ended) {
        let Some(running) = self.running.as_mut().filter(|running| running.serial == ended.serial)
        else {
            return;
        };
        info!(task = running.task.kind(), outcome = ?ended.outcome, "ends");
        running.ended = Some((clock::now(), ended.outcome));
        self.take(ended.hands);
        if self.hands.postmaster.is_none() {
            self.stand_down();
            self.look_at_stopped();
            self.finish_task();
        }
    }

    /// A task that broke never tells: its server is not in anybody's hands.
    pub(super) fn forget_ended_tasks(&mut self) {
        let broke = self.outside.tasks.forget_ended();
        if broke.iter().any(|name| name == PERFORMING)
            && let Some(running) = &mut self.running
        {
            let outcome = Outcome::Failed { why: "the agent failed at it: see its log".to_owned() };
            running.ended = Some((clock::now(), outcome));
            self.finish_task();
        }
    }

    fn finish_task(&mut self) {
        let Some(running) = self.running.take() else { return };
        if let Some((_, outcome)) = running.ended {
            self.see(Event::Finished { task: running.task, outcome });
        }
    }

    /// Takes the server over from a task, and watches its process if it is a new one.
    fn take(&mut self, hands: Hands) {
        let before = self.hands.postmaster.as_ref().map(|postmaster| postmaster.pid());
        self.hands = hands;
        if let Some(postmaster) = self.hands.postmaster.clone()
            && before != Some(postmaster.pid())
        {
            self.watch(postmaster);
        }
    }

    pub(super) fn watch(&mut self, postmaster: Arc<crate::postgres::server::Postmaster>) {
        self.fence.watch(Some(postmaster.pid()));
        let waker = self.outside.waker.clone();
        let wait = async move {
            let _status = postmaster.ended().await;
            waker.wake(Wake::PostmasterEnded { postmaster: postmaster.pid() }).await;
        };
        self.outside.tasks.spawn("watching the postmaster", wait);
    }

    pub(super) fn looked(&mut self, look: Look) {
        let present = self.hands.postmaster.as_ref().map(|postmaster| postmaster.pid());
        if present != Some(look.postmaster) {
            return;
        }
        let finishes = match &self.running {
            Some(Running { ended: Some((at, _)), .. }) if look.began < *at => return,
            Some(Running { ended: Some(_), .. }) => true,
            Some(Running { ended: None, task, .. }) if hides_server(task) => return,
            Some(Running { ended: None, .. }) | None => false,
        };
        let measured = look.replayed_per_second;
        self.full.clone_from(&look.full);
        self.hands.manner.replayed_per_second = measured.or(self.hands.manner.replayed_per_second);
        let (server, health) = look.with(&self.hands.manner);
        let health = Health { upstream: self.upstream(), ..self.with_archive(health) };
        self.see(Event::Looked { server, health });
        if finishes {
            self.finish_task();
        }
    }

    /// How closely the server is to be looked at.
    pub(super) fn order(&self) -> Order {
        let closeness = match (&self.seen.server, &self.seen.ballot) {
            (Server::Primary(primary), _) if primary.gate == Gate::Closed => Closeness::Electing,
            (Server::Primary(_), _) => Closeness::Serving,
            (_, Some(_)) | (Server::Starting, None) => Closeness::Electing,
            (Server::Standby(standby), None) if !standby.streaming => Closeness::Electing,
            (_, None) => Closeness::Following,
        };
        let running = self.running.as_ref();
        Order {
            postmaster: self.hands.postmaster.as_ref().map(|postmaster| postmaster.pid()),
            closeness,
            at_once: running.and_then(|running| running.ended.as_ref()).map(|(at, _)| *at),
        }
    }

    /// The postmaster ended outside of a task that ends it: what it left is killed.
    pub(super) async fn postmaster_ended(&mut self, postmaster: Pid) {
        let present = self.hands.postmaster.as_ref().map(|postmaster| postmaster.pid());
        let expected = self
            .running
            .as_ref()
            .is_some_and(|running| running.ended.is_none() && ends_server(&running.task));
        if present != Some(postmaster) || expected {
            return;
        }
        warn!(postmaster = postmaster.as_raw_pid(), "PostgreSQL has ended");
        self.kill_server().await;
    }

    /// Kills every process of the server, whatever is going on, and notes it.
    pub(super) async fn kill_server(&mut self) {
        let asked = clock::now();
        self.abort_task();
        self.fence.fire_now();
        let fenced = self.fence.fenced_since(asked).await;
        self.died(fenced);
    }

    /// The fencing thread killed the server by itself.
    pub(super) async fn fenced(&mut self, fenced: Fenced) {
        if fenced.at <= self.fenced_at {
            return;
        }
        warn!(epoch = fenced.epoch.0, cause = ?fenced.cause, "PostgreSQL was fenced");
        self.abort_task();
        // Whatever a task started in between goes, too.
        tokio::task::yield_now().await;
        self.kill_server().await;
    }

    fn abort_task(&mut self) {
        if let Some(running) = self.running.take() {
            running.handle.abort();
        }
    }

    fn died(&mut self, fenced: Fenced) {
        self.fenced_at = fenced.at;
        self.hands = Hands { postmaster: None, manner: self.hands.manner.after_death() };
        self.fence.watch(None);
        self.see(Event::Reaped);
        self.look_at_stopped();
    }

    /// Whether the primary that the server was pointed at is reached elsewhere by now: in a new pod an
    /// instance has a new address, and may take its office anew before anybody takes it over.
    fn upstream(&self) -> Upstream {
        let Manner { follows, reached, .. } = &self.hands.manner;
        let Some(follows) = follows else { return Upstream::InPlace };
        let config = self.outside.config.borrow();
        let present = config.peers.get(&follows.primary).map(|peer| peer.postgres);
        if present.is_some() && present != *reached { Upstream::Moved } else { Upstream::InPlace }
    }

    pub(super) fn look_at_stopped(&mut self) {
        let server = stopped::look(&self.site, &self.hands.manner);
        let health = stopped::health(&self.site, &self.hands.manner, &server);
        self.full = stopped::full_volumes(&self.site);
        let health = Health { configuration: self.hands.manner.configuration, ..health };
        self.see(Event::Looked { server, health });
    }

    /// A server that was stopped needs no deadline, and its next start must not inherit one.
    fn stand_down(&mut self) {
        self.fence.watch(None);
        if let State::Armed { epoch, .. } = self.fence.state()
            && let Ok(dead) = self.evidence()
        {
            // Too late is fine: then it is being killed, and it is dead already.
            let _late = self.fence.disarm(epoch, dead);
        }
    }

    /// Makes sure that no process of the server is left.
    pub(super) fn evidence(&self) -> Result<Dead, TreeError> {
        Reaper::new(&self.site.data)?.kill(None, CERTAINTY)
    }

    pub(super) fn handover(&self) -> Handover {
        let armed = match self.fence.state() {
            State::Armed { epoch, until } => Some((epoch, until)),
            // A killing that is interrupted is begun anew at once.
            State::Killing { epoch } => Some((epoch, Time::ZERO)),
            State::Disarmed | State::Fenced(_) => None,
        };
        let postmaster = self.hands.postmaster.as_ref();
        Handover {
            seen: self.seen.clone(),
            postmaster: postmaster.map(|postmaster| postmaster.pid().as_raw_pid()),
            manner: self.hands.manner.clone(),
            events: self.events.clone(),
            started: self.started,
            armed,
        }
    }
}

/// What is seen of a server while it is being stopped, opened or replaced says nothing.
fn hides_server(task: &Task) -> bool {
    match task {
        Task::Initialise
        | Task::Start { .. }
        | Task::Promote { .. }
        | Task::Stop { .. }
        | Task::ScanEnd
        | Task::Rewind { .. }
        | Task::Clone { .. } => true,
        Task::Seal { .. }
        | Task::Follow { .. }
        | Task::Obey { .. }
        | Task::OpenGate { .. }
        | Task::Checkpoint { .. }
        | Task::Reload { .. }
        | Task::FetchTail { .. } => false,
    }
}

/// Whether the end of the postmaster is part of the task.
fn ends_server(task: &Task) -> bool {
    match task {
        Task::Initialise
        | Task::Start { .. }
        | Task::Stop { .. }
        | Task::Reload { .. }
        | Task::ScanEnd
        | Task::Rewind { .. }
        | Task::Clone { .. } => true,
        Task::Promote { .. }
        | Task::Seal { .. }
        | Task::Follow { .. }
        | Task::Obey { .. }
        | Task::OpenGate { .. }
        | Task::Checkpoint { .. }
        | Task::FetchTail { .. } => false,
    }
}
