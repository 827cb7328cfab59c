//! Finds the log that is missing on the way to other log, and timelines that nothing leads to.
//!
//! Never takes for a gap what a recovery does not need.

use super::{Archive, Fork, Interval, Run, Streamed};
use crate::units::{Lsn, Moment, Timeline};
use crate::wal::Segment;
use serde::Serialize;

/// A timeline that comes from one that can be recovered, and nobody knows where: its history file
/// is missing or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stray {
    pub timeline: Timeline,
    /// The first segment that is there.
    pub first: Segment,
}

/// Segments that are missing on the way to others that are there; of one there may be a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    pub first: Segment,
    pub last: Segment,
    /// When the last segment before the gap was archived.
    pub since: Moment,
    /// The timeline that the log is on before it, and where it ends there.
    pub timeline: Timeline,
    pub at: Lsn,
}

impl Gap {
    /// Whether the log that goes so far along a timeline is ended by this gap.
    pub fn ends(&self, timeline: Timeline, to: Lsn) -> bool {
        (self.timeline, self.at) == (timeline, to)
    }

    /// Whether it is what a younger timeline begins with that is missing: this one may go on, and yet what
    /// came later is on the other one.
    pub fn is_of_another(&self) -> bool {
        self.first.timeline() != self.timeline
    }
}

/// What is missing of timelines that can be recovered in part.
pub(super) fn gaps(intervals: &[Interval], archive: &Archive) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut timelines: Vec<Timeline> = intervals.iter().map(|one| one.timeline).collect();
    timelines.dedup();
    for timeline in timelines {
        let reached = intervals.iter().find(|one| one.timeline == timeline).map(|one| one.from);
        let runs: Vec<&Run> = archive.on(timeline).collect();
        for pair in runs.windows(2) {
            if let [before, after] = pair
                && reached.is_some_and(|from| from <= archive.end(before))
                && let Some(last) = after.first.previous(archive.size)
            {
                let first = before.last.next(archive.size);
                let at = archive.end(before);
                gaps.push(Gap { first, last, since: before.archived, timeline, at });
            }
        }
        gaps.extend(torn(timeline, intervals, archive));
    }
    for gap in before_forks(intervals, archive) {
        if !gaps.iter().any(|other| other.ends(gap.timeline, gap.at)) {
            gaps.push(gap);
        }
    }
    gaps.sort_by_key(|gap| (gap.first, gap.last));
    gaps
}

/// Holes in what was streamed of a segment that the log of this timeline ends in.
fn torn(timeline: Timeline, intervals: &[Interval], archive: &Archive) -> Vec<Gap> {
    let torn = archive.streams.iter().filter(|(segment, streamed)| {
        let ends_there = |one: &Interval| (one.timeline, one.to) == (timeline, streamed.to);
        streamed.torn
            && segment.timeline() == timeline
            && !archive.goes_on(**segment)
            && archive.left(timeline).all(|at| at > streamed.to)
            && intervals.iter().any(ends_there)
    });
    let gap = |(segment, streamed): (&Segment, &Streamed)| Gap {
        first: *segment,
        last: *segment,
        since: streamed.stored,
        timeline,
        at: streamed.to,
    };
    torn.map(gap).collect()
}

/// What is missing between where the log of a timeline ends and where a younger one has log: of the one
/// that it left, or of what it begins with.
fn before_forks(intervals: &[Interval], archive: &Archive) -> Vec<Gap> {
    let entered = |timeline, fork: Fork| {
        intervals.iter().any(|one| one.timeline == timeline && one.from <= fork.at)
    };
    let younger = archive
        .begins()
        .into_keys()
        .filter(|timeline| archive.fork(*timeline).is_some_and(|fork| !entered(*timeline, fork)));
    younger.filter_map(|timeline| before(timeline, intervals, archive)).collect()
}

/// The same for one timeline, from the nearest of those it comes from that can be recovered.
fn before(timeline: Timeline, intervals: &[Interval], archive: &Archive) -> Option<Gap> {
    let mut child = timeline;
    let (reached, fork) = loop {
        let fork = archive.fork(child)?;
        let leads = |one: &&Interval| one.timeline == fork.parent && one.from <= fork.at;
        match intervals.iter().filter(leads).max_by_key(|one| one.to) {
            Some(reached) => break (reached, fork),
            None => child = fork.parent,
        }
    };
    let size = archive.size;
    let (since, on) = (reached.until, reached.timeline);
    let copy = Segment::holding(timeline, fork.at, size);
    if reached.to < copy.start(size) {
        let first = Segment::holding(on, reached.to, size);
        let last = copy.previous(size)?.on(on);
        return Some(Gap { first, last, since, timeline: on, at: reached.to });
    }
    let runs = archive.on(timeline).filter(|run| run.last >= copy).map(|run| run.first.max(copy));
    let streamed = archive.streams.keys().copied();
    let streamed = streamed.filter(|one| one.timeline() == timeline && *one >= copy);
    let there = runs.chain(streamed).min().filter(|there| *there > copy)?;
    let last = there.previous(size)?;
    // What comes before a timeline is of the one that it left.
    let own = archive.fork(timeline).map(|own| Segment::holding(timeline, own.at, size));
    let last = if own.is_some_and(|own| last < own) { last.on(child) } else { last };
    Some(Gap { first: copy.on(child), last, since, timeline: on, at: reached.to.min(fork.at) })
}

/// Timelines of which nobody knows how they came about.
pub(super) fn strays(intervals: &[Interval], archive: &Archive) -> Vec<Stray> {
    let begins = archive.begins().into_iter();
    let stray = begins.filter(|(timeline, _)| {
        archive.fork(*timeline).is_none() && intervals.iter().any(|one| one.timeline < *timeline)
    });
    stray.map(|(timeline, first)| Stray { timeline, first }).collect()
}
