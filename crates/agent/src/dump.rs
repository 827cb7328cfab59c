//! Takes logical dumps and restores from them when it is asked to: one thing at a time, with
//! PostgreSQL's own programs.
//!
//! Never decides when, and never holds up the agent's loop: the work has a thread of its own.

mod course;
mod database;
mod folder;
mod globals;
mod programs;
mod report;
mod restore;
pub mod retention;
mod server;
mod spool;
mod stream;
mod take;
mod target;
mod watch;

use crate::aside::StartError;
use crate::chain::chain;
use crate::http::refusal::{Kind, Refusal};
use crate::order;
use crate::postgres::site::Site;
use crate::wake::Waker;
use pgherd_api::agent::{
    ArchiveSpec, DumpFormat, DumpNamed, DumpOrder, DumpReport, DumpRestoreOrder, DumpWork,
};
use pgherd_core::names::InstanceName;
use pgherd_core::units::SystemId;
use pgherd_core::units::Timeline;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, watch as channel};

pub use crate::backup::Role;

/// More tables at once than any server is good for.
const MOST_JOBS: u32 = 64;

/// What somebody asks for.
#[derive(Debug)]
pub enum Asked {
    Begin(DumpOrder),
    Restore(DumpRestoreOrder),
    Read(DumpNamed),
    Cancel(DumpNamed),
}

/// Where everything lies that a dump deals with.
#[derive(Debug, Clone)]
pub struct Place {
    pub me: InstanceName,
    /// Who this is in the archive: half a dump is removed by whoever began it.
    pub by: String,
    pub site: Site,
    /// What opens the archive.
    pub keys: PathBuf,
    /// Where it is noted which folders were archives.
    pub remembered: PathBuf,
    /// Where something may be put for a moment.
    pub scratch: PathBuf,
    /// Where files lie on their way between PostgreSQL's programs and the archive.
    pub spool: PathBuf,
}

/// The server that is dumped or restored into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    pub role: Role,
    pub timeline: Timeline,
    pub system: SystemId,
}

/// Where dumps lie.
#[derive(Debug, Clone)]
pub struct Archive {
    pub spec: ArchiveSpec,
    /// To whom the database of applications belongs.
    pub owner: String,
}

/// Who dumps and restores here.
pub struct Dumps {
    place: Place,
    running: Option<Running>,
    last: Option<DumpReport>,
    cleared: Cleared,
    turn: Arc<Mutex<()>>,
}

/// Whether what an earlier agent left is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleared {
    NotYet,
    Begun,
}

struct Running {
    report: channel::Receiver<DumpReport>,
    cancel: channel::Sender<bool>,
}

impl Dumps {
    pub fn new(place: Place) -> Self {
        Self { place, running: None, last: None, cleared: Cleared::NotYet, turn: Arc::default() }
    }

    /// Removes what an earlier agent began and did not end, as soon as the archive is known.
    pub fn clear_up(&mut self, archive: Option<&Archive>, waker: &Waker) {
        if self.cleared == Cleared::Begun {
            return;
        }
        let Some(archive) = archive else { return };
        self.cleared = Cleared::Begun;
        course::clear(self.job(archive, waker));
    }

    /// Keeps what has come to its end.
    pub fn keep(&mut self) {
        let Some(running) = &mut self.running else { return };
        let is_gone = running.report.has_changed().is_err();
        let report = running.report.borrow().clone();
        if report.phase.is_over() {
            self.last = Some(report);
        } else if is_gone {
            let why = "the agent failed at it: see its log".to_owned();
            self.last = Some(report::failed(report, why));
        } else {
            return;
        }
        self.running = None;
    }

    /// Answers at once.
    pub fn answer(
        &mut self,
        asked: Asked,
        (archive, subject): (Option<&Archive>, Option<Subject>),
        waker: &Waker,
    ) -> Result<Option<DumpReport>, Refusal> {
        self.keep();
        match asked {
            Asked::Read(DumpNamed { name }) => Ok(self.report(name.as_deref())),
            Asked::Cancel(DumpNamed { name }) => Ok(self.cancel(name.as_deref())),
            Asked::Begin(order) => {
                if let Some(known) = self.report(Some(&order.name)) {
                    return Ok(Some(known));
                }
                check(&order)?;
                let (archive, subject) = self.free(&order.name, archive, subject)?;
                let named = (order.name.as_str(), order.asked_by.clone());
                let report = report::ordered(&self.place, named, DumpWork::Dump);
                let job = self.job(archive, waker);
                self.begin(report, |report| take::start(job, order, subject, report)).map(Some)
            }
            Asked::Restore(order) => {
                if let Some(known) = self.report(Some(&order.name)) {
                    return Ok(Some(known));
                }
                check_jobs(order.jobs)?;
                let (archive, subject) = self.free(&order.name, archive, subject)?;
                if subject.role != Role::Primary {
                    let why = format!(
                        "{} is not the primary, and only that can be written to",
                        self.place.me
                    );
                    return Err(Refusal::new(Kind::Conflict, why));
                }
                let named = (order.name.as_str(), None);
                let report = report::ordered(&self.place, named, DumpWork::Restore);
                let job = self.job(archive, waker);
                self.begin(report, |report| restore::start(job, order, report)).map(Some)
            }
        }
    }

    /// The one of this name, or the last one.
    pub fn report(&self, name: Option<&str>) -> Option<DumpReport> {
        let running = self.running.as_ref().map(|running| running.report.borrow().clone());
        let is_meant = |report: &DumpReport| name.is_none_or(|name| report.name == name);
        running.filter(is_meant).or_else(|| self.last.clone().filter(is_meant))
    }

    fn cancel(&self, name: Option<&str>) -> Option<DumpReport> {
        let report = self.report(name)?;
        if let Some(running) = &self.running
            && running.report.borrow().name == report.name
        {
            running.cancel.send_replace(true);
        }
        Some(report)
    }

    fn job(&self, archive: &Archive, waker: &Waker) -> course::Job {
        let Archive { spec, owner } = archive.clone();
        let (place, waker, turn) = (self.place.clone(), waker.clone(), Arc::clone(&self.turn));
        course::Job { place, archive: spec, owner, waker, turn }
    }

    /// Whether something can be begun.
    fn free<'a>(
        &self,
        name: &str,
        archive: Option<&'a Archive>,
        subject: Option<Subject>,
    ) -> Result<(&'a Archive, Subject), Refusal> {
        check_name(name)?;
        if let Some(running) = &self.running {
            let running = running.report.borrow();
            let does = match running.work {
                DumpWork::Dump => "takes dump",
                DumpWork::Restore => "does restore",
            };
            let why = format!(
                "{} {does} {} already: wait for it, or cancel it",
                self.place.me, running.name
            );
            return Err(Refusal::new(Kind::Conflict, why));
        }
        order::ready(&self.place.me, archive, subject)
    }

    fn begin(
        &mut self,
        report: DumpReport,
        start: impl FnOnce(DumpReport) -> Result<course::Handles, StartError>,
    ) -> Result<DumpReport, Refusal> {
        let course::Handles { report: told, cancel } = start(report.clone())
            .map_err(|error| Refusal::new(Kind::Failed, chain(&error).to_string()))?;
        self.running = Some(Running { report: told, cancel });
        Ok(report)
    }
}

/// Why nobody can be asked for this.
pub fn check(order: &DumpOrder) -> Result<(), Refusal> {
    let malformed = |why: &str| Err(Refusal::new(Kind::Malformed, why));
    check_jobs(order.jobs)?;
    if order.jobs > 1 && order.format == DumpFormat::Custom {
        return malformed(
            "the custom format is one stream: use the directory format for more jobs",
        );
    }
    if !order.tables.is_empty() && order.databases.len() != 1 {
        return malformed("tables are of one database: name it");
    }
    if order.snapshot_limit_seconds == 0 {
        return malformed("a snapshot has to be held for some time: the limit is zero");
    }
    let is_plain = |text: &String| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'=' | b','))
    };
    if !order.compress.as_ref().is_none_or(is_plain) {
        return malformed("a compression is written like 6, zstd or zstd:3");
    }
    Ok(())
}

fn check_jobs(jobs: u32) -> Result<(), Refusal> {
    if (1..=MOST_JOBS).contains(&jobs) {
        return Ok(());
    }
    Err(Refusal::new(Kind::Malformed, format!("jobs are {jobs}: use 1 to {MOST_JOBS}")))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    order::check_name("dump", name, &["first", "oldest", "last", "latest"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_api::agent::DumpPasswords;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = DumpOrder {
            name: "a".to_owned(),
            databases: vec!["app".to_owned()],
            tables: vec!["t".to_owned()],
            format: DumpFormat::Directory,
            jobs: 2,
            compress: Some("zstd:3".to_owned()),
            passwords: DumpPasswords::Kept,
            snapshot_limit_seconds: 60,
            retention: None,
            asked_by: None,
        };
        assert!(check(&good).is_ok());
        let why = |order: DumpOrder| check(&order).unwrap_err().why;
        expect_test::expect![[r#"
            the custom format is one stream: use the directory format for more jobs
            tables are of one database: name it
            a compression is written like 6, zstd or zstd:3
            jobs are 0: use 1 to 64"#]]
        .assert_eq(
            &[
                why(DumpOrder { format: DumpFormat::Custom, ..good.clone() }),
                why(DumpOrder { databases: vec![], ..good.clone() }),
                why(DumpOrder { compress: Some("6 --file=/x".to_owned()), ..good.clone() }),
                why(DumpOrder { jobs: 0, ..good }),
            ]
            .join("\n"),
        );
        for name in ["latest", "20261122T112233", "", "-x", "a b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
