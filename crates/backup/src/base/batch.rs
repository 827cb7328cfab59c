//! Makes one chunk of an archive: reads what is in it, verifies, sums up and packs.
//!
//! Never waits for anything but the disk: it runs on a worker.

use super::changes::{Chosen, Known, Look, runs, select};
use super::index::{Changed, Piece};
use super::member::{Kind, Member, Owner, padding};
use super::packing::{ChunkSum, Packer};
use super::page::PAGE;
use super::read::{Opened, Verification};
use super::scan::{Fork, FoundFile, Part, Relation, Source};
use super::sums::Sums;
use super::{BackupError, BadPage};
use crate::budget::Taken;
use crate::layout::Key;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What goes into one chunk.
#[derive(Debug)]
pub(super) struct Batch {
    /// Whose part it is; for errors.
    pub(super) key: Key,
    pub(super) contents: Vec<Content>,
    /// Headers and padding included, and generously counted.
    pub(super) size: usize,
    pub(super) form: Form,
    pub(super) verification: Verification,
}

/// What chunks are put together to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An archive that others can unpack.
    Tar,
    /// Nothing but what is in the files.
    Pack,
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
        known: Option<Known>,
    },
    Range {
        file: Arc<Opened>,
        from: u64,
        length: usize,
        known: Option<Known>,
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
                Self::File { found, known, .. } => {
                    let size = usize::try_from(found.size).unwrap_or(usize::MAX / 2);
                    known.as_ref().map_or(size, |known| known.room(size))
                }
                Self::Range { length, known, .. } => {
                    known.as_ref().map_or(*length, |known| known.room(*length))
                }
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
        let Batch { key, contents, size, form, verification } = batch;
        self.plain.clear();
        self.plain.reserve(size);
        let mut made = Made { pieces: Vec::new(), bad: Vec::new(), form, verification };
        for content in contents {
            made.append(content, &mut self.plain)?;
        }
        let plain = self.plain.len();
        if form == Form::Pack && plain == 0 {
            let (bytes, pieces, bad) = (Bytes::new(), made.pieces, made.bad);
            return Ok(Packed { bytes, sum: 0, plain, pieces, bad });
        }
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
    form: Form,
    verification: Verification,
}

impl Made {
    fn append(&mut self, content: Content, to: &mut Vec<u8>) -> Result<(), BackupError> {
        match content {
            Content::Folder { path, owner } => {
                self.header(Member { path: &path, kind: Kind::Folder, owner, modified: 0 }, to);
                Ok(())
            }
            Content::File { source, found, known } => {
                let failed = |error| BackupError::Read {
                    path: source.root.join(&*found.path),
                    source: error,
                };
                let Some(file) = Opened::open(&source, &found).map_err(failed)? else {
                    return Ok(());
                };
                let length = usize::try_from(file.size).unwrap_or(usize::MAX);
                self.range(&file, (0, length), known.as_ref(), to).map_err(failed)
            }
            Content::Range { file, from, length, known } => {
                let read = self.range(&file, (from, length), known.as_ref(), to);
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
        (from, length): (u64, usize),
        known: Option<&Known>,
        to: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let kind = Kind::File { size: file.size, mode: file.mode };
        let (owner, modified) = (file.owner, file.modified);
        if from == 0 {
            self.header(Member { path: &file.path, kind, owner, modified }, to);
        }
        if let Some(known) = known
            && let Look::Only(pages) = &known.look
            && length.is_multiple_of(PAGE)
        {
            return self.some_pages(file, (from, length), (known, pages.as_slice()), to);
        }
        let start = to.len();
        let there = file.append(from, length, to)?;
        // What was filled up with zeros is not looked at.
        let read = to.get_mut(start..start + there).unwrap_or_default();
        let bad = self.verification.verify(file, from, read);
        let whole = to.get(start..).unwrap_or_default();
        let crc32c = crc_fast::crc32_iscsi(whole);
        let has_rows = is_compared(file.part, &file.path);
        let pages = has_rows.then(|| Sums::of(whole)).filter(|sums| !sums.is_empty());
        let bad_at: BTreeSet<usize> = bad.iter().map(|(at, _)| *at).collect();
        self.bad.extend(bad.into_iter().map(|(_, page)| page));
        let changed = known.and_then(|known| changed(known, &bad_at, start, to));
        let piece = Piece {
            path: file.part.within_data(&file.path),
            size: file.size,
            mode: file.mode,
            modified,
            from,
            at: fits(start),
            length: fits(length),
            crc32c,
            pages,
            changed,
        };
        self.finish(piece, to);
        Ok(())
    }

    /// Reads the pages that may be others now; of the rest all is known.
    fn some_pages(
        &mut self,
        file: &Opened,
        (from, length): (u64, usize),
        (known, pages): (&Known, &[usize]),
        to: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let (start, all) = (to.len(), length / PAGE);
        let mut chosen = Chosen::new(known, all);
        // The file may have become shorter since they were chosen.
        let there = pages.partition_point(|page| *page < all);
        for (first, many) in runs(pages.get(..there).unwrap_or_default()) {
            let (first, many) = (first as usize, many as usize);
            let (at, begin) = (to.len(), from + (first * PAGE) as u64);
            let read = file.append(begin, many * PAGE, to)?;
            let read = to.get_mut(at..at + read).unwrap_or_default();
            let bad = self.verification.verify(file, begin, read);
            let bad_at: BTreeSet<usize> = bad.iter().map(|(at, _)| *at).collect();
            self.bad.extend(bad.into_iter().map(|(_, page)| page));
            let run = to.get_mut(at..).unwrap_or_default();
            let kept = chosen.keep(first, run, &bad_at);
            to.truncate(at + kept);
        }
        let (sums, changed) = chosen.end(to.get(start..).unwrap_or_default());
        let piece = Piece {
            path: file.part.within_data(&file.path),
            size: file.size,
            mode: file.mode,
            modified: file.modified,
            from,
            at: fits(start),
            length: fits(length),
            crc32c: sums.whole(),
            pages: Some(sums).filter(|sums| !sums.is_empty()),
            changed: Some(changed),
        };
        self.finish(piece, to);
        Ok(())
    }

    fn text(&mut self, file: &Text, from: u64, content: &[u8], to: &mut Vec<u8>) {
        const MODE: u32 = 0o600;
        let kind = Kind::File { size: file.size, mode: MODE };
        let Text { path, size, owner, modified } = *file;
        if from == 0 {
            self.header(Member { path, kind, owner, modified }, to);
        }
        let at = fits(to.len());
        to.extend_from_slice(content);
        let piece = Piece {
            path: path.to_owned(),
            size,
            mode: MODE,
            modified,
            from,
            at,
            length: fits(content.len()),
            crc32c: crc_fast::crc32_iscsi(content),
            pages: None,
            changed: None,
        };
        self.finish(piece, to);
    }

    fn header(&self, member: Member<'_>, to: &mut Vec<u8>) {
        match self.form {
            Form::Tar => to.extend(member.header()),
            Form::Pack => {}
        }
    }

    fn finish(&mut self, piece: Piece, to: &mut Vec<u8>) {
        if piece.is_last() && self.form == Form::Tar {
            to.resize(to.len() + padding(piece.size), 0);
        }
        self.pieces.push(piece);
    }
}

/// Whether an incremental backup may leave out pages of this file: all others are stored whole.
pub(super) fn is_compared(part: Part, path: &str) -> bool {
    Relation::of(part, path).is_some_and(|relation| relation.fork == Fork::Main)
}

/// Leaves of the piece that begins here what is to be stored.
fn changed(
    known: &Known,
    bad: &BTreeSet<usize>,
    start: usize,
    to: &mut Vec<u8>,
) -> Option<Changed> {
    let whole = to.get_mut(start..).unwrap_or_default();
    let length = fits(whole.len());
    let changed = select(known, whole, bad)?;
    let pages = changed.count(length)? as usize;
    to.truncate(start + pages * PAGE);
    Some(changed)
}

/// Chunks are far smaller than this type allows.
fn fits(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
