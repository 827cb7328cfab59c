//! Backups and archives for tests, in few words.
//!
//! Never used outside tests.

use super::window::{Archive, Fork, Run, Streamed};
use super::{Backup, BackupId, Extent, Status};
use crate::units::{Lsn, Moment, Timeline};
use crate::wal::{Segment, SegmentSize};
use std::collections::BTreeMap;

pub(crate) const DAY: i64 = 86_400_000_000;

fn segment(timeline: u32, number: u64) -> Segment {
    Segment::holding(Timeline(timeline), Lsn(number << 24), SegmentSize::DEFAULT)
}

/// Taken so many days after 1970 began, within one segment of the log.
pub(crate) fn backup(day: i64, timeline: u32, number: u64) -> Backup {
    let ended = Moment(day * DAY);
    let text = ended.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let (date, time) = digits.split_at(8);
    Backup {
        id: BackupId::parse(&format!("{date}T{time}")).unwrap(),
        status: Status::Done,
        hold: None,
        builds_on: None,
        extent: Some(Extent {
            timeline: Timeline(timeline),
            begin: Lsn((number << 24) + 0x28),
            end: Lsn((number << 24) + 0x100),
            began: ended,
            ended,
            segment_size: SegmentSize::DEFAULT,
        }),
        has_data: true,
    }
}

/// The same, incremental to another one.
pub(crate) fn increment(of: Backup, base: &Backup) -> Backup {
    Backup { builds_on: Some(base.id.clone()), ..of }
}

/// Runs as timeline, first and last number, each archived in the minute of its last number; forks
/// as timeline, parent and position.
pub(crate) fn archive(runs: &[(u32, u64, u64)], forks: &[(u32, u32, u64)]) -> Archive {
    let run = |(timeline, first, last): &(u32, u64, u64)| Run {
        first: segment(*timeline, *first),
        last: segment(*timeline, *last),
        archived: Moment(i64::try_from(*last).unwrap() * 60_000_000),
    };
    let fork = |(timeline, parent, at): &(u32, u32, u64)| {
        (Timeline(*timeline), Fork { parent: Timeline(*parent), at: Lsn(*at) })
    };
    Archive {
        size: SegmentSize::DEFAULT,
        runs: runs.iter().map(run).collect(),
        forks: forks.iter().map(fork).collect(),
        streams: BTreeMap::new(),
    }
}

/// The same, with pieces of segments of these timelines up to these positions.
pub(crate) fn streaming(archive: Archive, streams: &[(u32, u64)]) -> Archive {
    let streamed = |(timeline, to): &(u32, u64)| {
        let segment = Segment::holding(Timeline(*timeline), Lsn(to - 1), archive.size);
        (segment, Streamed { to: Lsn(*to), stored: Moment(3_600_000_000), torn: false })
    };
    Archive { streams: streams.iter().map(streamed).collect(), ..archive }
}
