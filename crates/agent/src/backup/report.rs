//! What is told of a backup while it is taken.
//!
//! Never tells more than has happened.

use super::Place;
use crate::naming;
use jiff::Timestamp;
use pgherd_api::agent::{
    ArchiveSpec, BackupBegun, BackupOrder, BackupPhase, BackupReport, BackupTaken,
};
use pgherd_backup::base::{Looked, Started, Taken};
use pgherd_core::backup::Extent;
use pgherd_core::units::{Bytes, Moment};
use pgherd_core::wal::Segment;

/// What is told of a backup before it has begun.
pub(super) fn ordered(
    (place, archive): (&Place, &ArchiveSpec),
    order: &BackupOrder,
) -> BackupReport {
    let now = Timestamp::now();
    BackupReport {
        name: order.name.clone(),
        asked_by: order.asked_by.clone(),
        id: Some(naming::second(now)),
        instance: place.me.clone(),
        destination: archive.destination.clone(),
        endpoint: archive.endpoint.clone(),
        server: archive.server.clone(),
        phase: BackupPhase::Starting,
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

pub(super) fn ended(
    report: BackupReport,
    phase: BackupPhase,
    failure: Option<String>,
) -> BackupReport {
    let now = Timestamp::now();
    BackupReport { phase, since: now, ended: Some(now), waits_for: None, failure, ..report }
}

pub(super) fn tell_begun(report: &mut BackupReport, started: &Started) {
    let segment = Segment::holding(started.timeline, started.begin, started.segment_size);
    report.phase = BackupPhase::Copy;
    report.since = Timestamp::now();
    report.began = Some(BackupBegun {
        at: timestamp(started.at),
        timeline: started.timeline,
        lsn: started.begin,
        wal: segment.to_string(),
        version: started.version,
    });
}

pub(super) fn tell_taken(report: &mut BackupReport, taken: &Taken, extent: Extent) {
    report.done = taken.bytes;
    report.total = taken.bytes;
    report.stored = taken.stored;
    report.builds_on = taken.builds_on.as_ref().map(ToString::to_string);
    if let Some(unfit) = &taken.unfit {
        report.full_because = Some(unfit.to_string());
    }
    report.all_read_because = match &taken.looked {
        Looked::ByScan(why) => Some(why.to_string()),
        Looked::Full | Looked::ByMap => None,
    };
    report.taken = Some(BackupTaken {
        at: timestamp(taken.stopped.at),
        lsn: taken.stopped.end,
        wal: extent.last_segment().to_string(),
        files: taken.files,
        bytes: taken.bytes,
        stored: taken.stored,
        bad_pages: taken.bad_pages_in_all,
    });
    report.warnings.extend(warnings(taken));
}

/// What is wrong with a backup that is there.
fn warnings(taken: &Taken) -> Vec<String> {
    const SHOWN: usize = 10;
    let mut warnings = Vec::new();
    if taken.bad_pages_in_all > 0 {
        let first = taken.bad_pages.iter().take(SHOWN);
        let first: Vec<_> =
            first.map(|page| format!("{} block {}", page.path, page.block)).collect();
        warnings.push(format!(
            "{} pages are damaged on this instance's disk, and so in the backup: {}; copy the \
             instance anew, and take another backup",
            taken.bad_pages_in_all,
            first.join(", ")
        ));
    }
    if !taken.skipped.is_empty() {
        let first = taken.skipped.iter().take(SHOWN);
        let first: Vec<_> = first.map(|path| path.display().to_string()).collect();
        warnings.push(format!("left out, because they are no files: {}", first.join(", ")));
    }
    warnings
}

fn timestamp(moment: Moment) -> Timestamp {
    Timestamp::from_microsecond(moment.0).unwrap_or_default()
}
