//! Describes a backup as barman does.
//!
//! Never says of one that it is done before it is.

use super::session::{Started, Stopped};
use crate::backup_info::{BackupInfo, Files, Point};
use pgherd_core::backup::Status;
use pgherd_core::units::{Bytes, Lsn, Moment};
use pgherd_core::wal::Segment;
use std::path::Path;

pub(super) struct Description<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) started: &'a Started,
    pub(super) stopped: &'a Stopped,
    pub(super) size: Bytes,
}

/// What is told of it.
pub(super) fn describe(of: &Description<'_>) -> BackupInfo {
    let Description { name, started, stopped, size } = of;
    let point = |lsn: Lsn, within: Lsn, time: Moment| Point {
        lsn: Some(lsn),
        segment: Some(Segment::holding(started.timeline, within, started.segment_size)),
        time: Some(time),
    };
    // The last byte that is needed lies before the end.
    let last = Lsn(stopped.end.0.saturating_sub(1).max(started.begin.0));
    let text = |path: &Path| Some(path.display().to_string());
    BackupInfo {
        name: name.map(str::to_owned),
        label: Some(stopped.label.clone()),
        begin: point(started.begin, started.begin, started.at),
        end: point(stopped.end, last, stopped.at),
        timeline: Some(started.timeline),
        segment_size: Some(started.segment_size),
        system: Some(started.system),
        version: Some(started.version),
        status: Some(Status::Done),
        files: Files {
            pgdata: text(&started.pgdata),
            config: text(&started.config_file),
            hba: text(&started.hba_file),
            ident: text(&started.ident_file),
        },
        tablespaces: started.tablespaces.clone(),
        size: Some(*size),
        comments: vec!["taken by pgherd".to_owned()],
        ..BackupInfo::default()
    }
}
