//! The write-ahead log as files: names, timelines, and where a stopped server's log ends.
//!
//! Never changes a byte of the primary's past that can be read.

pub mod cut;
pub mod end;
pub mod fork;
pub mod history;
pub mod unbegun;

use pgherd_core::units::{Bytes, Lsn, Timeline};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The unit in which the log is written, in bytes. Each has a header of its own.
pub const PAGE: u64 = 8192;

/// The name of a segment file: 24 hexadecimal digits, of which the first eight are the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub timeline: Timeline,
    high: u32,
    low: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("listing the log files in {folder:?}")]
    ListFolder { folder: PathBuf, source: io::Error },
    #[error("there is no segment in {folder:?}: the log was removed, restore it or clone again")]
    FindSegment { folder: PathBuf },
    #[error("{name:?} is no file of the log: ask for a segment or a timeline history")]
    AcceptName { name: String },
    #[error("opening {path:?}")]
    OpenFile { path: PathBuf, source: io::Error },
}

impl Segment {
    /// The segment that holds `lsn`.
    pub fn holding(timeline: Timeline, lsn: Lsn, size: Bytes) -> Self {
        let number = lsn.0 / size.0.max(1);
        let per_high = (1 << 32) / size.0.max(1);
        let half = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self { timeline, high: half(number / per_high.max(1)), low: half(number % per_high.max(1)) }
    }

    pub fn parse(name: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        if name.len() != 24 || !name.bytes().all(digits) {
            return None;
        }
        let part = |at: usize| u32::from_str_radix(name.get(at..at + 8)?, 16).ok();
        Some(Self { timeline: Timeline(part(0)?), high: part(8)?, low: part(16)? })
    }

    /// Whether `other` is for the same stretch of log, on a later timeline.
    pub fn is_ancestor_of(self, other: Self) -> bool {
        (self.high, self.low) == (other.high, other.low) && self.timeline < other.timeline
    }

    /// Where it begins.
    pub fn begins(self, size: Bytes) -> Lsn {
        Lsn((u64::from(self.high) << 32).saturating_add(u64::from(self.low) * size.0))
    }
}

impl std::fmt::Display for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08X}{:08X}{:08X}", self.timeline.0, self.high, self.low)
    }
}

pub fn folder(data: &Path) -> PathBuf {
    data.join("pg_wal")
}

/// Where a segment lies.
pub fn path(data: &Path, segment: Segment) -> PathBuf {
    folder(data).join(segment.to_string())
}

/// The position that a page claims for itself: a page that is only kept for reuse claims one of an
/// earlier time.
pub fn claimed(page: &[u8]) -> Option<Lsn> {
    // Magic, flags and timeline come before it.
    let position = page.get(8..16)?.try_into().ok()?;
    Some(Lsn(u64::from_ne_bytes(position)))
}

/// The segments in a data folder, ordered by timeline and position.
pub fn segments(data: &Path) -> Result<Vec<Segment>, WalError> {
    let mut segments: Vec<_> =
        names(data)?.iter().filter_map(|name| Segment::parse(name)).collect();
    segments.sort_unstable();
    Ok(segments)
}

/// The newest timeline this folder has any log of.
pub fn highest_timeline(data: &Path) -> Result<Timeline, WalError> {
    let highest = segments(data)?.last().map(|segment| segment.timeline);
    highest.ok_or_else(|| WalError::FindSegment { folder: folder(data) })
}

/// Opens a segment or a timeline history for a peer that asks for it by name.
pub fn open(data: &Path, name: &str) -> Result<File, WalError> {
    // The name comes from outside: only these two forms reach the file system.
    if Segment::parse(name).is_none() && history::parse_name(name).is_none() {
        return Err(WalError::AcceptName { name: name.to_owned() });
    }
    let path = folder(data).join(name);
    File::open(&path).map_err(|source| WalError::OpenFile { path, source })
}

fn names(data: &Path) -> Result<Vec<String>, WalError> {
    let folder = folder(data);
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            // A name that is not text is none of PostgreSQL's.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    };
    list().map_err(|source| WalError::ListFolder { folder: folder.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Bytes = Bytes(16 << 20);

    #[test]
    fn names_follow_positions() {
        let at = |lsn| Segment::holding(Timeline(3), Lsn::parse(lsn).unwrap(), SIZE);
        assert_eq!(at("0/1741570").to_string(), "000000030000000000000001");
        assert_eq!(at("16/B374D848").to_string(), "0000000300000016000000B3");
        assert_eq!(at("16/FFFFFFFF").to_string(), "0000000300000016000000FF");
        assert_eq!(at("17/0").to_string(), "000000030000001700000000");
        let segment = Segment::parse("0000000300000016000000B3").unwrap();
        assert_eq!(segment.begins(SIZE).to_string(), "16/B3000000");
        for bad in ["", "0000000300000016000000b3", "0000000300000016000000B3.partial"] {
            assert_eq!(Segment::parse(bad), None);
        }
    }

    #[test]
    fn a_peer_gets_log_files_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("pg_wal");
        std::fs::create_dir(&wal).unwrap();
        for name in ["000000010000000000000001", "00000002.history", "000000020000000000000001"] {
            std::fs::write(wal.join(name), name).unwrap();
            assert!(open(folder.path(), name).is_ok());
        }
        std::fs::write(wal.join("secret"), "x").unwrap();
        for bad in ["secret", "../PG_VERSION", "/etc/passwd", "", "00000002.history/.."] {
            assert!(matches!(open(folder.path(), bad), Err(WalError::AcceptName { .. })), "{bad}");
        }
        assert_eq!(highest_timeline(folder.path()).unwrap(), Timeline(2));
        assert_eq!(segments(folder.path()).unwrap().len(), 2);
    }
}
