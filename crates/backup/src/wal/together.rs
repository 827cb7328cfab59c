//! Puts a segment together from the pieces that were streamed of it, for the end of a recovery.
//!
//! Never leaves a hole, and never puts one in place of which a page is not what it should be. Behind
//! its end it is empty, as in a file that PostgreSQL has not filled yet.

use super::fetch::Draft;
use super::header::{self, Damage, Expected, Header, Page};
use super::stream::LARGEST;
use super::{Archive, WalError};
use crate::compression::{Compression, unpacked};
use crate::layout::Key;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_core::units::{Bytes as Size, Lsn};
use pgherd_core::wal::stream::{Piece, cover};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// So many are fetched at once, and held in memory.
const AT_ONCE: usize = 8;

impl Archive {
    /// Puts what there is of a segment in place, up to a position at most. Tells how far it goes;
    /// nothing is there when its begin is missing.
    pub async fn put_together(
        &self,
        segment: Segment,
        (size, to): (SegmentSize, Lsn),
        target: &Path,
    ) -> Result<Option<Lsn>, WalError> {
        let file = WalFile::Segment(segment);
        let listed = self.pieces(Some(segment)).await;
        let listed = listed.map_err(|source| WalError::Fetch { file, source })?;
        let (chosen, end) = cover(listed.values().flat_map(|it| it.keys()), segment, size);
        let (start, end) = (segment.start(size), end.min(to));
        // Less than a header holds no record.
        if end.ahead_of(start) < Size(header::LENGTH as u64) {
            return Ok(None);
        }
        let mut draft = Draft::beside(target)?;
        let unwritten = |source| WalError::Write { path: target.to_owned(), source };
        draft.file().set_len(size.bytes().0).map_err(unwritten)?;
        let chosen: Vec<Piece> = chosen.into_iter().filter(|piece| piece.from < end).collect();
        for some in chosen.chunks(AT_ONCE) {
            let fetched = futures_util::stream::iter(some).map(|piece| self.piece(*piece));
            let fetched: Vec<(Piece, Bytes)> = fetched.buffered(AT_ONCE).try_collect().await?;
            let (archive, path) = (self.clone(), target.to_owned());
            let filled = self.compute(move || {
                for (piece, packed) in fetched {
                    let (plain, key) = archive.plain(piece, &packed)?;
                    let wanted = usize_of(piece.to.min(end).ahead_of(piece.from));
                    let plain = plain.get(..wanted).ok_or_else(|| short(&key, &plain, piece))?;
                    let written = draft.file().write_all_at(plain, piece.from.ahead_of(start).0);
                    written.map_err(|source| WalError::Write { path: path.clone(), source })?;
                }
                Ok::<_, WalError>(draft)
            });
            draft = filled.await??;
        }
        let expected = Expected { segment, system: self.settings.system };
        let stored = self.layout.stream_of(segment);
        let published = self.compute(move || {
            let damaged = |source| WalError::Damaged { stored, source };
            check(draft.file(), &expected, (size, end)).map_err(damaged)?;
            draft.publish()
        });
        published.await??;
        Ok(Some(end))
    }

    async fn piece(&self, piece: Piece) -> Result<(Piece, Bytes), WalError> {
        let file = WalFile::Segment(piece.segment);
        let got = self.store.get(&self.layout.piece(piece), LARGEST).await;
        // One that has gone meanwhile made room for its segment, which is there when asked for again.
        let got = got.map_err(|source| WalError::Fetch { file, source })?;
        got.map(|packed| (piece, packed)).ok_or(WalError::Interrupted)
    }

    fn plain(&self, piece: Piece, packed: &Bytes) -> Result<(Vec<u8>, Key), WalError> {
        let key = self.layout.piece(piece);
        let plain = unpacked(Compression::Zstd, packed, LARGEST);
        let plain = plain.map_err(|source| WalError::Unpack { stored: key.clone(), source })?;
        if Size(plain.len() as u64) == piece.length() {
            return Ok((plain, key));
        }
        Err(short(&key, &plain, piece))
    }
}

fn short(key: &Key, plain: &[u8], piece: Piece) -> WalError {
    let source = Damage::Size { found: Size(plain.len() as u64), said: piece.length() };
    WalError::Damaged { stored: key.clone(), source }
}

/// Every page says where it belongs, up to the end or to where the segment was finished early.
fn check(file: &File, expected: &Expected, (size, end): (SegmentSize, Lsn)) -> Result<(), Damage> {
    let start = expected.segment.start(size);
    let mut begin = [0; header::LENGTH];
    file.read_exact_at(&mut begin, 0).map_err(|_| Damage::Short(0))?;
    let first = Header::read(&begin)?;
    first.check(expected)?;
    if first.size != size {
        return Err(Damage::Size { found: first.size.bytes(), said: size.bytes() });
    }
    let step = u64::from(header::page_size(&begin)?);
    let mut page = [0; header::PAGE];
    let mut before = Page::Itself;
    let mut at = start;
    while at.0.saturating_add(header::PAGE as u64) <= end.0 {
        file.read_exact_at(&mut page, at.ahead_of(start).0).map_err(|_| Damage::Page(at))?;
        let found = header::page(&page, expected.segment, at)?;
        if before == Page::Empty && found == Page::Itself {
            return Err(Damage::Page(at));
        }
        (before, at) = (found, Lsn(at.0.saturating_add(step)));
    }
    Ok(())
}

fn usize_of(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
