//! Remembers how backups went, over restarts of the agent.
//!
//! Never fails a backup because it cannot be written down: that is told, and the backup goes on.

use crate::chain::chain;
use crate::durable::{self, Access};
use jiff::Timestamp;
use pgherd_api::agent::{BackupPhase, BackupReport};
use std::path::PathBuf;
use tracing::warn;

/// More than anybody asks for again.
const MOST: usize = 32;
const RESTARTED: &str =
    "the agent was restarted while it took the backup, and nothing is kept of it: take another one";

pub(super) struct Book {
    path: PathBuf,
    /// The newest last.
    reports: Vec<BackupReport>,
}

impl Book {
    /// What was noted, and which of it no end was noted of.
    pub(super) fn open(path: PathBuf) -> (Self, Vec<BackupReport>) {
        let reports: Option<Vec<BackupReport>> = match durable::load(&path) {
            Ok(found) => found,
            Err(error) => {
                warn!(error = %chain(&error), "what is known of earlier backups is lost");
                None
            }
        };
        let mut book = Self { path, reports: reports.unwrap_or_default() };
        let is_open = |report: &&BackupReport| !report.phase.is_over();
        let left: Vec<BackupReport> = book.reports.iter().filter(is_open).cloned().collect();
        for report in left.iter().filter(|report| !report.phase.is_stored()) {
            let now = Timestamp::now();
            book.note(BackupReport {
                phase: BackupPhase::Failed,
                since: now,
                ended: Some(now),
                failure: Some(RESTARTED.to_owned()),
                ..report.clone()
            });
        }
        (book, left)
    }

    pub(super) fn note(&mut self, report: BackupReport) {
        match self.reports.iter_mut().find(|known| known.name == report.name) {
            Some(known) if *known == report => return,
            Some(known) => *known = report,
            None => self.reports.push(report),
        }
        let surplus = self.reports.len().saturating_sub(MOST);
        self.reports.drain(..surplus);
        if let Err(error) = durable::save(&self.path, &self.reports, Access::PRIVATE) {
            warn!(error = %chain(&error), "how a backup goes is not written down");
        }
    }

    /// The last one that came to this.
    pub(super) fn last(&self, phase: BackupPhase) -> Option<&BackupReport> {
        self.reports.iter().rev().find(|report| report.phase == phase)
    }

    /// When retention was last applied.
    pub(super) fn retained(&self) -> Option<Timestamp> {
        self.reports.iter().filter_map(|report| report.retained).max()
    }

    /// The one of this name, or the last one.
    pub(super) fn find(&self, name: Option<&str>) -> Option<BackupReport> {
        let is_meant = |report: &&BackupReport| name.is_none_or(|name| report.name == name);
        self.reports.iter().rev().find(is_meant).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::InstanceName;
    use pgherd_core::units::Bytes;

    fn report(name: &str, phase: BackupPhase) -> BackupReport {
        let now = Timestamp::UNIX_EPOCH;
        BackupReport {
            name: name.to_owned(),
            asked_by: None,
            id: Some("20261122T112233".to_owned()),
            instance: InstanceName::parse("db-1").unwrap(),
            destination: "/b".to_owned(),
            endpoint: None,
            server: "db".to_owned(),
            phase,
            since: now,
            ordered: now,
            ended: None,
            done: Bytes(0),
            total: Bytes(0),
            stored: Bytes(0),
            rate: None,
            left_milliseconds: None,
            waits_for: None,
            began: None,
            taken: None,
            builds_on: None,
            full_because: None,
            all_read_because: None,
            failure: None,
            passing: false,
            recoverable_since: None,
            retained: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_restart_fails_what_was_not_stored_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backups.json");
        let (mut book, left) = Book::open(path.clone());
        assert_eq!((left, book.find(None)), (vec![], None));
        book.note(report("a", BackupPhase::Completed));
        book.note(report("b", BackupPhase::Copy));
        book.note(report("c", BackupPhase::Wal));
        let (book, left) = Book::open(path);
        let names: Vec<_> = left.iter().map(|report| report.name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
        let told = book.find(Some("b")).unwrap();
        assert_eq!((told.phase, told.failure.as_deref()), (BackupPhase::Failed, Some(RESTARTED)));
        assert_eq!(book.find(Some("a")).unwrap().phase, BackupPhase::Completed);
        assert_eq!(book.find(None).unwrap().phase, BackupPhase::Wal, "it is only waited for");
    }

    #[test]
    fn old_reports_are_forgotten_at_last() {
        let folder = tempfile::tempdir().unwrap();
        let (mut book, _) = Book::open(folder.path().join("backups.json"));
        for number in 0..=MOST {
            book.note(report(&format!("n{number}"), BackupPhase::Completed));
        }
        assert_eq!(book.find(Some("n0")), None);
        assert!(book.find(Some("n1")).is_some());
    }
}
