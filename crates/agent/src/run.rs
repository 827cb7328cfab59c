//! The agent's one loop: wake, notice, plan, audit, perform, publish.
//!
//! Never decides: it notes what happened, asks the core what to do, and does exactly that. One
//! owner of all state, no locks.

mod archive;
mod ask;
mod backup;
mod dump;
mod leave;
mod metrics;
mod restore_point;
mod server;
mod start;
mod status;
mod step;
mod upkeep;

use crate::accepted::Accepted;
use crate::backup::Backups;
use crate::chain::chain;
use crate::config::{AgentConfig, Folder};
use crate::dump::Dumps;
use crate::events::Events;
use crate::http::client::Client;
use crate::log;
use crate::observe::watch::Order;
use crate::perform::Hands;
use crate::platform::{Lent, Platform, Raised};
use crate::postgres::site::Site;
use crate::process::clock;
use crate::process::fence::Fence;
use crate::program::Program;
use crate::recovery;
use crate::reexec;
use crate::specification;
use crate::state::Memory;
use crate::tasks::Tasks;
use crate::wake::{Signalled, Wake, Waker, Wakes};
use jiff::Timestamp;
use pgherd_api::agent::{FullVolume, MetricsSpec, Specification};
use pgherd_core::answer::answer;
use pgherd_core::audit::audit;
use pgherd_core::instance;
use pgherd_core::intent::Intent;
use pgherd_core::message::{Reply, Request};
use pgherd_core::names::InstanceName;
use pgherd_core::notice::Event;
use pgherd_core::plan::Plan;
use pgherd_core::seen::{Gate, Seen, Server};
use pgherd_core::units::{Epoch, Time};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

pub use start::StartError;

/// How often in a row the loop plans before it lets others run.
const TURNS: usize = 16;
/// How long a refused plan, or one that could not be performed, is left alone.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("starting the agent")]
    Start(#[source] StartError),
    #[error("opening the agent's log in {path:?}")]
    OpenLog { path: PathBuf, source: std::io::Error },
    #[error("holding signals back")]
    HoldSignals(#[source] reexec::ReexecError),
    #[error("starting the agent's runtime")]
    StartRuntime(#[source] std::io::Error),
}

/// What an agent is started with.
pub struct Setup {
    pub config: AgentConfig,
    /// Where that was read from: the file may be replaced while the agent runs.
    pub file: Option<PathBuf>,
    pub log: log::Destination,
}

/// Runs one instance until SIGTERM, on the platform that is made from what the agent lends it.
pub fn run(setup: Setup, platform: impl FnOnce(Lent) -> Raised) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 * 1024)
        .build()
        .map_err(RunError::StartRuntime)?;
    // Before any thread begins: signals are for this one.
    reexec::hold_signals().map_err(RunError::HoldSignals)?;
    let output = log::start(setup.log, &setup.config)
        .map_err(|source| RunError::OpenLog { path: setup.config.folder().log(), source })?;
    let ended = runtime.block_on(async {
        match start::start(setup, platform).await {
            Ok(mut agent) => {
                agent.work().await;
                Ok(())
            }
            Err(error) => {
                error!(error = %chain(&error), "the agent cannot start");
                Err(RunError::Start(error))
            }
        }
    });
    if let Some(output) = output {
        output.finish();
    }
    ended
}

/// One instance's agent: everything it knows and works with.
struct Agent {
    me: InstanceName,
    folder: Folder,
    site: Site,
    memory: Memory,
    fence: Arc<Fence>,
    accepted: Arc<Accepted>,
    /// What is wanted, as it was last told.
    specification: Option<Arc<Specification>>,
    /// The same for the core, with what this process was asked for itself.
    intent: Option<Intent>,
    seen: Seen,
    /// The volumes on which next to nothing is left, as of the last look: people are told, and nothing is
    /// decided by it.
    full: Vec<FullVolume>,
    hands: Hands,
    running: Option<server::Running>,
    /// Files have changed since PostgreSQL was last told to read its own.
    reload_due: bool,
    /// How many tasks have begun.
    serial: u64,
    /// Fences before this are known to the core.
    fenced_at: Time,
    deadline: Time,
    leaving: Option<leave::Leaving>,
    reexecuting: Option<PathBuf>,
    upkeep: upkeep::Upkeep,
    archiving: archive::Archiving,
    backups: Backups,
    dumps: Dumps,
    /// How the cluster came out of a backup, or how far it is.
    recovery: Arc<recovery::Told>,
    events: Events,
    started: Timestamp,
    outside: Outside,
}

/// How the agent reaches others, and they it.
struct Outside {
    config_path: Option<PathBuf>,
    config: watch::Sender<Arc<AgentConfig>>,
    program: PathBuf,
    /// The same, where it may be replaced from outside.
    replaceable: Option<Arc<Program>>,
    client: Arc<Client>,
    platform: Arc<dyn Platform>,
    serves: watch::Sender<Option<Epoch>>,
    tasks: Tasks,
    waker: Waker,
    wakes: Wakes,
    orders: watch::Sender<Order>,
    metrics: watch::Sender<Option<MetricsSpec>>,
}

impl Agent {
    async fn work(&mut self) {
        loop {
            let wake = self.outside.wakes.next(self.deadline).await;
            self.notice(wake).await;
            self.turn().await;
            self.publish();
            if self.has_left().await {
                info!("stopped cleanly");
                return;
            }
            self.reexecute_when_idle();
        }
    }

    /// Takes note of what happened.
    async fn notice(&mut self, wake: Wake) {
        match wake {
            Wake::Deadline => {}
            Wake::Asked { from, request, answer } => self.answer(&from, &request, answer).await,
            // Nobody waits any more: then nobody needs it.
            Wake::StatusAsked { answer } => drop(answer.send(self.status())),
            Wake::MetricsAsked { answer } => drop(answer.send(Box::new(self.facts()))),
            Wake::BackupAsked { asked, answer } => self.backup_asked(asked, answer),
            Wake::DumpAsked { asked, answer } => self.dump_asked(asked, answer),
            Wake::LogWanted => self.want_log(),
            Wake::LogAsked { answer } => self.log_asked(answer),
            Wake::RestorePointAsked { order, answer } => self.restore_point_asked(order, answer),
            Wake::HandoverAsked { answer } => drop(answer.send(Box::new(self.handover()))),
            Wake::Replied { from, reply } => self.see(Event::Replied { from, reply }),
            Wake::RecordRead { sent, record } => self.see(Event::RecordRead { sent, record }),
            Wake::Specified(specification) => self.specify(*specification),
            Wake::Looked(look) => self.looked(*look),
            Wake::TaskEnded(ended) => self.task_ended(*ended),
            Wake::KeptUp(duty, pending) => self.kept_up(duty, pending),
            Wake::PostmasterEnded { postmaster } => self.postmaster_ended(postmaster).await,
            Wake::Fenced(fenced) => self.fenced(fenced).await,
            Wake::Signalled(Signalled::Leave) => self.leave(),
            Wake::Signalled(Signalled::Reexecute) => {
                info!("asked to re-execute in place");
                self.reexecuting = Some(self.outside.program.clone());
            }
            Wake::Signalled(Signalled::Reload) => self.reload(),
        }
    }

    /// Plans and performs until there is nothing more to do at once.
    async fn turn(&mut self) {
        for _ in 0..TURNS {
            let Some(plan) = self.plan() else { return };
            if plan.steps.is_empty() {
                return;
            }
            for step in plan.steps {
                if let Err(error) = self.perform(step).await {
                    error!(error = %chain(&error), "the rest of the plan is put off");
                    self.deadline = clock::now().after(PAUSE);
                    return;
                }
            }
        }
        self.deadline = clock::now();
    }

    /// The next plan, unless nothing is wanted yet or the plan is refused.
    fn plan(&mut self) -> Option<Plan> {
        let now = clock::now();
        self.deadline = now.after(PAUSE);
        if self.is_leaving() {
            self.intend();
        }
        let intent = self.intent.as_ref()?;
        let plan = instance::plan(intent, &self.seen, now);
        if let Err(refusal) = audit(&plan, intent, &self.seen, now) {
            error!(%refusal, plan = ?plan, "nothing is done");
            return None;
        }
        self.deadline = self.no_later_than_leaving(now.after(plan.look_again_after));
        self.events.note(&plan.verdict, Timestamp::now());
        Some(plan)
    }

    /// Answers a peer at once. Without an answer the peer must assume the worst, which is right.
    async fn answer(
        &mut self,
        from: &InstanceName,
        request: &Request,
        reply: oneshot::Sender<Reply>,
    ) {
        let Some(intent) = &self.intent else { return };
        let answered = answer(intent, &self.seen, from, request, clock::now());
        for step in answered.steps {
            if let Err(error) = self.perform(step).await {
                error!(%from, error = %chain(&error), "a request stays unanswered");
                return;
            }
        }
        if let Some(heard) = answered.heard {
            self.see(heard);
        }
        // A peer that no longer waits asks again.
        drop(reply.send(answered.reply));
    }

    fn see(&mut self, event: Event) {
        self.seen.notice(event, clock::now());
    }

    fn specify(&mut self, specification: Specification) {
        let known = self.specification.as_ref().map_or(0, |known| known.number);
        if specification.number <= known {
            return;
        }
        info!(number = specification.number, "a new specification");
        if let Err(error) = specification::keep(&self.folder.specification(), &specification) {
            warn!(error = %chain(&error), "the specification is not kept for a later start");
        }
        if self.specification.is_none() {
            self.seen.limit_earlier_grant(specification.intent.timers.grant);
        }
        self.specification = Some(Arc::new(specification));
        self.intend();
    }

    /// What the core is told is wanted.
    fn intend(&mut self) {
        self.intent = self.specification.as_ref().map(|told| {
            let mut intent = told.intent.clone();
            if self.is_leaving() {
                intent.leaving.insert(self.me.clone());
            }
            intent
        });
    }

    fn reload(&mut self) {
        if let Some(path) = &self.outside.config_path {
            let present = Arc::clone(&self.outside.config.borrow());
            match present.reloaded(path) {
                Ok(next) if next == *present => {}
                Ok(next) => {
                    let (peers, by) = (next.peers.len(), next.written_by.as_deref());
                    info!(peers, by, "a new configuration");
                    self.outside.config.send_replace(Arc::new(next));
                }
                Err(error) => warn!(error = %chain(&error), "the configuration stays as it was"),
            }
        }
        // Renewed certificates are in use for the next connection; PostgreSQL has to be told.
        self.reload_due = true;
    }

    /// Has PostgreSQL read its files again, once it can: one that has only begun to start would end of
    /// the signal.
    fn reload_when_up(&mut self) {
        let is_up = self.running.as_ref().is_none_or(server::Running::spares_server);
        if !self.reload_due || !is_up {
            return;
        }
        self.reload_due = false;
        // Whoever does not run reads them when it starts.
        if let Some(Err(error)) = self.hands.postmaster.as_ref().map(|it| it.reload()) {
            warn!(error = %chain(&error), "PostgreSQL keeps its certificate until it is reloaded");
        }
    }

    /// Lets those who look at the server know how closely to look, and the platform whether
    /// clients are served here.
    fn publish(&mut self) {
        tell(&self.outside.orders, self.order());
        tell(&self.outside.serves, self.serves());
        tell(&self.outside.metrics, self.metrics_wanted());
        self.archive();
        self.tend_backups();
        self.tend_dumps();
        self.keep_up();
        self.reload_when_up();
        self.forget_ended_tasks();
    }

    /// The epoch that clients can write under here.
    fn serves(&self) -> Option<Epoch> {
        match &self.seen.server {
            Server::Primary(primary) if primary.gate == Gate::Open => {
                self.seen.my_office().map(|record| record.epoch)
            }
            Server::Primary(_)
            | Server::Standby(_)
            | Server::Starting
            | Server::Down { .. }
            | Server::Absent
            | Server::Unknown => None,
        }
    }

    fn reexecute_when_idle(&mut self) {
        if self.running.is_some() {
            return;
        }
        let Some(program) = self.reexecuting.take() else { return };
        info!(program = %program.display(), "re-executing in place");
        let error = reexec::reexecute(&self.folder, &program, self.handover());
        error!(error = %chain(&error), "re-execution failed: going on as before");
    }
}

/// Wakes those who listen only when there is news.
fn tell<T: PartialEq>(listeners: &watch::Sender<T>, value: T) {
    listeners.send_if_modified(|present| {
        let changed = *present != value;
        *present = value;
        changed
    });
}
