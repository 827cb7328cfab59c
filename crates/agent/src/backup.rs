//! Takes base backups when it is asked to: one at a time, each under the name that its asker gave it.
//!
//! Never decides when, and never holds up the agent's loop: each backup has a thread of its own.

mod after;
mod base;
mod book;
mod log;
mod report;
pub mod retention;
mod session;
mod work;

use crate::archive::ClaimError;
use crate::archive::repository::OpenError;
use crate::aside::StartError;
use crate::chain::chain;
use crate::http::refusal::{Kind, Refusal};
use crate::order;
use crate::postgres::session::SessionError;
use crate::postgres::site::Site;
use crate::wake::Waker;
use book::Book;
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveSpec, BackupNamed, BackupOrder, BackupPhase, BackupReport};
use pgherd_backup::base::Progress;
use pgherd_backup::catalogue::CatalogueError;
use pgherd_backup::store::StoreError;
use pgherd_core::names::InstanceName;
use pgherd_core::units::{SystemId, Timeline};
use std::path::PathBuf;
use tokio::sync::watch;
use tracing::{info, warn};

/// What somebody asks for.
#[derive(Debug)]
pub enum Asked {
    Begin(BackupOrder),
    Read(BackupNamed),
    Cancel(BackupNamed),
}

/// Where everything lies that taking a backup deals with.
#[derive(Debug, Clone)]
pub struct Place {
    pub me: InstanceName,
    /// Who this is in the archive: half a backup is removed only by whoever began it.
    pub by: String,
    pub site: Site,
    /// What opens the archive.
    pub keys: PathBuf,
    /// Where it is noted which folders were archives.
    pub remembered: PathBuf,
    /// Where something may be put for a moment.
    pub scratch: PathBuf,
    /// Where reports are kept.
    pub book: PathBuf,
}

/// What is known of the backups that this instance took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub running: Option<BackupReport>,
    /// The last ones of which that became.
    pub completed: Option<BackupReport>,
    pub failed: Option<BackupReport>,
    /// When retention was last applied.
    pub retained: Option<Timestamp>,
}

/// What a backup is taken of: another one is another server for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub role: Role,
    pub timeline: Timeline,
    pub system: SystemId,
    /// The postmaster's process.
    pub postmaster: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Primary,
    Standby,
}

/// Why a backup is broken off.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Cancelled,
    Hindered(&'static str),
}

/// All backups that were asked for here.
pub struct Backups {
    place: Place,
    book: Book,
    running: Option<Running>,
    /// What an earlier agent did not end.
    left: Vec<BackupReport>,
}

struct Running {
    report: watch::Receiver<BackupReport>,
    progress: watch::Receiver<Progress>,
    stop: watch::Sender<Option<Stop>>,
    /// None when it is stored, and does not depend on the server any more.
    subject: Option<Subject>,
}

impl Running {
    fn new(handles: work::Handles, subject: Option<Subject>) -> Self {
        let work::Handles { report, progress, stop } = handles;
        Self { report, progress, stop, subject }
    }
}

impl Backups {
    pub fn open(place: Place) -> Self {
        let (book, left) = Book::open(place.book.clone());
        Self { place, book, running: None, left }
    }

    /// Ends what an earlier agent did not, as soon as the archive is known: half a backup is removed, and
    /// the log of one that is stored is waited for again.
    pub fn take_up(&mut self, archive: Option<&ArchiveSpec>, waker: &Waker) {
        if self.left.is_empty() || self.running.is_some() {
            return;
        }
        let Some(archive) = archive else { return };
        for report in std::mem::take(&mut self.left) {
            info!(backup = report.name, "an earlier agent left it");
            let job = work::Job {
                place: self.place.clone(),
                archive: archive.clone(),
                waker: waker.clone(),
            };
            let taken_up = if report.phase.is_stored() {
                let resumed = work::resume(job, report);
                resumed.map(|handles| self.running = Some(Running::new(handles, None)))
            } else {
                work::clear(job, report)
            };
            // What cannot be begun is tried at the next start.
            if let Err(error) = taken_up {
                warn!(error = %chain(&error), "what an interrupted backup left stays for now");
            }
        }
    }

    /// A backup is of one server: it ends with it.
    pub fn observe(&mut self, subject: Option<Subject>) {
        let Some(running) = &self.running else { return };
        let Some(began) = running.subject else { return };
        let why = match subject {
            Some(now) if now == began => return,
            None => "PostgreSQL was stopped, or stopped answering, while the backup was taken",
            Some(now) if now.postmaster != began.postmaster => {
                "PostgreSQL was started anew while the backup was taken"
            }
            Some(now) if now.role != began.role => {
                "the instance became the primary while the backup was taken"
            }
            Some(now) if now.role == Role::Primary => {
                "the instance took its office again while the backup was taken"
            }
            Some(_) => "another instance became the primary while the backup was taken",
        };
        running.stop.send_if_modified(|stop| {
            let is_first = stop.is_none() && !running.report.borrow().phase.is_stored();
            if is_first {
                *stop = Some(Stop::Hindered(why));
            }
            is_first
        });
    }

    /// Keeps what has come to its end.
    pub fn keep(&mut self) {
        let Some(running) = &mut self.running else { return };
        let changed = running.report.has_changed();
        let report = running.report.borrow_and_update().clone();
        let is_gone = changed.is_err();
        if report.phase.is_over() {
            self.running = None;
        } else if is_gone {
            self.running = None;
            let failure = "the agent failed at it: see its log".to_owned();
            let report = report::ended(report, BackupPhase::Failed, Some(failure));
            self.book.note(report);
            return;
        }
        if matches!(changed, Ok(true)) || is_gone {
            self.book.note(report);
        }
    }

    /// Answers at once.
    pub fn answer(
        &mut self,
        asked: Asked,
        (archive, subject): (Option<&ArchiveSpec>, Option<Subject>),
        waker: &Waker,
    ) -> Result<Option<BackupReport>, Refusal> {
        self.keep();
        match asked {
            Asked::Read(BackupNamed { name }) => Ok(self.report(name.as_deref())),
            Asked::Cancel(BackupNamed { name }) => Ok(self.cancel(name.as_deref())),
            Asked::Begin(order) => {
                if let Some(known) = self.report(Some(&order.name)) {
                    return Ok(Some(known));
                }
                self.begin(order, archive, subject, waker).map(Some)
            }
        }
    }

    pub fn known(&self) -> Known {
        Known {
            running: self.present().filter(|report| !report.phase.is_over()),
            completed: self.book.last(BackupPhase::Completed).cloned(),
            failed: self.book.last(BackupPhase::Failed).cloned(),
            retained: self.book.retained(),
        }
    }

    /// The one of this name, or the last one.
    pub fn report(&self, name: Option<&str>) -> Option<BackupReport> {
        let is_meant = |report: &BackupReport| name.is_none_or(|name| report.name == name);
        self.present().filter(is_meant).or_else(|| self.book.find(name))
    }

    fn present(&self) -> Option<BackupReport> {
        let running = self.running.as_ref()?;
        Some(with_progress(running.report.borrow().clone(), *running.progress.borrow()))
    }

    fn cancel(&self, name: Option<&str>) -> Option<BackupReport> {
        let report = self.report(name)?;
        if let Some(running) = &self.running
            && running.report.borrow().name == report.name
        {
            running.stop.send_if_modified(|stop| {
                let is_first = stop.is_none();
                *stop = stop.take().or(Some(Stop::Cancelled));
                is_first
            });
        }
        Some(report)
    }

    fn begin(
        &mut self,
        order: BackupOrder,
        archive: Option<&ArchiveSpec>,
        subject: Option<Subject>,
        waker: &Waker,
    ) -> Result<BackupReport, Refusal> {
        check_name(&order.name)?;
        if let Some(running) = self.report(None).filter(|report| !report.phase.is_over()) {
            let why = format!(
                "{} takes backup {} already: wait for it, or cancel it",
                self.place.me, running.name
            );
            return Err(Refusal::new(Kind::Conflict, why));
        }
        let (archive, subject) = order::ready(&self.place.me, archive, subject)?;
        let job =
            work::Job { place: self.place.clone(), archive: archive.clone(), waker: waker.clone() };
        let report = report::ordered((&self.place, archive), &order);
        self.book.note(report.clone());
        let began = work::start(job, order, subject, report.clone());
        let failed = |error: StartError| {
            let why = chain(&error).to_string();
            Refusal::new(Kind::Failed, why)
        };
        match began {
            Ok(handles) => {
                self.running = Some(Running::new(handles, Some(subject)));
                Ok(report)
            }
            Err(error) => {
                let refusal = failed(error);
                let ended = report::ended(report, BackupPhase::Failed, Some(refusal.why.clone()));
                self.book.note(ended);
                Err(refusal)
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let words = ["first", "oldest", "last", "latest", "last-failed", "auto"];
    order::check_name("backup", name, &words)
}

fn with_progress(report: BackupReport, now: Progress) -> BackupReport {
    if report.phase != BackupPhase::Copy {
        return report;
    }
    let milliseconds = |left: std::time::Duration| u64::try_from(left.as_millis()).ok();
    BackupReport {
        done: now.done,
        total: now.total,
        stored: now.moved,
        rate: now.rate(),
        left_milliseconds: now.left().and_then(milliseconds),
        ..report
    }
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    #[error("opening the archive")]
    Open(#[source] OpenError),
    #[error("making sure that the archive is ours")]
    Claim(#[source] ClaimError),
    #[error("connecting to PostgreSQL")]
    Connect(#[source] SessionError),
    #[error("making a folder for the moment")]
    Scratch(#[source] std::io::Error),
    #[error("taking the backup")]
    Take(#[source] pgherd_backup::base::BackupError),
    #[error("looking for the newest backup, to name this one after it")]
    LookForNewest(#[source] CatalogueError),
    #[error(
        "there is no id after that of the newest backup, or others take them all: see what has the \
         last id, and try again"
    )]
    NoId,
    #[error("looking for a backup that this one could build on")]
    LookForBase(#[source] CatalogueError),
    #[error("looking for what an earlier agent has stored")]
    List(#[source] CatalogueError),
    #[error("clearing up after an earlier agent")]
    Clear(#[source] StoreError),
    #[error("the backup that an earlier agent has stored is gone: take another one")]
    Gone,
}
