//! The process that plays kubelet and operator for one cluster: it starts what shall run, stops
//! what shall not, keeps the record, and answers commands.
//!
//! Never decides who is primary, and never starts an agent that lives already: one that outlived
//! an earlier supervisor is taken over.

mod agents;
mod apply;
mod backup;
mod dump;
mod faults;
mod instance;
mod network;
mod requests;
mod restart;
mod schedule;
mod startup;
mod turn;
mod view;

use crate::claims::Claims;
use crate::control::{Answer, Cut, Request};
use crate::credentials::Credentials;
use crate::failure::Failure;
use crate::folder::{ClusterFolder, Home};
use crate::manifest::Manifest;
use crate::registration::{Lock, Registration};
use crate::store::Store;
use instance::Instance;
use network::NetworkProcess;
use pgherd_agent::http::client::Client;
use pgherd_agent::postgres::install::Tls;
use pgherd_agent::tasks::Tasks;
use pgherd_api::agent::{Specification, Status};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::record::Record;
use pgherd_core::wishes::Wishes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::info;

/// Looked at even when nothing happens: certificates age, and a wake may have been missed.
const QUIET: Duration = Duration::from_secs(30);
/// Commands that may wait for their turn.
const QUEUE: usize = 64;

/// Everything that can wake the supervisor.
enum Wake {
    Asked {
        request: Request,
        answer: oneshot::Sender<Answer>,
    },
    /// An agent, or the network, has ended.
    Ended(Ended),
    /// What agents on their way out said.
    Heard(BTreeMap<InstanceName, Option<Status>>),
    /// The record was written.
    Written,
    /// SIGTERM: the machine goes down, and everything stops with it.
    Told,
    Deadline,
}

#[derive(Debug, Clone)]
enum Ended {
    Agent { name: InstanceName, pid: u32 },
    Network,
}

/// What the one loop owns.
struct Supervisor {
    folder: ClusterFolder,
    registration: Registration,
    /// Whether the PostgreSQL that is wanted can encrypt.
    tls: Tls,
    lock: Lock,
    /// Kept for as long as the supervisor lives.
    claims: Option<Claims>,
    store: Store,
    credentials: Arc<Credentials>,
    client: Arc<Client>,
    wishes: Wishes,
    manifest: Option<Manifest>,
    specification: watch::Sender<Option<Specification>>,
    record: Option<Record>,
    instances: BTreeMap<InstanceName, Instance>,
    network: NetworkProcess,
    cuts: BTreeSet<Cut>,
    wakes: mpsc::Sender<Wake>,
    tasks: Tasks,
    renewed: Instant,
    leave: Leave,
    doors: Option<Doors>,
    schedules: schedule::Schedules,
}

/// The end of answering commands: begun by us, over when every answer has been read.
struct Doors {
    close: oneshot::Sender<()>,
    closed: oneshot::Receiver<()>,
}

/// Whether the supervisor itself is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    No,
    /// Once everything is down.
    WhenDown,
}

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("starting the supervisor's runtime")]
    Start { source: io::Error },
    #[error("{0}")]
    Refused(#[source] Failure),
}

/// Runs the cluster until it is told to stop. `ready` is called once commands are answered.
pub fn run(
    home: &Home,
    cluster: &ClusterName,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<(), SupervisorError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| SupervisorError::Start { source })?;
    runtime.block_on(async {
        let (wakes, woken) = mpsc::channel(QUEUE);
        let started = startup::start(home, cluster, wakes).await;
        let supervisor = started.map_err(SupervisorError::Refused)?;
        ready().map_err(|source| SupervisorError::Start { source })?;
        supervisor.serve(woken).await
    })
}

impl Supervisor {
    async fn serve(mut self, mut woken: mpsc::Receiver<Wake>) -> Result<(), SupervisorError> {
        let failed = |source| SupervisorError::Start { source };
        let mut told = signal(SignalKind::terminate()).map_err(failed)?;
        let mut children = signal(SignalKind::child()).map_err(failed)?;
        info!(cluster = %self.folder.name(), "supervisor ready");
        loop {
            instance::reap();
            let look_again = self.turn().await;
            if self.leave == Leave::WhenDown && self.is_down() {
                // Whoever asks from here on is told that nobody answers any more.
                drop(woken);
                self.network.end().await;
                self.close_doors().await;
                info!("everything is down");
                return Ok(());
            }
            let until = Instant::now() + look_again.min(QUIET);
            let wake = tokio::select! {
                wake = timeout_at(until, woken.recv()) => wake.ok().flatten(),
                _ = told.recv() => Some(Wake::Told),
                _ = children.recv() => None,
            };
            self.notice(wake.unwrap_or(Wake::Deadline)).await;
            // Whatever else has come meanwhile is looked at together.
            while let Ok(wake) = woken.try_recv() {
                self.notice(wake).await;
            }
            self.tasks.forget_ended();
        }
    }

    /// Ends once the answers that were given have arrived: the command that brought everything
    /// down is still waiting for its own.
    async fn close_doors(&mut self) {
        let Some(doors) = self.doors.take() else { return };
        // Without anybody to close them they are closed.
        let _closed = doors.close.send(()).is_err();
        let _ended = doors.closed.await.is_err();
    }

    async fn notice(&mut self, wake: Wake) {
        match wake {
            Wake::Asked { request: Request::View, answer } => self.answer_view(answer),
            Wake::Asked { request, answer } => {
                let answered = self.asked(request).await;
                // A command that is gone meanwhile needs no answer.
                let _gone = answer.send(answered.map_or_else(Answer::Refused, Answer::Done));
            }
            Wake::Ended(ended) => self.ended(&ended),
            Wake::Heard(statuses) => self.heard(statuses),
            Wake::Written => self.read_record(),
            Wake::Told => self.rest(),
            Wake::Deadline => {}
        }
    }
}

/// Tells the loop of every write of the record.
async fn tell_of_writes(written: Arc<Notify>, wakes: mpsc::Sender<Wake>) {
    loop {
        written.notified().await;
        if wakes.send(Wake::Written).await.is_err() {
            return;
        }
    }
}
