//! Names the files that PostgreSQL's log is made of, and says which of them to move next.
//!
//! Never reads one: what a file holds is checked where it is read.

pub mod backlog;
pub mod prefetch;
pub mod queue;
pub mod stream;

use crate::units::{Bytes, Lsn, Timeline};
use serde::Serialize;
use std::fmt;

/// How large one segment is: a power of two from 1 MiB to 1 GiB, chosen by initdb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SegmentSize(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{given} bytes are no size of a WAL segment: it is a power of two from 1 MiB to 1 GiB")]
pub struct SegmentSizeError {
    given: u64,
}

impl SegmentSize {
    /// What initdb takes when it is not told otherwise.
    pub const DEFAULT: Self = Self(16 << 20);
    pub const LARGEST: Self = Self(1 << 30);

    pub fn new(given: Bytes) -> Result<Self, SegmentSizeError> {
        let size = u32::try_from(given.0).ok();
        size.filter(|size| size.is_power_of_two() && (1 << 20..=1 << 30).contains(size))
            .map(Self)
            .ok_or(SegmentSizeError { given: given.0 })
    }

    pub fn bytes(self) -> Bytes {
        Bytes(u64::from(self.0))
    }

    /// How many segments have the same upper half of the LSN, which their names begin with.
    fn in_one_log(self) -> u64 {
        (1 << 32) / u64::from(self.0)
    }
}

/// The name of a segment: 24 hexadecimal digits. Ordered as the names are, timelines first; which
/// part of the log it holds depends on the [`SegmentSize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    timeline: Timeline,
    log: u32,
    part: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not the name of a WAL segment: it has 24 upper-case hexadecimal digits")]
pub struct SegmentError {
    given: String,
}

impl Segment {
    pub fn parse(given: &str) -> Result<Self, SegmentError> {
        let refused = || SegmentError { given: given.to_owned() };
        let part = |from: usize| given.get(from..from + 8).and_then(hexadecimal);
        if given.len() != 24 {
            return Err(refused());
        }
        let parts = part(0).zip(part(8)).zip(part(16));
        let ((timeline, log), part) = parts.ok_or_else(refused)?;
        Ok(Self { timeline: Timeline(timeline), log, part })
    }

    /// The one that holds the byte at this position.
    pub fn holding(timeline: Timeline, lsn: Lsn, size: SegmentSize) -> Self {
        Self::numbered(timeline, lsn.0 / size.bytes().0, size)
    }

    fn numbered(timeline: Timeline, number: u64, size: SegmentSize) -> Self {
        let low = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (log, part) = (number / size.in_one_log(), number % size.in_one_log());
        Self { timeline, log: low(log), part: low(part) }
    }

    fn number(self, size: SegmentSize) -> u64 {
        u64::from(self.log) * size.in_one_log() + u64::from(self.part)
    }

    pub fn timeline(self) -> Timeline {
        self.timeline
    }

    /// The position of its first byte.
    pub fn start(self, size: SegmentSize) -> Lsn {
        Lsn(self.number(size).saturating_mul(size.bytes().0))
    }

    /// The position behind its last byte.
    pub fn end(self, size: SegmentSize) -> Lsn {
        Lsn(self.start(size).0.saturating_add(size.bytes().0))
    }

    /// Whether PostgreSQL gives this name with segments of this size.
    pub fn exists_with(self, size: SegmentSize) -> bool {
        u64::from(self.part) < size.in_one_log()
    }

    pub fn next(self, size: SegmentSize) -> Self {
        Self::numbered(self.timeline, self.number(size) + 1, size)
    }

    /// The one before, unless this is the first there can be.
    pub fn previous(self, size: SegmentSize) -> Option<Self> {
        let before = self.number(size).checked_sub(1)?;
        Some(Self::numbered(self.timeline, before, size))
    }

    /// The same part of the log on another timeline.
    pub fn on(self, timeline: Timeline) -> Self {
        Self { timeline, ..self }
    }

    /// The folder that barman keeps it in: the first 16 digits of its name.
    pub fn folder(self) -> String {
        format!("{:08X}{:08X}", self.timeline.0, self.log)
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline.0, self.log, self.part)
    }
}

impl Serialize for Segment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A file that PostgreSQL archives, by its name. Ordered by when it is to be archived: histories
/// first, because a standby must learn of a timeline before it meets its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalFile {
    /// How a timeline came about, `00000002.history`.
    History(Timeline),
    Segment(Segment),
    /// What was complete of a segment when its timeline ended, `....partial`.
    Partial(Segment),
    /// Where a backup began and ended, `....00000028.backup`.
    Label {
        segment: Segment,
        offset: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a file that PostgreSQL archives: those are named like \
     0000000100000000000000A7, ..A7.partial, ..A7.00000028.backup and 00000002.history"
)]
pub struct WalFileError {
    given: String,
}

impl WalFile {
    pub fn parse(given: &str) -> Result<Self, WalFileError> {
        Self::read(given).ok_or_else(|| WalFileError { given: given.to_owned() })
    }

    fn read(given: &str) -> Option<Self> {
        if let Some(timeline) = given.strip_suffix(".history") {
            let timeline = hexadecimal(timeline).filter(|_| timeline.len() == 8)?;
            return Some(Self::History(Timeline(timeline)));
        }
        let Some((segment, rest)) = given.split_once('.') else {
            return Segment::parse(given).ok().map(Self::Segment);
        };
        let segment = Segment::parse(segment).ok()?;
        if rest == "partial" {
            return Some(Self::Partial(segment));
        }
        let offset = rest.strip_suffix(".backup").filter(|offset| offset.len() == 8)?;
        Some(Self::Label { segment, offset: hexadecimal(offset)? })
    }

    pub fn timeline(self) -> Timeline {
        match self {
            Self::History(timeline) => timeline,
            Self::Segment(segment) | Self::Partial(segment) | Self::Label { segment, .. } => {
                segment.timeline
            }
        }
    }
}

impl fmt::Display for WalFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History(timeline) => write!(f, "{:08X}.history", timeline.0),
            Self::Segment(segment) => segment.fmt(f),
            Self::Partial(segment) => write!(f, "{segment}.partial"),
            Self::Label { segment, offset } => write!(f, "{segment}.{offset:08X}.backup"),
        }
    }
}

impl Serialize for WalFile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Upper case only: PostgreSQL writes and asks for nothing else.
fn hexadecimal(given: &str) -> Option<u32> {
    let plain = given.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
    u32::from_str_radix(given, 16).ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(mebibytes: u64) -> SegmentSize {
        SegmentSize::new(Bytes(mebibytes << 20)).unwrap()
    }

    fn segment(name: &str) -> Segment {
        Segment::parse(name).unwrap()
    }

    #[test]
    fn names_read_back_as_written() {
        for name in [
            "00000001000000000000000A",
            "FFFFFFFFFFFFFFFFFFFFFFFF",
            "0000000200000001000000FF.partial",
            "00000001000000000000000A.00000028.backup",
            "0000000A.history",
        ] {
            assert_eq!(WalFile::parse(name).unwrap().to_string(), name);
        }
        for bad in [
            "",
            "00000001000000000000000",
            "00000001000000000000000a",
            "00000001000000000000000A.gz",
            "00000001000000000000000A.28.backup",
            "1.history",
            "+0000001.history",
            "ä0000001000000000000000",
        ] {
            assert!(WalFile::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_next_segment_depends_on_the_size() {
        let last = "0000000100000000000000FF";
        let next = |mebibytes| segment(last).next(size(mebibytes)).to_string();
        assert_eq!(next(16), "000000010000000100000000");
        assert_eq!(next(1), "000000010000000000000100");
        assert_eq!(
            segment("000000010000000000000003").next(size(1024)).to_string(),
            "000000010000000100000000"
        );
        assert!(!segment(last).exists_with(size(1024)));
        for mebibytes in [1, 2, 16, 64, 1024] {
            let first = Segment::holding(Timeline(3), Lsn(7 << 32), size(mebibytes));
            let before = first.previous(size(mebibytes)).unwrap();
            assert_eq!(before.next(size(mebibytes)), first);
            assert_eq!(before.end(size(mebibytes)), first.start(size(mebibytes)));
        }
        assert_eq!(segment("000000010000000000000000").previous(size(16)), None);
    }

    #[test]
    fn a_position_lies_in_the_segment_that_postgresql_names() {
        // pg_walfile_name('16/B374D848') on timeline 1.
        let lsn = Lsn::parse("16/B374D848").unwrap();
        let found = Segment::holding(Timeline(1), lsn, SegmentSize::DEFAULT);
        assert_eq!(found.to_string(), "0000000100000016000000B3");
        assert_eq!(found.start(SegmentSize::DEFAULT).to_string(), "16/B3000000");
        assert_eq!(found.folder(), "0000000100000016");
    }

    #[test]
    fn sizes_are_powers_of_two_from_a_mebibyte_to_a_gibibyte() {
        for bad in [0, 1, 1 << 19, (1 << 20) + 1, 1 << 31, 1 << 40] {
            assert!(SegmentSize::new(Bytes(bad)).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn histories_come_first_and_then_what_is_older() {
        let mut names = [
            "00000002000000000000000B",
            "00000001000000000000000C",
            "00000002.history",
            "00000001000000000000000B",
        ]
        .map(|name| WalFile::parse(name).unwrap());
        names.sort();
        assert_eq!(
            names.map(|name| name.to_string()),
            [
                "00000002.history",
                "00000001000000000000000B",
                "00000001000000000000000C",
                "00000002000000000000000B",
            ]
        );
    }
}
