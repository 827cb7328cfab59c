//! What dumps and restores have in common: their thread, what they are told, and how they end.
//!
//! Never knows which of both it is.

use super::report::ended;
use super::spool::SpoolError;
use super::watch::Late;
use super::{Place, server, spool};
use crate::archive::ClaimError;
use crate::archive::repository::{self, OpenError};
use crate::aside;
use crate::chain::chain;
use crate::order;
use crate::postgres::globals::GlobalsError;
use crate::postgres::session::{SUPERUSER, SessionError};
use crate::process::tool::ToolError;
use crate::wake::{Wake, Waker};
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveSpec, DumpPhase, DumpReport};
use pgherd_backup::dump::{DumpError, Dumps};
use pgherd_backup::store::Patience;
use pgherd_core::units::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tracing::{error, info, warn};

/// A part that is on its way to the store.
const PART: Bytes = Bytes(64 << 20);
/// PostgreSQL cancels what keeps a standby from replaying.
const CONFLICT: &str = "conflict with recovery";

/// Of what, where to, and whom to wake at the end.
pub(super) struct Job {
    pub(super) place: Place,
    pub(super) archive: ArchiveSpec,
    /// To whom the database of applications belongs.
    pub(super) owner: String,
    pub(super) waker: Waker,
    /// Whoever works here waits until others have ended: clearing up must not meet what is new.
    pub(super) turn: Arc<Mutex<()>>,
}

/// How it is followed, and broken off.
pub(super) struct Handles {
    pub(super) report: watch::Receiver<DumpReport>,
    pub(super) cancel: watch::Sender<bool>,
}

/// Why there is no dump, or no restored database.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error("somebody asked for that")]
    Cancelled,
    #[error(transparent)]
    Refused(#[from] super::target::Refused),
    #[error(transparent)]
    Late(Late),
    #[error("opening the archive")]
    Open(#[source] OpenError),
    #[error("making sure that the archive is ours")]
    Claim(#[source] ClaimError),
    #[error("making a folder for the moment")]
    Scratch(#[source] std::io::Error),
    #[error(transparent)]
    Spool(SpoolError),
    #[error("connecting to PostgreSQL, to database {database:?}")]
    Connect { database: String, source: SessionError },
    #[error("asking PostgreSQL for {what}")]
    Ask { what: &'static str, source: SessionError },
    #[error("PostgreSQL says less about {what} than a dump needs to know")]
    TooLittle { what: &'static str },
    #[error("running {program} on database {database:?}")]
    Run { program: &'static str, database: String, source: ToolError },
    #[error(
        "PostgreSQL cancelled the dump of {database:?}, because it kept the standby from replaying: \
         take it from the primary (--target primary), or set max_standby_streaming_delay in the \
         manifest"
    )]
    Conflict { database: String, source: ToolError },
    #[error(transparent)]
    Store(Box<DumpError>),
    #[error("unpacking the dump's globals")]
    Unpack(#[source] std::io::Error),
    #[error("making database {database:?}")]
    MakeDatabase { database: String, source: SessionError },
    #[error("making the roles that are missing")]
    Globals(#[source] GlobalsError),
    #[error(
        "there is no id after that of the newest dump, or others take them all: see what has the \
         last id, and try again"
    )]
    NoId,
}

impl From<DumpError> for WorkError {
    fn from(error: DumpError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl WorkError {
    pub(super) fn run(program: &'static str, database: &str, source: ToolError) -> Self {
        let database = database.to_owned();
        if source.complaint().is_some_and(|complaint| complaint.contains(CONFLICT)) {
            return Self::Conflict { database, source };
        }
        Self::Run { program, database, source }
    }
}

/// A dump or a restore on its way.
pub(super) struct Course {
    pub(super) job: Job,
    tell: watch::Sender<DumpReport>,
    cancelled: watch::Receiver<bool>,
}

/// Runs `work` on a thread of its own, to whatever end.
pub(super) fn start<Work: Future<Output = Result<(), WorkError>>>(
    job: Job,
    report: DumpReport,
    work: impl FnOnce(Arc<Course>) -> Work + Send + 'static,
) -> Result<Handles, aside::StartError> {
    let (tell, told) = watch::channel(report);
    let (cancel, cancelled) = watch::channel(false);
    let course = Arc::new(Course { job, tell, cancelled });
    aside::on_a_thread("dump", async move || {
        let _mine = course.job.turn.lock().await;
        let done = work(Arc::clone(&course)).await;
        course.end(done).await;
    })?;
    Ok(Handles { report: told, cancel })
}

/// Removes what an earlier agent left here and in the archive.
pub(super) fn clear(job: Job) {
    let started = aside::on_a_thread("dump", async move || {
        let _mine = job.turn.lock().await;
        if let Err(error) = cleared(&job).await {
            warn!(error = %chain(&error), "what an interrupted dump left stays for now");
        }
    });
    if let Err(error) = started {
        warn!(error = %chain(&error), "what an interrupted dump left stays for now");
    }
}

async fn cleared(job: &Job) -> Result<(), WorkError> {
    spool::clear(&job.place.spool).await.map_err(WorkError::Spool)?;
    let removed = open(job, None)?.clear(&job.place.by, Timestamp::now()).await?;
    if !removed.is_empty() {
        info!(?removed, "what interrupted dumps had stored is removed");
    }
    Ok(())
}

/// The dumps of this cluster, or of another one in the same archive.
pub(super) fn open(job: &Job, server: Option<&str>) -> Result<Dumps, WorkError> {
    let mut archive = job.archive.clone();
    if let Some(server) = server {
        server.clone_into(&mut archive.server);
    }
    let keys = repository::in_folder(&job.place.keys);
    let encryption = archive.data.encryption;
    let opened = repository::open(&archive, encryption, &keys, Patience::carrying(PART));
    let (store, layout) = opened.map_err(WorkError::Open)?;
    Ok(Dumps::new(store, layout))
}

impl Course {
    pub(super) fn phase(&self, phase: DumpPhase, change: impl FnOnce(&mut DumpReport)) {
        self.tell.send_modify(|report| {
            if report.phase != phase {
                (report.phase, report.since) = (phase, Timestamp::now());
            }
            change(report);
        });
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut DumpReport)) {
        self.tell.send_modify(change);
    }

    pub(super) fn warn(&self, why: String) {
        warn!(why, "a dump goes on");
        self.tell(|report| report.warnings.push(why));
    }

    pub(super) fn moved(&self, bytes: usize) {
        self.tell(|report| report.moved = Bytes(report.moved.0 + bytes as u64));
    }

    /// Ends when somebody does not want it any more.
    pub(super) async fn cancelled(&self) -> WorkError {
        let mut cancelled = self.cancelled.clone();
        if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // Nobody is left who could say so; the process ends.
            std::future::pending::<()>().await;
        }
        WorkError::Cancelled
    }

    /// The same, where it can end at once.
    pub(super) fn go_on(&self) -> Result<(), WorkError> {
        if *self.cancelled.borrow() { Err(WorkError::Cancelled) } else { Ok(()) }
    }

    async fn end(&self, done: Result<(), WorkError>) {
        let name = self.tell.borrow().name.clone();
        let (phase, failure) = match &done {
            Ok(()) => (DumpPhase::Completed, None),
            Err(WorkError::Cancelled) => {
                (DumpPhase::Cancelled, Some("somebody asked for that".to_owned()))
            }
            Err(error) => (DumpPhase::Failed, Some(chain(error).to_string())),
        };
        let passing = self.passes(&done).await;
        match &failure {
            None => info!(name, "a dump or a restore is completed"),
            Some(why) => error!(name, why, "a dump or a restore came to nothing"),
        }
        self.tell.send_modify(|report| {
            report.passing = passing;
            *report = ended(report.clone(), phase, failure);
        });
        self.job.waker.wake(Wake::Deadline).await;
    }
}

impl Course {
    /// Whether it failed at something that is often over soon.
    async fn passes(&self, done: &Result<(), WorkError>) -> bool {
        match done {
            Ok(()) | Err(WorkError::Cancelled | WorkError::Refused(_) | WorkError::Late(_)) => {
                false
            }
            Err(error) if order::passes(error) => true,
            // A server that was stopped takes its programs with it, whatever they say then.
            Err(_) => server::connect(&self.job.place.site, SUPERUSER).await.is_err(),
        }
    }
}

/// A tool that has said all ends at once.
pub(super) const ENDING: Duration = Duration::from_mins(5);
