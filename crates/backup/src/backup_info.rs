//! Reads and writes `backup.info`, the description of a backup that barman's tools read.
//!
//! Never fails to read one: what is not understood is listed, because one strange file must not
//! hide all other backups. Never writes a field that barman 3.4 does not know: that one would
//! refuse the whole server.

pub mod literal;
mod read;
mod write;

use literal::Literal;
use pgherd_core::backup::{Backup, BackupId, Extent, Hold, Status};
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};

/// What a description says; a field that is absent or `None` there is `None` here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupInfo {
    /// What people call it; ids are their own names.
    pub name: Option<String>,
    /// The content of `backup_label`, as `pg_backup_stop` returned it.
    pub label: Option<String>,
    pub begin: Point,
    pub end: Point,
    pub timeline: Option<Timeline>,
    pub segment_size: Option<SegmentSize>,
    pub system: Option<SystemId>,
    /// As `server_version_num` says it, 150018.
    pub version: Option<u32>,
    pub status: Option<Status>,
    pub error: Option<String>,
    pub files: Files,
    pub tablespaces: Vec<Tablespace>,
    pub size: Option<Bytes>,
    pub deduplicated_size: Option<Bytes>,
    /// How long it took; for people.
    pub copy_stats: Option<Literal>,
    /// Read only: there is one for backups that are snapshots of volumes, which we do not take.
    pub snapshots: Option<Literal>,
    /// Lines for us alone, without the `#` that hides them from barman.
    pub comments: Vec<String>,
    /// Read only.
    pub problems: Vec<Problem>,
}

/// Where a backup began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    pub lsn: Option<Lsn>,
    pub segment: Option<Segment>,
    pub time: Option<Moment>,
}

/// Where things lay on the machine it was taken on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    pub pgdata: Option<String>,
    pub config: Option<String>,
    pub hba: Option<String>,
    pub ident: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tablespace {
    pub name: String,
    pub oid: u32,
    pub location: String,
}

/// A line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the field {0:?} is not known: a newer barman wrote it")]
    UnknownField(String),
    #[error("the field {field:?} has a value that is not understood: {value:?}")]
    Value { field: &'static str, value: String },
    #[error("line {0} is no field: it has no \"=\"")]
    NoField(usize),
    #[error("the file is larger than a description can be")]
    TooLarge,
}

/// Why a description is of no use for decisions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the description of backup {backup} is damaged or not whole: it lacks {lacks}")]
pub struct Incomplete {
    pub backup: BackupId,
    pub lacks: &'static str,
}

impl BackupInfo {
    /// What decisions need of it.
    pub fn backup(&self, id: BackupId, hold: Option<Hold>) -> Result<Backup, Incomplete> {
        // Whoever writes one says that first of all: without it some of it is missing.
        let Some(status) = self.status else {
            return Err(Incomplete { backup: id, lacks: "status" });
        };
        let extent = match (self.extent(), status) {
            (Ok(extent), _) => Some(extent),
            (Err(lacks), Status::Done) => return Err(Incomplete { backup: id, lacks }),
            (Err(_), Status::Unfinished | Status::Failed | Status::WaitingForWal) => None,
        };
        Ok(Backup { id, status, hold, builds_on: None, extent, has_data: true })
    }

    fn extent(&self) -> Result<Extent, &'static str> {
        let segment_size = self.segment_size.unwrap_or(SegmentSize::DEFAULT);
        let start = |point: Point| Some(point.segment?.start(segment_size));
        let timeline = self.timeline.or(self.begin.segment.map(Segment::timeline));
        let timeline = timeline.ok_or("timeline")?;
        // Without the position the whole segment counts.
        let begin = self.begin.lsn.or(start(self.begin)).ok_or("begin_xlog")?;
        let end = self.end.lsn.or(start(self.end)).ok_or("end_xlog")?;
        let ended = self.end.time.ok_or("end_time")?;
        let began = self.begin.time.unwrap_or(ended);
        Ok(Extent { timeline, begin, end, began, ended, segment_size })
    }
}

#[cfg(test)]
mod tests;
