//! Looks through the log of a server: which segments are there, and how timelines came about.
//!
//! Never holds more than the runs, as long as the store lists in order.

use super::{CatalogueError, Repository, history};
use crate::compression::{Compression, unpacked};
use crate::layout::Key;
use crate::store::StoreError;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_core::backup::window::{Archive, Fork, Runs};
use pgherd_core::units::{Bytes as Size, Timeline};
use pgherd_core::wal::{SegmentSize, WalFile};
use std::collections::BTreeMap;

const AT_ONCE: usize = 8;
const LARGEST_HISTORY: Size = Size(1 << 20);

impl Repository {
    /// Takes in all names under `wals`, and reads the history files.
    pub async fn log(&self, size: SegmentSize) -> Result<Archive, CatalogueError> {
        let failed = |source| CatalogueError::Log { server: self.server(), source };
        let mut runs = Runs::new(size);
        let mut histories: BTreeMap<Timeline, (Key, Compression)> = BTreeMap::new();
        let wals = self.layout.wals();
        let mut objects = std::pin::pin!(self.store.list(&wals, None));
        while let Some(object) = objects.next().await {
            let object = object.map_err(failed)?;
            match self.layout.wal_at(&object.key) {
                Some((WalFile::Segment(segment), _)) if segment.exists_with(size) => {
                    runs.add(segment, object.modified);
                }
                Some((WalFile::History(timeline), compression)) => {
                    histories.insert(timeline, (object.key, compression));
                }
                Some((WalFile::Segment(_) | WalFile::Partial(_) | WalFile::Label { .. }, _))
                | None => {}
            }
        }
        let forks = futures_util::stream::iter(histories).map(|(timeline, stored)| async move {
            Ok::<_, StoreError>(self.fork(stored).await?.map(|fork| (timeline, fork)))
        });
        let forks: Vec<Option<(Timeline, Fork)>> =
            forks.buffer_unordered(AT_ONCE).try_collect().await.map_err(failed)?;
        Ok(Archive { size, runs: runs.joined(), forks: forks.into_iter().flatten().collect() })
    }

    /// A history that cannot be read is as good as none: its timeline is out of reach.
    async fn fork(
        &self,
        (key, compression): (Key, Compression),
    ) -> Result<Option<Fork>, StoreError> {
        let Some(packed) = self.store.get(&key, LARGEST_HISTORY).await? else { return Ok(None) };
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
