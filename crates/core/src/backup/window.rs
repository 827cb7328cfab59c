//! Works out to which points a repository can take a cluster back, and where the log has gaps.
//!
//! Never promises a point behind a segment that is missing, and never guesses what a lost history
//! file said.

mod archive;
mod gaps;

pub use archive::{Archive, Fork, Run, Runs, Streamed, runs};
pub use gaps::{Gap, Stray};

use super::{Backup, BackupId, Extent, increment};
use crate::units::{Lsn, Moment, Timeline};
use crate::wal::Segment;
use serde::Serialize;
use std::fmt;

/// What can be recovered, timeline by timeline, and what cannot and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// In the order of timelines and positions.
    pub intervals: Vec<Interval>,
    pub gaps: Vec<Gap>,
    pub strays: Vec<Stray>,
    pub unusable: Vec<Unusable>,
}

/// A stretch of one timeline of which every point can be recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    pub timeline: Timeline,
    /// The oldest backup that leads here, directly or over the timelines before.
    pub backup: BackupId,
    pub from: Lsn,
    /// When that backup ended; what was committed earlier on this timeline is out of reach.
    pub since: Moment,
    pub to: Lsn,
    /// What was committed until shortly before this is in it.
    pub until: Moment,
    pub beyond: Option<Beyond>,
}

/// What a primary stored that was left before a standby had it. It is lost to whoever follows the
/// newest timeline, and not to those who name this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Beyond {
    pub to: Lsn,
    /// When the last of it was stored.
    pub until: Moment,
}

impl Interval {
    /// How far it goes for those who name its timeline.
    pub fn alone(&self) -> (Lsn, Moment) {
        self.beyond.map_or((self.to, self.until), |beyond| (beyond.to, beyond.until))
    }

    pub fn holds(&self, lsn: Lsn) -> bool {
        self.from <= lsn && lsn <= self.to
    }
}

/// A backup that is done and yet cannot be recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unusable {
    pub backup: BackupId,
    pub missing: Missing,
}

/// What a backup needs and is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// The first segment of the log that makes it consistent.
    Log(Segment),
    /// A backup that it builds on, or the data of that one.
    Backup(BackupId),
    /// All but its description.
    Data,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(segment) => write!(f, "{segment}"),
            Self::Backup(id) => write!(f, "backup {id}, which it builds on,"),
            Self::Data => f.write_str("its data"),
        }
    }
}

/// Looks at every backup that is done and follows the log from it as far as it goes.
pub fn window(backups: &[Backup], archive: &Archive) -> Window {
    let mut intervals: Vec<Interval> = Vec::new();
    let mut unusable = Vec::new();
    for (id, extent) in backups.iter().filter_map(|backup| Some((&backup.id, backup.done()?))) {
        let missing = match (increment::chain(id, backups), start(id, extent, archive)) {
            (Err(lost), _) if lost == *id => Missing::Data,
            (Err(base), _) => Missing::Backup(base),
            (Ok(_), Err(segment)) => Missing::Log(segment),
            (Ok(_), Ok(interval)) => {
                join(&mut intervals, interval);
                continue;
            }
        };
        unusable.push(Unusable { backup: id.clone(), missing });
    }
    // A timeline is always younger than the one it came from, so one pass reaches all.
    for (timeline, fork) in &archive.forks {
        if let Some(interval) = enter(*timeline, *fork, &intervals, archive) {
            join(&mut intervals, interval);
        }
    }
    intervals.sort_by_key(|interval| (interval.timeline, interval.from));
    for interval in &mut intervals {
        interval.beyond = archive.beyond(interval);
    }
    let (gaps, strays) = (gaps::gaps(&intervals, archive), gaps::strays(&intervals, archive));
    Window { intervals, gaps, strays, unusable }
}

/// From where a backup is consistent to the end of its run; or the segment it lacks for that.
fn start(id: &BackupId, extent: Extent, archive: &Archive) -> Result<Interval, Segment> {
    let (first, last) = (extent.first_segment(), extent.last_segment());
    let run = archive.run(first);
    let missing = match run {
        Some(run) if run.holds(last) => None,
        Some(run) => Some(run.last.next(archive.size)),
        None => Some(first),
    };
    let (to, until) = match missing {
        None => archive.reach(last).ok_or(last)?,
        Some(missing) => {
            let tail = archive.tail(missing).filter(|(to, _)| *to >= extent.end);
            tail.or_else(|| copied(extent, missing, archive)).ok_or(missing)?
        }
    };
    let (timeline, backup) = (extent.timeline, id.clone());
    let (from, since) = (extent.end, extent.ended);
    Ok(Interval { timeline, backup, from, since, to, until, beyond: None })
}

/// Where the backup's timeline was left, if that was in the backup's last segment and only this
/// one is missing: a promotion copies the segment it happens in, and recovery takes the copy.
fn copied(extent: Extent, missing: Segment, archive: &Archive) -> Option<(Lsn, Moment)> {
    if missing != extent.last_segment() {
        return None;
    }
    left_within(missing, extent.end, archive)
}

/// Where the timeline of this segment was last left within it, not before this position, by one
/// whose copy of the segment is there. That one may itself have been left within it: then the
/// copy of a still younger one is.
fn left_within(segment: Segment, from: Lsn, archive: &Archive) -> Option<(Lsn, Moment)> {
    let parent = segment.timeline();
    let children = archive.forks.iter().filter(|(timeline, fork)| {
        let copy = Segment::holding(**timeline, fork.at, archive.size);
        // A history that names a younger timeline is damaged; following it would not end.
        fork.parent == parent
            && parent < **timeline
            && from <= fork.at
            && copy == segment.on(**timeline)
    });
    let copies = children.filter_map(|(timeline, fork)| {
        let copy = segment.on(*timeline);
        let archived = match archive.reach(copy) {
            Some((_, archived)) => archived,
            None => left_within(copy, fork.at, archive)?.1,
        };
        Some((fork.at, archived))
    });
    copies.max_by_key(|(at, _)| *at)
}

/// The part of a timeline that is reached from the one it came from.
fn enter(
    timeline: Timeline,
    fork: Fork,
    reached: &[Interval],
    archive: &Archive,
) -> Option<Interval> {
    // A promotion copies the segment it happens in, so the parent's own copy is not needed.
    let first = Segment::holding(timeline, fork.at, archive.size);
    let from = reached.iter().find(|interval| {
        interval.timeline == fork.parent
            && interval.from <= fork.at
            && first.start(archive.size) <= interval.to
    })?;
    let (to, until) = match archive.reach(first).filter(|(to, _)| *to > fork.at) {
        Some(reached) => reached,
        // It was left before it had finished one: what it has is in the copy.
        None => left_within(first, fork.at, archive)?,
    };
    Some(Interval { timeline, from: fork.at, to, until, ..from.clone() })
}

/// Adds an interval; those that end at the same place are one, from the older start on.
fn join(intervals: &mut Vec<Interval>, interval: Interval) {
    let same =
        |other: &&mut Interval| (other.timeline, other.to) == (interval.timeline, interval.to);
    match intervals.iter_mut().find(same) {
        Some(other) if interval.from < other.from => *other = interval,
        Some(_) => {}
        None => intervals.push(interval),
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.intervals {
            writeln!(
                f,
                "timeline {}: {} to {} ({} to {}) from backup {}",
                one.timeline, one.from, one.to, one.since, one.until, one.backup
            )?;
            if let Some(Beyond { to, until }) = one.beyond {
                writeln!(f, "timeline {} alone: to {to} ({until})", one.timeline)?;
            }
        }
        for Gap { first, last, since, .. } in &self.gaps {
            writeln!(f, "missing: {first} to {last}, after {since}")?;
        }
        for Stray { timeline, first } in &self.strays {
            writeln!(f, "no history: timeline {timeline}, from {first} on")?;
        }
        for Unusable { backup, missing } in &self.unusable {
            writeln!(f, "backup {backup} cannot be recovered: {missing} is missing")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::{archive, backup, streaming};
    use crate::wal::SegmentSize;
    use expect_test::{Expect, expect};
    use std::collections::BTreeMap;

    fn check(backups: &[Backup], archive: &Archive, expected: &Expect) {
        expected.assert_eq(&window(backups, archive).to_string());
    }

    #[test]
    fn backups_on_one_run_are_one_interval() {
        let backups = [backup(1, 1, 3), backup(2, 1, 6)];
        check(
            &backups,
            &archive(&[(1, 2, 9)], &[]),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/A000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:09:00 UTC) from backup 19700102T000000
        "#]],
        );
    }

    #[test]
    fn a_missing_segment_ends_one_interval_and_the_next_backup_begins_another() {
        let backups = [backup(1, 1, 3), backup(2, 1, 9)];
        check(
            &backups,
            &archive(&[(1, 3, 5), (1, 7, 12)], &[]),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            timeline 1: 0/9000100 to 0/D000000 (1970-01-03 00:00:00 UTC to 1970-01-01 00:12:00 UTC) from backup 19700103T000000
            missing: 000000010000000000000006 to 000000010000000000000006, after 1970-01-01 00:05:00 UTC
        "#]],
        );
    }

    #[test]
    fn a_hole_in_what_was_streamed_last_is_a_gap_unless_the_log_goes_on_elsewhere() {
        let whole = archive(&[(1, 2, 6)], &[]);
        let streamed = |archive: Archive, to: u64, torn: bool| {
            let segment = Segment::holding(Timeline(1), Lsn(0x700_0000), archive.size);
            let streamed = Streamed { to: Lsn(to), stored: Moment(3_600_000_000), torn };
            Archive { streams: BTreeMap::from([(segment, streamed)]), ..archive }
        };
        let seen = |archive: &Archive| {
            let window = window(&[backup(1, 1, 3)], archive);
            let gaps = window.gaps.iter().map(|gap| format!("{} at {}", gap.first, gap.at));
            (window.intervals.last().unwrap().to, gaps.collect::<Vec<_>>())
        };
        let gap = |at: &str| vec![format!("000000010000000000000007 at {at}")];
        let to = |lsn| Lsn(lsn);
        assert_eq!(seen(&streamed(whole.clone(), 0x700_2000, false)), (to(0x700_2000), vec![]));
        let torn = streamed(whole.clone(), 0x700_2000, true);
        assert_eq!(seen(&torn), (to(0x700_2000), gap("0/7002000")));
        let at_its_begin = streamed(whole, 0x700_0000, true);
        assert_eq!(seen(&at_its_begin), (to(0x700_0000), gap("0/7000000")));
        let archived = streamed(archive(&[(1, 2, 7)], &[]), 0x700_2000, true);
        assert_eq!(seen(&archived), (to(0x800_0000), vec![]));
        let left = archive(&[(1, 2, 6), (2, 7, 8)], &[(2, 1, 0x700_1000)]);
        assert_eq!(seen(&streamed(left, 0x700_2000, true)), (to(0x900_0000), vec![]));
    }

    #[test]
    fn log_that_is_missing_before_another_timeline_is_a_gap() {
        let backups = [backup(1, 1, 3)];
        check(
            &backups,
            &archive(&[(1, 2, 6), (2, 9, 12)], &[(2, 1, 0x900_0100)]),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/7000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:06:00 UTC) from backup 19700102T000000
            missing: 000000010000000000000007 to 000000010000000000000008, after 1970-01-01 00:06:00 UTC
        "#]],
        );
        // Once, although it lies between two others, too.
        let window =
            window(&backups, &archive(&[(1, 2, 6), (1, 8, 9), (2, 9, 12)], &[(2, 1, 0x900_0100)]));
        assert_eq!(window.gaps.len(), 1, "{window}");
    }

    #[test]
    fn a_timeline_whose_history_is_lost_or_makes_no_sense_is_told() {
        for forks in [&[][..], &[(2, 2, 0x700_0100)]] {
            check(
                &[backup(1, 1, 3)],
                &archive(&[(1, 2, 6), (2, 7, 12)], forks),
                &expect![[r#"
                timeline 1: 0/3000100 to 0/7000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:06:00 UTC) from backup 19700102T000000
                no history: timeline 2, from 000000020000000000000007 on
            "#]],
            );
        }
        // Nothing older leads there: its history would be of no use.
        let alone = window(&[backup(1, 2, 8)], &archive(&[(2, 7, 12)], &[]));
        assert_eq!(alone.strays, []);
    }

    #[test]
    fn a_backup_without_its_own_segments_is_unusable() {
        check(
            &[backup(1, 1, 3)],
            &archive(&[(1, 4, 9)], &[]),
            &expect![[r#"
            backup 19700102T000000 cannot be recovered: 000000010000000000000003 is missing
        "#]],
        );
        let lost = Backup { has_data: false, ..backup(1, 1, 3) };
        let built_on = Backup { builds_on: Some(lost.id.clone()), ..backup(2, 1, 5) };
        check(
            &[lost, built_on],
            &archive(&[(1, 2, 9)], &[]),
            &expect![[r#"
            backup 19700102T000000 cannot be recovered: its data is missing
            backup 19700103T000000 cannot be recovered: backup 19700102T000000, which it builds on, is missing
        "#]],
        );
        let mut long = backup(1, 1, 3);
        if let Some(extent) = &mut long.extent {
            extent.end = Lsn(0x600_0000);
        }
        check(
            &[long],
            &archive(&[(1, 2, 4)], &[]),
            &expect![[r#"
            backup 19700102T000000 cannot be recovered: 000000010000000000000005 is missing
        "#]],
        );
    }

    #[test]
    fn what_a_younger_timeline_begins_with_is_a_gap_if_it_is_missing() {
        let backups = [backup(1, 1, 3)];
        // It was left in segment 5, and what came of it has nothing before segment 7.
        let lost = archive(&[(1, 2, 4), (2, 7, 9)], &[(2, 1, 0x500_0100)]);
        let told = window(&backups, &lost);
        let gap = told.gaps[0];
        assert_eq!(
            (gap.timeline, gap.at, gap.is_of_another()),
            (Timeline(1), Lsn(0x500_0000), true)
        );
        assert_eq!(
            (gap.first.to_string(), gap.last.to_string()),
            ("000000020000000000000005".to_owned(), "000000020000000000000006".to_owned(),)
        );
        // The same over one that has no log of its own.
        let over = archive(&[(1, 2, 5), (3, 7, 9)], &[(2, 1, 0x500_0100), (3, 2, 0x500_0200)]);
        let gap = window(&backups, &over).gaps[0];
        assert_eq!((gap.timeline, gap.at), (Timeline(1), Lsn(0x500_0100)));
        let named = [gap.first, gap.last].map(|segment| segment.to_string());
        assert_eq!(named, ["000000020000000000000005", "000000030000000000000006"]);
        // With its copy of that segment nothing is missing.
        let whole = archive(&[(1, 2, 4), (2, 5, 9)], &[(2, 1, 0x500_0100)]);
        assert_eq!(window(&backups, &whole).gaps, []);
    }

    #[test]
    fn timelines_are_followed_where_they_fork() {
        // The parent's copy of the segment of the promotion was never archived.
        let forks = [(2, 1, 0x600_0100), (3, 2, 0x800_0000)];
        let runs = [(1, 3, 5), (2, 6, 7), (3, 8, 9)];
        check(
            &[backup(1, 1, 3)],
            &archive(&runs, &forks),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            timeline 2: 0/6000100 to 0/8000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:07:00 UTC) from backup 19700102T000000
            timeline 3: 0/8000000 to 0/A000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:09:00 UTC) from backup 19700102T000000
        "#]],
        );
    }

    #[test]
    fn a_promotion_in_the_backups_last_segment_leaves_a_copy_of_it() {
        let forks = [(2, 1, 0x300_0200)];
        check(
            &[backup(1, 1, 3)],
            &archive(&[(1, 1, 2), (2, 3, 5)], &forks),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/3000200 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            timeline 2: 0/3000200 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
        "#]],
        );
        // It left before the backup was consistent.
        let forks = [(2, 1, 0x300_0080)];
        check(
            &[backup(1, 1, 3)],
            &archive(&[(1, 1, 2), (2, 3, 5)], &forks),
            &expect![[r#"
            backup 19700102T000000 cannot be recovered: 000000010000000000000003 is missing
        "#]],
        );
    }

    /// Found by killing PostgreSQL twice within a segment: a recovery to the end stopped at the
    /// first of the two deaths, and said nothing.
    #[test]
    fn timelines_that_were_left_within_their_first_segment_lead_on() {
        let forks = [(2, 1, 0x600_0100), (3, 2, 0x600_0200), (4, 3, 0x600_0300)];
        check(
            &[backup(1, 1, 3)],
            &archive(&[(1, 3, 5), (4, 6, 9)], &forks),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            timeline 2: 0/6000100 to 0/6000200 (1970-01-02 00:00:00 UTC to 1970-01-01 00:09:00 UTC) from backup 19700102T000000
            timeline 3: 0/6000200 to 0/6000300 (1970-01-02 00:00:00 UTC to 1970-01-01 00:09:00 UTC) from backup 19700102T000000
            timeline 4: 0/6000300 to 0/A000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:09:00 UTC) from backup 19700102T000000
        "#]],
        );
        // The same in the segment in which a backup ended.
        let forks = [(2, 1, 0x300_0200), (3, 2, 0x300_0300)];
        check(
            &[backup(1, 1, 3)],
            &archive(&[(1, 1, 2), (3, 3, 5)], &forks),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/3000200 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            timeline 2: 0/3000200 to 0/3000300 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            timeline 3: 0/3000300 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
        "#]],
        );
        // Nobody has what the second one wrote before it was left.
        let forks = [(2, 1, 0x600_0100), (3, 2, 0x700_0100)];
        check(
            &[backup(1, 1, 3)],
            &archive(&[(1, 3, 5), (3, 7, 9)], &forks),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            missing: 000000020000000000000006 to 000000020000000000000006, after 1970-01-01 00:05:00 UTC
        "#]],
        );
    }

    #[test]
    fn a_timeline_that_forked_before_the_backup_or_behind_a_gap_is_out_of_reach() {
        let forks = [(2, 1, 0x200_0100), (3, 1, 0x800_0100)];
        let runs = [(1, 1, 5), (1, 7, 9), (2, 2, 4), (3, 8, 9)];
        check(
            &[backup(1, 1, 3)],
            &archive(&runs, &forks),
            &expect![[r#"
            timeline 1: 0/3000100 to 0/6000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:05:00 UTC) from backup 19700102T000000
            missing: 000000010000000000000006 to 000000010000000000000006, after 1970-01-01 00:05:00 UTC
        "#]],
        );
    }

    #[test]
    fn what_was_streamed_is_the_end_of_a_timeline_that_nobody_left() {
        let backups = [backup(1, 1, 3)];
        let streamed =
            |runs: &[(u32, u64, u64)], forks: &[(u32, u32, u64)], streams: &[(u32, u64)]| {
                window(&backups, &streaming(archive(runs, forks), streams)).to_string()
            };
        expect![[r#"
            timeline 1: 0/3000100 to 0/A000300 (1970-01-02 00:00:00 UTC to 1970-01-01 01:00:00 UTC) from backup 19700102T000000
        "#]]
        .assert_eq(&streamed(&[(1, 2, 9)], &[], &[(1, 0xA00_0300)]));
        // Behind a hole, or before one, it is of no use.
        expect![[r#"
            timeline 1: 0/3000100 to 0/A000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:09:00 UTC) from backup 19700102T000000
        "#]]
        .assert_eq(&streamed(&[(1, 2, 9)], &[], &[(1, 0xB00_0300)]));
        expect![[r#"
            timeline 1: 0/3000100 to 0/5000000 (1970-01-02 00:00:00 UTC to 1970-01-01 00:04:00 UTC) from backup 19700102T000000
            missing: 000000010000000000000005 to 000000010000000000000005, after 1970-01-01 00:04:00 UTC
        "#]]
        .assert_eq(&streamed(&[(1, 2, 4), (1, 6, 9)], &[], &[(1, 0x500_0300)]));
        // Not even the segment that makes the backup consistent had landed.
        expect![[r#"
            timeline 1: 0/3000100 to 0/3000300 (1970-01-02 00:00:00 UTC to 1970-01-01 01:00:00 UTC) from backup 19700102T000000
        "#]]
        .assert_eq(&streamed(&[], &[], &[(1, 0x300_0300)]));
        expect![[r#"
            backup 19700102T000000 cannot be recovered: 000000010000000000000003 is missing
        "#]]
        .assert_eq(&streamed(&[], &[], &[(1, 0x300_0080)]));
    }

    #[test]
    fn what_an_old_primary_streamed_ends_where_it_was_left() {
        let backups = [backup(1, 1, 3)];
        let forks = [(2, 1, 0x600_0100)];
        let streams = [(1, 0x600_0900), (2, 0x600_0700)];
        let both = streaming(archive(&[(1, 3, 5)], &forks), &streams);
        check(
            &backups,
            &both,
            &expect![[r#"
            timeline 1: 0/3000100 to 0/6000100 (1970-01-02 00:00:00 UTC to 1970-01-01 01:00:00 UTC) from backup 19700102T000000
            timeline 1 alone: to 0/6000900 (1970-01-01 01:00:00 UTC)
            timeline 2: 0/6000100 to 0/6000700 (1970-01-02 00:00:00 UTC to 1970-01-01 01:00:00 UTC) from backup 19700102T000000
        "#]],
        );
        let segment =
            |timeline| Segment::holding(Timeline(timeline), Lsn(0x600_0000), SegmentSize::DEFAULT);
        let along = |archive: &Archive, timeline, only: Option<u32>| {
            archive.put_together(segment(timeline), only.map(Timeline))
        };
        assert_eq!(along(&both, 1, None), Some(Lsn(0x600_0100)));
        assert_eq!(along(&both, 1, Some(2)), Some(Lsn(0x600_0100)));
        assert_eq!(along(&both, 1, Some(1)), Some(Lsn(0x600_0900)));
        assert_eq!(along(&both, 2, None), Some(Lsn(0x600_0700)));
        // It was left before this segment, or the segment after it is there.
        let forks = [(2, 1, 0x5FF_0000)];
        let left = streaming(archive(&[(1, 3, 5), (2, 5, 7)], &forks), &streams);
        assert_eq!(along(&left, 1, None), None);
        assert_eq!(along(&left, 1, Some(1)), Some(Lsn(0x600_0900)));
        assert_eq!(along(&left, 2, Some(2)), None);
        let whole = streaming(archive(&[(1, 3, 9)], &forks), &[(1, 0x700_0000)]);
        assert_eq!(along(&whole, 1, None), Some(Lsn(0x700_0000)));
    }
}
