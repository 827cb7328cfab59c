//! Follows a dump or a restore to its end, by what its agent says of it.
//!
//! Never ends it because nobody follows it any more.

use super::super::progress::{Headway, Progress};
use super::word;
use pgherd_api::agent::{DumpPhase, DumpReport, DumpWork, Status};
use pgherd_core::names::InstanceName;
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

/// An agent that does not know of it has lost it; one that does not answer may come back.
const UNKNOWN: Duration = Duration::from_secs(5);

/// What was seen of one last.
pub(crate) struct Follower<'a> {
    instance: &'a InstanceName,
    name: &'a str,
    patience: Duration,
    progress: Progress,
    headway: Headway<(DumpPhase, u64, u64, u32)>,
}

impl<'a> Follower<'a> {
    /// It may take as long as it likes while it gets on.
    pub(crate) fn new(instance: &'a InstanceName, name: &'a str, patience: Duration) -> Self {
        let (progress, headway) = (Progress::new(), Headway::new());
        Self { instance, name, patience, progress, headway }
    }

    /// What it has come to, once it is over; its agent says this now, if anything.
    pub(crate) fn look(&mut self, status: Option<&Status>) -> Result<Option<DumpReport>, Failure> {
        let Self { instance, name, patience, progress, headway } = self;
        let report = status.map(|status| status.dump.as_deref().filter(|it| it.name == *name));
        match report {
            Some(Some(report)) if report.phase.is_over() => return ended(report.clone()).map(Some),
            Some(Some(report)) => {
                let (step, detail) = words(report);
                progress.tell_step(&step, &detail);
                let phase = report.phase;
                headway.at((phase, report.moved.0, report.snapshot_seconds, report.databases_done));
                if report.work == DumpWork::Restore {
                    // PostgreSQL may work for long on what it was given, and say nothing.
                    headway.goes_on();
                }
            }
            Some(None) if headway.stands() >= UNKNOWN => {
                let what = format!("{instance} knows of no dump or restore {name} any more");
                return Err(Failure::new(Kind::Failed, what)
                    .because("its agent was restarted, and nothing is kept of it")
                    .fix("pgherd local dump list"));
            }
            Some(None) => progress.tell_step("waiting for it to begin", ""),
            None => progress.tell_step(&format!("waiting for the agent of {instance}"), ""),
        }
        if headway.stands() >= *patience {
            let what = format!("{name} has not got on for {patience:?}");
            return Err(Failure::new(Kind::TimedOut, what)
                .fix("it goes on: pgherd local dump list; pgherd local dump cancel ends it"));
        }
        Ok(None)
    }
}

fn ended(report: DumpReport) -> Result<DumpReport, Failure> {
    let why = report.failure.clone().unwrap_or_default();
    let (kind, name) = (word(report.work), &report.name);
    match report.phase {
        DumpPhase::Cancelled => {
            let what = format!("{kind} {name} was cancelled, and nothing is kept of it");
            Err(Failure::new(Kind::Failed, what).because(why))
        }
        DumpPhase::Failed => {
            let what = format!("{kind} {name} failed on {}", report.instance);
            Err(Failure::new(Kind::Failed, what).because(why))
        }
        DumpPhase::Starting
        | DumpPhase::Globals
        | DumpPhase::Copy
        | DumpPhase::Analyze
        | DumpPhase::Completed => Ok(report),
    }
}

/// What it does, and how far that is.
pub(crate) fn words(report: &DumpReport) -> (String, String) {
    let database = report.database.as_deref().unwrap_or("?");
    let step = match (report.phase, report.work) {
        (DumpPhase::Starting, _) => "looking whether it can be done".to_owned(),
        (DumpPhase::Globals, _) => "roles".to_owned(),
        (DumpPhase::Copy, DumpWork::Dump) => {
            let at = report.databases_done.saturating_add(1).min(report.databases);
            format!("dumping {database} ({at} of {})", report.databases)
        }
        (DumpPhase::Copy, DumpWork::Restore) => format!("restoring {database}"),
        (DumpPhase::Analyze, _) => "gathering statistics".to_owned(),
        (DumpPhase::Completed, _) => "completed".to_owned(),
        (DumpPhase::Failed, _) => "failed".to_owned(),
        (DumpPhase::Cancelled, _) => "cancelled".to_owned(),
    };
    let detail = match (report.phase, report.work, report.total) {
        (DumpPhase::Copy, DumpWork::Restore, Some(total)) if report.moved >= total => {
            format!("all {total} read, PostgreSQL works on it")
        }
        (DumpPhase::Copy, DumpWork::Restore, Some(total)) => {
            format!("{} of {total}", report.moved)
        }
        (DumpPhase::Copy, DumpWork::Dump, _) => {
            let held = report.snapshot_seconds;
            format!("{} stored  snapshot held for {held}s", report.moved)
        }
        _ => String::new(),
    };
    (step, detail)
}
