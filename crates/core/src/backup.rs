//! What is known of backups and of the log beside them, and what is decided from it.
//!
//! Never reads a repository: what it holds is handed in, and so is the time.

pub mod choice;
pub mod course;
pub mod horizon;
pub mod increment;
pub mod leftover;
pub mod newest;
pub mod retention;
pub mod schedule;
pub mod taker;
pub mod window;

#[cfg(test)]
mod fixtures;

use crate::units::{Lsn, Moment, Timeline};
use crate::wal::{Segment, SegmentSize};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a backup: when it began, `20261122T112233`. Later ones are greater, also when a clock
/// was set back: then it is the second after the newest one's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BackupId(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the id of a backup: use the form 20261122T112233")]
pub struct BackupIdError {
    given: String,
}

impl BackupId {
    pub fn parse(given: &str) -> Result<Self, BackupIdError> {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_id = given.split_once('T').is_some_and(|(day, time)| {
            day.len() == 8 && time.len() == 6 && digits(day) && digits(time)
        });
        if is_id {
            Ok(Self(given.to_owned()))
        } else {
            Err(BackupIdError { given: given.to_owned() })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a backup has come. Only what is done can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It is being taken, or its writer died.
    Unfinished,
    Failed,
    /// It waits for the log that makes it consistent.
    WaitingForWal,
    Done,
}

/// A hold that keeps retention away from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// It is kept, and all log from it on.
    Full,
    /// It is kept with no more log than makes it consistent.
    Standalone,
}

/// A backup as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    pub id: BackupId,
    pub status: Status,
    pub hold: Option<Hold>,
    /// The backup that it is incremental to: without that one it cannot be restored.
    pub builds_on: Option<BackupId>,
    /// What a finished backup consists of.
    pub extent: Option<Extent>,
    /// Whether more than its description is there, as far as a listing tells.
    pub has_data: bool,
}

/// Which part of the log makes a backup consistent, and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    pub timeline: Timeline,
    pub begin: Lsn,
    /// Recovery has to come this far.
    pub end: Lsn,
    /// By the clock of who took it, as the end is.
    pub began: Moment,
    pub ended: Moment,
    pub segment_size: SegmentSize,
}

impl Extent {
    pub fn first_segment(self) -> Segment {
        Segment::holding(self.timeline, self.begin, self.segment_size)
    }

    /// The one with the last byte that is needed.
    pub fn last_segment(self) -> Segment {
        let last = Lsn(self.end.0.saturating_sub(1).max(self.begin.0));
        Segment::holding(self.timeline, last, self.segment_size)
    }
}

impl Backup {
    /// What it consists of, when it can be restored.
    pub fn done(&self) -> Option<Extent> {
        match self.status {
            Status::Done => self.extent,
            Status::Unfinished | Status::Failed | Status::WaitingForWal => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_second_a_backup_began() {
        assert_eq!(BackupId::parse("20261122T112233").unwrap().as_str(), "20261122T112233");
        for bad in
            ["", "20261122", "20261122T11223", "20261122t112233", "2026112xT112233", "nightly"]
        {
            assert!(BackupId::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
