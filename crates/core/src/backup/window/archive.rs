//! The log that a repository holds: which segments, whole or in pieces, and where timelines left each
//! other.
//!
//! Never takes for the log of a timeline what its old primary wrote after it was left, unless that is
//! asked for.

use super::{Beyond, Interval};
use crate::units::{Lsn, Moment, Timeline};
use crate::wal::{Segment, SegmentSize};
use serde::Serialize;
use std::collections::BTreeMap;

/// Segments of one timeline that follow each other without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub first: Segment,
    pub last: Segment,
    /// When the last one was archived: what it holds was committed before.
    pub archived: Moment,
}

impl Run {
    pub(super) fn holds(&self, segment: Segment) -> bool {
        self.first <= segment && segment <= self.last
    }
}

/// How a timeline came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fork {
    pub parent: Timeline,
    pub at: Lsn,
}

/// How much of a segment can be put together from what was streamed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Streamed {
    /// Without a hole from its begin.
    pub to: Lsn,
    /// When the last part of that was stored; of one without a begin, its first part.
    pub stored: Moment,
    /// Whether there is more of it behind a hole.
    pub torn: bool,
}

/// The log that a repository holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Archive {
    pub size: SegmentSize,
    /// In the order of their names; with segments that are whole when they are put together.
    pub runs: Vec<Run>,
    /// What the history files say; a timeline without one begins by itself.
    pub forks: BTreeMap<Timeline, Fork>,
    /// Segments of which there are pieces.
    pub streams: BTreeMap<Segment, Streamed>,
}

impl Archive {
    pub(super) fn run(&self, segment: Segment) -> Option<&Run> {
        self.runs.iter().find(|run| run.holds(segment))
    }

    pub(super) fn on(&self, timeline: Timeline) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.first.timeline() == timeline)
    }

    pub(super) fn end(&self, run: &Run) -> Lsn {
        run.last.end(self.size)
    }

    /// How far the log goes from this segment on without a gap, and until when.
    pub(super) fn reach(&self, segment: Segment) -> Option<(Lsn, Moment)> {
        let Some(run) = self.run(segment) else { return self.tail(segment) };
        let tail = self.tail(run.last.next(self.size));
        Some(tail.unwrap_or((self.end(run), run.archived)))
    }

    /// The end of a timeline that is in no finished segment. None when the log goes on elsewhere:
    /// what an old primary wrote after it was left belongs to nobody.
    pub(super) fn tail(&self, segment: Segment) -> Option<(Lsn, Moment)> {
        let timeline = segment.timeline();
        let Streamed { to, stored, .. } = *self.streams.get(&segment)?;
        let to = self.left(timeline).fold(to, Lsn::min);
        (!self.goes_on(segment) && to > segment.start(self.size)).then_some((to, stored))
    }

    /// What is in pieces alone, behind where the next timeline began.
    pub(super) fn beyond(&self, interval: &Interval) -> Option<Beyond> {
        let segment = Segment::holding(interval.timeline, interval.to, self.size);
        let Streamed { to, stored, .. } = *self.streams.get(&segment)?;
        let is_more = interval.to < to && !self.goes_on(segment);
        is_more.then_some(Beyond { to, until: stored })
    }

    /// Whether there is a finished segment of this timeline at or behind this one.
    pub(super) fn goes_on(&self, segment: Segment) -> bool {
        self.on(segment.timeline()).any(|run| run.last >= segment)
    }

    /// Where others began that came from this timeline.
    pub(super) fn left(&self, timeline: Timeline) -> impl Iterator<Item = Lsn> {
        self.forks.values().filter(move |fork| fork.parent == timeline).map(|fork| fork.at)
    }

    /// How a timeline came about. One that comes from itself or a younger one is not believed:
    /// following it would not end.
    pub(in crate::backup) fn fork(&self, timeline: Timeline) -> Option<Fork> {
        self.forks.get(&timeline).filter(|fork| fork.parent < timeline).copied()
    }

    /// The first segment of each timeline of which there is log.
    pub(super) fn begins(&self) -> BTreeMap<Timeline, Segment> {
        let segments = self.runs.iter().map(|run| run.first).chain(self.streams.keys().copied());
        let mut begins = BTreeMap::new();
        for segment in segments {
            let first = begins.entry(segment.timeline()).or_insert(segment);
            *first = segment.min(*first);
        }
        begins
    }

    /// Up to where a segment that was never archived as a whole may be put together from pieces, by
    /// one who goes along `only` this timeline, or along the newest.
    pub fn put_together(&self, segment: Segment, only: Option<Timeline>) -> Option<Lsn> {
        let streamed = self.streams.get(&segment)?;
        let is_meant = only == Some(segment.timeline()) && !self.goes_on(segment);
        if is_meant || streamed.to == segment.end(self.size) {
            return Some(streamed.to);
        }
        self.tail(segment).map(|(to, _)| to)
    }
}

/// Joins segments into runs. They may come in any order; in the order of their names they take no
/// more memory than the runs.
pub fn runs(segments: impl IntoIterator<Item = (Segment, Moment)>, size: SegmentSize) -> Vec<Run> {
    let mut found = Runs::new(size);
    for (segment, archived) in segments {
        found.add(segment, archived);
    }
    found.joined()
}

/// Runs that are being collected.
#[derive(Debug, Clone)]
pub struct Runs {
    size: SegmentSize,
    runs: Vec<Run>,
}

impl Runs {
    pub fn new(size: SegmentSize) -> Self {
        Self { size, runs: Vec::new() }
    }

    pub fn add(&mut self, segment: Segment, archived: Moment) {
        let run = Run { first: segment, last: segment, archived };
        push(&mut self.runs, run, self.size);
    }

    pub fn joined(self) -> Vec<Run> {
        let Self { size, mut runs } = self;
        runs.sort_by_key(|run| (run.first, run.last));
        let mut joined = Vec::new();
        for run in runs {
            push(&mut joined, run, size);
        }
        joined
    }
}

/// Adds a run to the last one, if it follows there.
fn push(runs: &mut Vec<Run>, run: Run, size: SegmentSize) {
    match runs.last_mut() {
        Some(last) if last.holds(run.first) && run.last <= last.last => {}
        Some(last) if last.last.next(size) == run.first => {
            *last = Run { first: last.first, ..run };
        }
        Some(_) | None => runs.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_joined_in_any_order_and_count_once() {
        let segment =
            |number: u64| Segment::holding(Timeline(1), Lsn(number << 24), SegmentSize::DEFAULT);
        for stored in [[1, 1, 2, 3, 5, 6], [6, 2, 1, 5, 3, 1], [5, 6, 3, 2, 1, 6]] {
            let stored = stored.map(|number: u64| (segment(number), Moment(0)));
            let found: Vec<_> = runs(stored, SegmentSize::DEFAULT)
                .iter()
                .map(|run| (run.first, run.last))
                .collect();
            assert_eq!(found, [(segment(1), segment(3)), (segment(5), segment(6))]);
        }
    }
}
