//! Counts what an archiver has stored, and what it could not.
//!
//! Never forgets before the agent ends: whoever reads it looks at differences.

use super::stream::Done;
use jiff::Timestamp;
use pgherd_core::units::Bytes;
use pgherd_core::wal::{SegmentSize, WalFile};

/// Since the archiver was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segments that were stored, and how much log they are.
    pub segments: u64,
    pub bytes: Bytes,
    /// Attempts that failed, whatever they were to store.
    pub failures: u64,
    pub failed: Option<Timestamp>,
    /// Pieces of the stream, and how much log they are.
    pub pieces: u64,
    pub streamed: Bytes,
    pub stream_failures: u64,
}

impl Counts {
    /// An attempt to store a file came to its end.
    pub(super) fn pushed<E>(&mut self, file: WalFile, pushed: &Result<(), E>, size: SegmentSize) {
        match (pushed, file) {
            (Ok(()), WalFile::Segment(_) | WalFile::Partial(_)) => {
                self.segments += 1;
                self.bytes.0 = self.bytes.0.saturating_add(size.bytes().0);
            }
            (Ok(()), WalFile::History(_) | WalFile::Label { .. }) => {}
            (Err(_), _) => self.fail(),
        }
    }

    /// Gaps of earlier primaries could not be filled.
    pub(super) fn fail(&mut self) {
        self.failures += 1;
        self.failed = Some(Timestamp::now());
    }

    /// A task of the stream came to its end.
    pub(super) fn streamed(&mut self, done: &Done) {
        match done {
            Done::Put(piece, Ok(())) => {
                self.pieces += 1;
                let flushed = piece.to.ahead_of(piece.from);
                self.streamed.0 = self.streamed.0.saturating_add(flushed.0);
            }
            Done::Put(_, Err(_)) | Done::Looked(_, Err(_)) => self.stream_failures += 1,
            Done::Looked(_, Ok(_)) | Done::Dropped(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_counted_as_segments() {
        let mut counts = Counts::default();
        for name in ["000000010000000000000001", "00000002.history"] {
            counts.pushed(WalFile::parse(name).unwrap(), &Ok::<_, ()>(()), SegmentSize::DEFAULT);
        }
        assert_eq!((counts.segments, counts.bytes), (1, Bytes(16 << 20)));
        let file = WalFile::parse("00000002.history").unwrap();
        counts.pushed(file, &Err("no"), SegmentSize::DEFAULT);
        assert_eq!((counts.segments, counts.failures), (1, 1));
        assert!(counts.failed.is_some());
    }
}
