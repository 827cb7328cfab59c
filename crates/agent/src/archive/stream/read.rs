//! Reads a part of a segment that PostgreSQL still writes to.
//!
//! Never what it has not flushed, and never what a file held before or was given after.

use pgherd_backup::wal::header::{Damage, Expected, Header, LENGTH};
use pgherd_core::units::SystemId;
use pgherd_core::wal::stream::Piece;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("reading {path:?} to stream it")]
    Read { path: PathBuf, source: io::Error },
    #[error("streaming {path:?}, which is not what its name says")]
    NotWhatItSays { path: PathBuf, source: Damage },
    #[error("{path:?} was put to another use while it was streamed")]
    Gone { path: PathBuf },
}

pub(super) fn piece(path: &Path, piece: Piece, system: SystemId) -> Result<Vec<u8>, ReadError> {
    let unread = |source| ReadError::Read { path: path.to_owned(), source };
    let wrong = |source| ReadError::NotWhatItSays { path: path.to_owned(), source };
    let file = File::open(path).map_err(unread)?;
    let mut begin = [0; LENGTH];
    file.read_exact_at(&mut begin, 0).map_err(unread)?;
    let header = Header::read(&begin).map_err(wrong)?;
    let expected = Expected { segment: piece.segment, system: Some(system) };
    header.check(&expected).map_err(wrong)?;
    let length = usize::try_from(piece.length().0).unwrap_or(usize::MAX);
    let mut content = vec![0; length];
    let offset = piece.from.ahead_of(piece.segment.start(header.size)).0;
    file.read_exact_at(&mut content, offset).map_err(unread)?;
    // PostgreSQL gives a file that it needs no more another name before it writes to it.
    let is_same = |there: std::fs::Metadata| {
        file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    };
    let is_there = std::fs::metadata(path).is_ok_and(is_same);
    if is_there { Ok(content) } else { Err(ReadError::Gone { path: path.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::units::Lsn;
    use pgherd_core::wal::Segment;

    #[test]
    fn only_the_segment_that_the_name_says_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let segment = Segment::parse("000000010000000000000003").unwrap();
        let mut content = vec![7; 1 << 16];
        content[0..4].copy_from_slice(&[0x10, 0xD1, 2, 0]);
        content[4..8].copy_from_slice(&1_u32.to_ne_bytes());
        content[8..16].copy_from_slice(&0x300_0000_u64.to_ne_bytes());
        content[24..32].copy_from_slice(&9_u64.to_ne_bytes());
        content[32..36].copy_from_slice(&(16_u32 << 20).to_ne_bytes());
        let path = folder.path().join(segment.to_string());
        std::fs::write(&path, content).unwrap();
        let one = |from: u64, to: u64| Piece { segment, from: Lsn(from), to: Lsn(to) };
        let read = piece(&path, one(0x300_0100, 0x300_0110), SystemId(9));
        assert_eq!(read.unwrap(), [7; 16]);
        let other = piece(&path, one(0x300_0100, 0x300_0110), SystemId(8));
        assert!(matches!(other, Err(ReadError::NotWhatItSays { .. })), "{other:?}");
        let beyond = piece(&path, one(0x300_0100, 0x301_0001), SystemId(9));
        assert!(matches!(beyond, Err(ReadError::Read { .. })), "{beyond:?}");
    }
}
