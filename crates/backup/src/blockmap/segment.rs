//! What one segment says, and what several that follow each other say together.
//!
//! Never joins what does not follow: each record names the one before it, and one that lies in two
//! segments has to be whole.

use super::Unreadable;
use super::record;
use super::touched::Touched;
use pgherd_core::units::{Lsn, SystemId};
use pgherd_core::wal::{Segment, SegmentSize};

/// Made from the bytes of a segment and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentMap {
    pub segment: Segment,
    pub size: SegmentSize,
    pub system: SystemId,
    /// CRC-32C of all that was read.
    pub sum: u32,
    pub continued: Continued,
    /// What the first record that begins in it says where the one before begins.
    pub previous: Option<Lsn>,
    /// Where its last whole record begins.
    pub last: Option<Lsn>,
    pub tail: Option<Tail>,
    /// By the records that are in it as a whole.
    pub touched: Touched,
}

/// What it begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continued {
    Nothing,
    /// The rest of a record that began before.
    Rest(Vec<u8>),
    /// A server that broke down was writing a record there, and it never became one.
    Abandoned,
}

/// The begin of a record whose rest is in the next segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    pub at: Lsn,
    pub bytes: Vec<u8>,
}

/// Segments that follow each other, as far as they were put together.
#[derive(Debug, Default)]
pub struct Joined {
    touched: Touched,
    segment: Option<Segment>,
    last: Option<Lsn>,
    tail: Option<Tail>,
}

impl Joined {
    /// Adds the next one.
    pub fn add(&mut self, map: SegmentMap) -> Result<(), Unreadable> {
        let SegmentMap { segment, size, continued, previous, last, tail, touched, .. } = map;
        let start = segment.start(size);
        // Timelines may change from one to the next.
        let next = |before: Segment| before.next(size).on(segment.timeline());
        let is_next =
            |before: Segment| next(before) == segment && before.timeline() <= segment.timeline();
        if self.segment.is_some_and(|before| !is_next(before)) {
            return Err(Unreadable::Gap(start));
        }
        let is_first = self.segment.is_none();
        match (self.tail.take(), continued) {
            (Some(tail), Continued::Rest(rest)) => {
                let whole = [tail.bytes, rest].concat();
                self.record(tail.at, &whole)?;
            }
            // What began before all of this is not asked for.
            (None, Continued::Rest(_) | Continued::Abandoned) if is_first => {}
            (Some(_), Continued::Abandoned) | (None, Continued::Nothing) => {}
            (Some(_), Continued::Nothing) | (None, Continued::Rest(_) | Continued::Abandoned) => {
                return Err(Unreadable::Gap(start));
            }
        }
        follows(self.last, previous).then_some(()).ok_or(Unreadable::Gap(start))?;
        self.last = last.or(self.last);
        self.touched.merge(&touched);
        (self.segment, self.tail) = (Some(segment), tail);
        Ok(())
    }

    /// A record that lies in two segments.
    fn record(&mut self, at: Lsn, whole: &[u8]) -> Result<(), Unreadable> {
        let header = record::read(whole, &mut self.touched);
        let header = header.map_err(|broken| Unreadable::record(at, broken))?;
        if !follows(self.last, Some(header.previous)) {
            return Err(Unreadable::Gap(at));
        }
        self.last = Some(at);
        Ok(())
    }

    pub fn end(self) -> Touched {
        self.touched
    }
}

/// Whether that is what a record says of the one before it, as far as both are known.
fn follows(last: Option<Lsn>, previous: Option<Lsn>) -> bool {
    last.is_none_or(|last| previous.is_none_or(|previous| previous == last))
}
