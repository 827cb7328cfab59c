//! Makes one chunk of an archive: reads what is in it, verifies, sums up and packs.
//!
//! Never waits for anything but the disk: it runs on a worker.

use super::index::Piece;
use super::member::{Kind, Member, Owner, padding};
use super::packing::{ChunkSum, Packer};
use super::read::{Opened, Verification};
use super::scan::{FoundFile, Source};
use super::{BackupError, BadPage};
use crate::budget::Taken;
use crate::layout::Key;
use bytes::Bytes;
use std::sync::Arc;

/// What goes into one chunk.
#[derive(Debug)]
pub(super) struct Batch {
    /// Whose part it is; for errors.
    pub(super) key: Key,
    pub(super) contents: Vec<Content>,
    /// Headers and padding included, and generously counted.
    pub(super) size: usize,
    /// The memory for it.
    pub(super) verification: Verification,
}

#[derive(Debug)]
pub(super) enum Content {
    Folder {
        path: String,
        owner: Owner,
    },
    /// A small file, or none any more.
    File {
        source: Arc<Source>,
        found: FoundFile,
    },
    Range {
        file: Arc<Opened>,
        from: u64,
        length: usize,
    },
    /// What we wrote ourselves, or a part of it.
    Text {
        file: Text,
        from: u64,
        content: Vec<u8>,
    },
}

/// A file that exists in the backup only.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) path: &'static str,
    pub(super) size: u64,
    pub(super) owner: Owner,
    pub(super) modified: u64,
}

impl Content {
    /// How much room it needs at most.
    pub(super) fn room(&self) -> usize {
        // A long name needs two blocks more; the rest is padding.
        const AROUND: usize = 4 * 512;
        AROUND
            + match self {
                Self::Folder { .. } => 0,
                Self::File { found, .. } => usize::try_from(found.size).unwrap_or(usize::MAX / 2),
                Self::Range { length, .. } => *length,
                Self::Text { content, .. } => content.len(),
            }
    }
}

/// A chunk that is ready to be stored.
pub(super) struct Packed {
    pub(super) bytes: Bytes,
    pub(super) sum: ChunkSum,
    pub(super) plain: usize,
    pub(super) pieces: Vec<Piece>,
    pub(super) bad: Vec<BadPage>,
}

/// What a worker keeps.
pub(super) struct Bench {
    packer: Packer,
    plain: Vec<u8>,
}

/// Packed bytes, and the memory that was taken for them until they are stored.
struct Held {
    bytes: Vec<u8>,
    _taken: Taken,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bench {
    pub(super) fn new(packer: Packer) -> Self {
        Self { packer, plain: Vec::new() }
    }

    pub(super) fn make(&mut self, batch: Batch, mut taken: Taken) -> Result<Packed, BackupError> {
        let Batch { key, contents, size, verification } = batch;
        self.plain.clear();
        self.plain.reserve(size);
        let mut made = Made { pieces: Vec::new(), bad: Vec::new(), verification };
        for content in contents {
            made.append(content, &mut self.plain)?;
        }
        let plain = self.plain.len();
        let packed = self.packer.pack(&mut self.plain);
        let (bytes, sum) = packed.map_err(|source| BackupError::Pack { key, source })?;
        taken.shrink(bytes.len());
        let bytes = Bytes::from_owner(Held { bytes, _taken: taken });
        Ok(Packed { bytes, sum, plain, pieces: made.pieces, bad: made.bad })
    }
}

/// What is known of a chunk while it is made.
struct Made {
    pieces: Vec<Piece>,
    bad: Vec<BadPage>,
    verification: Verification,
}

impl Made {
    fn append(&mut self, content: Content, to: &mut Vec<u8>) -> Result<(), BackupError> {
        match content {
            Content::Folder { path, owner } => {
                let kind = Kind::Folder;
                to.extend(Member { path: &path, kind, owner, modified: 0 }.header());
                Ok(())
            }
            Content::File { source, found } => {
                let failed = |error| BackupError::Read {
                    path: source.root.join(&*found.path),
                    source: error,
                };
                let Some(file) = Opened::open(&source, &found).map_err(failed)? else {
                    return Ok(());
                };
                let length = usize::try_from(file.size).unwrap_or(usize::MAX);
                self.range(&file, 0, length, to).map_err(failed)
            }
            Content::Range { file, from, length } => {
                let read = self.range(&file, from, length, to);
                let path = || file.part.within_data(&file.path).into();
                read.map_err(|source| BackupError::Read { path: path(), source })
            }
            Content::Text { file, from, content } => {
                self.text(&file, from, &content, to);
                Ok(())
            }
        }
    }

    fn range(
        &mut self,
        file: &Opened,
        from: u64,
        length: usize,
        to: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let kind = Kind::File { size: file.size, mode: file.mode };
        let (owner, modified) = (file.owner, file.modified);
        if from == 0 {
            to.extend(Member { path: &file.path, kind, owner, modified }.header());
        }
        let start = to.len();
        let there = file.append(from, length, to)?;
        // What was filled up with zeros is not looked at.
        let read = to.get_mut(start..start + there).unwrap_or_default();
        self.bad.extend(self.verification.verify(file, from, read));
        let piece = Piece {
            path: file.part.within_data(&file.path),
            size: file.size,
            mode: file.mode,
            modified,
            from,
            at: fits(start),
            length: fits(length),
            crc32c: crc_fast::crc32_iscsi(to.get(start..).unwrap_or_default()),
        };
        self.finish(piece, to);
        Ok(())
    }

    fn text(&mut self, file: &Text, from: u64, content: &[u8], to: &mut Vec<u8>) {
        const MODE: u32 = 0o600;
        let kind = Kind::File { size: file.size, mode: MODE };
        let Text { path, size, owner, modified } = *file;
        if from == 0 {
            to.extend(Member { path, kind, owner, modified }.header());
        }
        let at = fits(to.len());
        to.extend_from_slice(content);
        let (path, length) = (path.to_owned(), fits(content.len()));
        let crc32c = crc_fast::crc32_iscsi(content);
        self.finish(Piece { path, size, mode: MODE, modified, from, at, length, crc32c }, to);
    }

    fn finish(&mut self, piece: Piece, to: &mut Vec<u8>) {
        if piece.is_last() {
            to.resize(to.len() + padding(piece.size), 0);
        }
        self.pieces.push(piece);
    }
}

/// Chunks are far smaller than this type allows.
fn fits(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
