//! Looks through the log of a server: which segments are there, whole or in pieces, and how
//! timelines came about.
//!
//! Never holds more than the runs, as long as the store lists in order.

use super::{CatalogueError, Repository, history};
use crate::compression::{Compression, unpacked};
use crate::layout::Key;
use crate::store::StoreError;
use crate::wal::{archived, pieces};
use futures_util::{StreamExt, TryStreamExt};
use pgherd_core::backup::window::{Archive, Fork, Runs, Streamed};
use pgherd_core::units::{Bytes as Size, Lsn, Timeline};
use pgherd_core::wal::stream::cover;
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::BTreeMap;

const AT_ONCE: usize = 8;
const LARGEST_HISTORY: Size = Size(1 << 20);

impl Repository {
    pub async fn log(&self, size: SegmentSize) -> Result<Archive, CatalogueError> {
        let log = self.look(size).await;
        log.map_err(|source| CatalogueError::Log { server: self.server(), source })
    }

    /// Up to where a segment may be put together from pieces: it was never archived, and the log
    /// goes on nowhere else; all that there is of it for one who goes along `only` its timeline.
    pub async fn end_in(
        &self,
        (segment, only): (Segment, Option<Timeline>),
        size: SegmentSize,
    ) -> Result<Option<Lsn>, StoreError> {
        if pieces(&self.store, &self.layout, Some(segment)).await?.is_empty() {
            return Ok(None);
        }
        Ok(self.look(size).await?.put_together(segment, only))
    }

    /// Takes in all names under `wals`, and of pieces, and reads the history files.
    async fn look(&self, size: SegmentSize) -> Result<Archive, StoreError> {
        let mut runs = Runs::new(size);
        let mut histories: BTreeMap<Timeline, Vec<(Key, Compression)>> = BTreeMap::new();
        let wals = self.layout.wals();
        let mut objects = std::pin::pin!(self.store.list(&wals, None));
        while let Some(object) = objects.next().await {
            let object = object?;
            match self.layout.wal_at(&object.key) {
                Some((WalFile::Segment(segment), _)) if segment.exists_with(size) => {
                    runs.add(segment, object.modified);
                }
                Some((WalFile::History(timeline), compression)) => {
                    histories.entry(timeline).or_default().push((object.key, compression));
                }
                Some((WalFile::Segment(_) | WalFile::Partial(_) | WalFile::Label { .. }, _))
                | None => {}
            }
        }
        let streams = self.streams(size, &mut runs).await?;
        let forks = futures_util::stream::iter(histories).map(|(timeline, stored)| async move {
            // One that is damaged may lie beside a whole one that is packed otherwise.
            for stored in stored {
                if let Some(fork) = self.fork(stored).await? {
                    return Ok(Some((timeline, fork)));
                }
            }
            Ok::<_, StoreError>(None)
        });
        let forks: Vec<Option<(Timeline, Fork)>> =
            forks.buffer_unordered(AT_ONCE).try_collect().await?;
        let forks = forks.into_iter().flatten().collect();
        Ok(Archive { size, runs: runs.joined(), forks, streams })
    }

    /// What was streamed of each segment. One that is whole is as good as an archived one.
    async fn streams(
        &self,
        size: SegmentSize,
        runs: &mut Runs,
    ) -> Result<BTreeMap<Segment, Streamed>, StoreError> {
        let mut streams = BTreeMap::new();
        for (segment, pieces) in pieces(&self.store, &self.layout, None).await? {
            let (chosen, to) = cover(pieces.keys(), segment, size);
            let covered = chosen.iter().filter_map(|piece| pieces.get(piece)).max();
            let Some(stored) = covered.or_else(|| pieces.values().min()).copied() else { continue };
            let torn = pieces.keys().any(|piece| piece.to > to && piece.to <= segment.end(size));
            // Pieces go one after the other when their segment is there, perhaps since a moment ago.
            if to == segment.end(size) || (torn && self.has(segment).await?) {
                runs.add(segment, stored);
            }
            streams.insert(segment, Streamed { to, stored, torn });
        }
        Ok(streams)
    }

    async fn has(&self, segment: Segment) -> Result<bool, StoreError> {
        Ok(archived((&self.store, &self.layout), segment).await?.is_some())
    }

    /// A history that cannot be read is as good as none: its timeline is out of reach.
    async fn fork(
        &self,
        (key, compression): (Key, Compression),
    ) -> Result<Option<Fork>, StoreError> {
        let packed = match self.store.get(&key, LARGEST_HISTORY).await {
            Ok(Some(packed)) => packed,
            Ok(None) => return Ok(None),
            Err(error) => {
                let Some(damage) = error.damage() else { return Err(error) };
                tracing::warn!(damage, "the history of a timeline is damaged");
                return Ok(None);
            }
        };
        let fork = match unpacked(compression, &packed, LARGEST_HISTORY) {
            Ok(text) => history::fork(&String::from_utf8_lossy(&text)),
            Err(error) => {
                tracing::warn!(%key, %error, "the history of a timeline is damaged");
                None
            }
        };
        Ok(fork)
    }
}
