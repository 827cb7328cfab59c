//! Decides which bytes of the log go to the store before their segment is finished, and which of
//! those there are not needed any more.
//!
//! Never goes past what is durable here, never leaves a hole, and never writes when nothing is new.

use super::queue::Failed;
use super::{Segment, SegmentSize};
use crate::units::{Bytes, Lsn, Time, Timeline};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// So much is not held back until it is time.
const ENOUGH: Bytes = Bytes(1 << 20);
/// What one piece holds at most: it is in memory while it is on its way.
const MOST: Bytes = Bytes(4 << 20);
/// After the first failure; doubled with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Some bytes of a segment, from one position to before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    pub segment: Segment,
    pub from: Lsn,
    pub to: Lsn,
}

impl Piece {
    /// From its name, among those of its segment.
    pub fn parse(segment: Segment, name: &str) -> Option<Self> {
        let (from, to) = name.split_once('-')?;
        let [from, to] = [from, to].map(|half| {
            let lsn = u64::from_str_radix(half, 16).ok()?;
            (format!("{lsn:016X}") == half).then_some(Lsn(lsn))
        });
        let piece = Self { segment, from: from?, to: to? };
        (piece.from < piece.to).then_some(piece)
    }

    /// What tells it from the others of its segment. Names are ordered as positions are.
    pub fn name(self) -> String {
        format!("{:016X}-{:016X}", self.from.0, self.to.0)
    }

    pub fn length(self) -> Bytes {
        self.to.ahead_of(self.from)
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to {}", self.segment, self.from, self.to)
    }
}

/// The pieces that lead from a segment's begin as far as there is no hole, and how far that is.
pub fn cover<'a>(
    pieces: impl IntoIterator<Item = &'a Piece>,
    segment: Segment,
    size: SegmentSize,
) -> (Vec<Piece>, Lsn) {
    let mut of_it: Vec<Piece> =
        pieces.into_iter().filter(|one| one.segment == segment).copied().collect();
    of_it.sort_unstable();
    let (mut chosen, mut end) = (Vec::new(), segment.start(size));
    let mut rest = of_it.as_slice();
    loop {
        // Who began anew may have cut it into other pieces: the one that leads farthest counts.
        let reached = rest.partition_point(|one| one.from <= end);
        let (near, far) = rest.split_at(reached);
        match near.iter().max_by_key(|one| one.to) {
            Some(best) if best.to > end && best.to <= segment.end(size) => {
                chosen.push(*best);
                (end, rest) = (best.to, far);
            }
            Some(_) | None => return (chosen, end),
        }
    }
}

/// All that the decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub timeline: Timeline,
    /// What PostgreSQL has flushed.
    pub flushed: Lsn,
    /// All before is in the store, or on its way there with its segment.
    pub next: Lsn,
    pub size: SegmentSize,
    /// Segments of this timeline that are in the store as a whole.
    pub landed: &'a BTreeSet<Segment>,
    /// Segments of which there are pieces in the store.
    pub held: &'a BTreeSet<Segment>,
    pub pace: Pace,
    pub failed: Option<Failed>,
}

/// How often there may be a piece, and how that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    pub interval: Duration,
    /// When the last piece was begun, and how long it took.
    pub last: Option<(Time, Duration)>,
}

impl Pace {
    /// A piece is to be there when the interval is over, not on its way.
    fn due(self) -> Time {
        self.last.map_or(Time::ZERO, |(began, took)| {
            began.after(self.interval.saturating_sub(took).max(self.interval / 2))
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where the stream is, past what has landed.
    pub next: Lsn,
    /// To be stored now.
    pub put: Option<Piece>,
    /// Segments whose pieces are not needed any more.
    pub drop: BTreeSet<Segment>,
    /// When to look again if nothing happens before.
    pub look_again: Time,
}

/// What comes next on the way, as soon as it is time or enough.
pub fn plan(sight: &Sight<'_>, now: Time) -> Plan {
    let size = sight.size;
    let holding = |lsn| Segment::holding(sight.timeline, lsn, size);
    let mut next = sight.next;
    while sight.landed.contains(&holding(next)) {
        next = holding(next).end(size);
    }
    let segment = holding(next);
    let most = Lsn(next.0.saturating_add(MOST.0)).min(segment.end(size));
    let piece = Piece { segment, from: next, to: sight.flushed.min(most) };
    let drop = sight.held.intersection(sight.landed).copied().collect();
    if piece.to <= piece.from {
        return Plan { next, put: None, drop, look_again: Time::NEVER };
    }
    let is_enough = piece.length() >= ENOUGH || piece.to == segment.end(size);
    let due = if is_enough { Time::ZERO } else { sight.pace.due() };
    let due = due.max(sight.failed.map_or(Time::ZERO, again));
    let put = (due <= now).then_some(piece);
    Plan { next, put, drop, look_again: if put.is_some() { Time::NEVER } else { due } }
}

fn again(failed: Failed) -> Time {
    let doublings = failed.times.saturating_sub(1).min(8);
    failed.last.after(FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE))
}

/// Up to where nothing is missing in the store: a segment that waits to be archived may be there in
/// pieces, as far as `covered` says.
pub fn stored(
    next: (Timeline, Lsn),
    size: SegmentSize,
    waiting: &BTreeSet<Segment>,
    covered: &BTreeMap<Segment, Lsn>,
) -> Lsn {
    let (timeline, next) = next;
    let before = |one: &&Segment| one.timeline() == timeline && one.start(size) < next;
    let hole = waiting.iter().filter(before).find_map(|one| {
        let end = covered.get(one).copied().unwrap_or_else(|| one.start(size));
        (end < one.end(size).min(next)).then_some(end)
    });
    hole.unwrap_or(next)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.next)?;
        if let Some(piece) = &self.put {
            write!(f, "; put {piece}")?;
        }
        for segment in &self.drop {
            write!(f, "; drop {segment}")?;
        }
        if self.look_again == Time::NEVER {
            Ok(())
        } else {
            write!(f, "; again at {}", self.look_again)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn segment(number: u64) -> Segment {
        Segment::holding(Timeline(1), Lsn(number << 24), SIZE)
    }

    fn segments(numbers: &[u64]) -> BTreeSet<Segment> {
        numbers.iter().map(|number| segment(*number)).collect()
    }

    struct Story {
        flushed: u64,
        next: u64,
        landed: BTreeSet<Segment>,
        held: BTreeSet<Segment>,
        /// Milliseconds.
        last: Option<(u64, u64)>,
        failed: Option<Failed>,
    }

    fn story(next: u64, flushed: u64) -> Story {
        let (landed, held) = (BTreeSet::new(), BTreeSet::new());
        Story { flushed, next, landed, held, last: None, failed: None }
    }

    fn check(story: &Story, milliseconds: u64, expected: &Expect) {
        let time = |milliseconds: u64| Time(milliseconds * 1000);
        let took = |(began, took)| (time(began), Duration::from_millis(took));
        let sight = Sight {
            timeline: Timeline(1),
            flushed: Lsn(story.flushed),
            next: Lsn(story.next),
            size: SIZE,
            landed: &story.landed,
            held: &story.held,
            pace: Pace { interval: Duration::from_secs(1), last: story.last.map(took) },
            failed: story.failed,
        };
        expected.assert_eq(&plan(&sight, time(milliseconds)).to_string());
    }

    #[test]
    fn nothing_new_is_nothing_to_do() {
        check(&story(0x300_0100, 0x300_0100), 5000, &expect!["at 0/3000100"]);
        // A server that was begun anew says less for a moment.
        check(&story(0x300_0100, 0x300_0000), 5000, &expect!["at 0/3000100"]);
    }

    #[test]
    fn a_little_waits_for_its_time_and_is_there_when_that_is_over() {
        let new = story(0x300_0100, 0x300_0200);
        let expected =
            expect!["at 0/3000100; put 000000010000000000000003 from 0/3000100 to 0/3000200"];
        check(&new, 0, &expected);
        let new = Story { last: Some((1000, 200)), ..new };
        check(&new, 1500, &expect!["at 0/3000100; again at 1.800s"]);
        check(&new, 1800, &expected);
        let slow = Story { last: Some((1000, 3000)), ..new };
        check(&slow, 1400, &expect!["at 0/3000100; again at 1.500s"]);
    }

    #[test]
    fn much_does_not_wait_and_goes_piece_by_piece() {
        let new = story(0x300_0000, 0x320_0000);
        let busy = Story { last: Some((1000, 10)), ..new };
        check(
            &busy,
            1010,
            &expect!["at 0/3000000; put 000000010000000000000003 from 0/3000000 to 0/3200000"],
        );
        let busy = Story { flushed: 0x900_0000, ..busy };
        check(
            &busy,
            1010,
            &expect!["at 0/3000000; put 000000010000000000000003 from 0/3000000 to 0/3400000"],
        );
        // The end of a segment is not left for later.
        let busy = Story { next: 0x3FF_FF00, ..busy };
        check(
            &busy,
            1010,
            &expect!["at 0/3FFFF00; put 000000010000000000000003 from 0/3FFFF00 to 0/4000000"],
        );
    }

    #[test]
    fn what_has_landed_is_passed_over_and_its_pieces_go() {
        let new = story(0x300_0100, 0x500_0200);
        let new = Story { landed: segments(&[3, 4, 6]), held: segments(&[2, 3, 6]), ..new };
        check(
            &new,
            0,
            &expect![
                "at 0/5000000; put 000000010000000000000005 from 0/5000000 to 0/5000200; drop 000000010000000000000003; drop 000000010000000000000006"
            ],
        );
        let old = Story { flushed: 0x400_0000, landed: segments(&[3]), ..new };
        check(&old, 0, &expect!["at 0/4000000; drop 000000010000000000000003"]);
    }

    #[test]
    fn a_store_that_fails_is_left_alone_for_a_while() {
        let failed = |times| Some(Failed { times, last: Time(2_000_000) });
        let new = Story { failed: failed(2), ..story(0x300_0000, 0x380_0000) };
        check(&new, 2000, &expect!["at 0/3000000; again at 4.000s"]);
        let new = Story { failed: failed(60), ..new };
        check(&new, 2000, &expect!["at 0/3000000; again at 12.000s"]);
    }

    fn piece(from: u64, to: u64) -> Piece {
        Piece { segment: segment(3), from: Lsn(0x300_0000 + from), to: Lsn(0x300_0000 + to) }
    }

    #[test]
    fn pieces_lead_as_far_as_there_is_no_hole() {
        let whole = 1 << 24;
        let reach = |pieces: &[Piece]| {
            let (chosen, end) = cover(pieces, segment(3), SIZE);
            (chosen.len(), end.0 - 0x300_0000)
        };
        assert_eq!(reach(&[]), (0, 0));
        assert_eq!(reach(&[piece(10, 20)]), (0, 0), "its begin is missing");
        assert_eq!(reach(&[piece(20, 30), piece(0, 20)]), (2, 30));
        assert_eq!(reach(&[piece(0, 20), piece(21, 30)]), (1, 20));
        assert_eq!(reach(&[piece(0, 20), piece(0, 40), piece(20, 30), piece(30, 50)]), (2, 50));
        assert_eq!(reach(&[piece(0, whole + 1)]), (0, 0), "it is not of this segment");
        assert_eq!(reach(&[piece(0, 9), piece(9, whole)]), (2, whole));
        let other = Piece { segment: segment(4), ..piece(0, 20) };
        assert_eq!(reach(&[other]), (0, 0));
    }

    #[test]
    fn names_read_back_as_written() {
        let one = piece(0, 0x1_0000);
        assert_eq!(one.name(), "0000000003000000-0000000003010000");
        assert_eq!(Piece::parse(one.segment, &one.name()), Some(one));
        for bad in [
            "",
            "-",
            "0-1",
            "0000000003000000-0000000003000000",
            "0000000003000000-+000000003010000",
        ] {
            assert_eq!(Piece::parse(one.segment, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_segment_that_waits_ends_what_is_stored_unless_its_pieces_are_there() {
        let said = |waiting: &[u64], covered: &[(u64, u64)]| {
            let covered = covered.iter().map(|(number, to)| (segment(*number), Lsn(*to)));
            let next = (Timeline(1), Lsn(0x500_0200));
            stored(next, SIZE, &segments(waiting), &covered.collect()).to_string()
        };
        assert_eq!(said(&[], &[]), "0/5000200");
        assert_eq!(said(&[3, 4], &[]), "0/3000000");
        assert_eq!(said(&[3, 4], &[(3, 0x400_0000)]), "0/4000000");
        assert_eq!(said(&[3, 4], &[(3, 0x400_0000), (4, 0x480_0000)]), "0/4800000");
        assert_eq!(said(&[3, 4], &[(3, 0x400_0000), (4, 0x500_0000)]), "0/5000200");
        assert_eq!(said(&[5], &[(5, 0x500_0200)]), "0/5000200");
    }
}
