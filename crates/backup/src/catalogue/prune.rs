//! Removes what retention has given up: of each backup its data first and its description last,
//! then the log.
//!
//! Never removes log when a backup could not be removed, and never a backup that was put on hold
//! meanwhile.

use super::{CatalogueError, Repository};
use crate::layout::Key;
use crate::store::StoreError;
use futures_util::StreamExt;
use pgherd_core::backup::BackupId;
use pgherd_core::backup::retention::{Cut, Fate, Plan};
use pgherd_core::wal::WalFile;

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    pub backups: Vec<BackupId>,
    /// Files of the log.
    pub log: u64,
}

/// As many as a store deletes with one request.
const BATCH: usize = 1000;

impl Repository {
    /// Carries a plan out. Broken off, it is to be repeated: what is gone is gone, and a backup
    /// without data is still listed.
    pub async fn prune(&self, plan: &Plan) -> Result<Pruned, CatalogueError> {
        let mut pruned = Pruned::default();
        // The newest first: nothing is left without what it builds on.
        for (id, fate) in plan.backups.iter().rev() {
            match fate {
                Fate::Kept(_) => {}
                Fate::Removed(_) => {
                    self.remove(id).await?;
                    pruned.backups.push(id.clone());
                }
            }
        }
        pruned.backups.reverse();
        let removed = self.remove_log(&plan.wal).await;
        pruned.log = removed.map_err(|source| CatalogueError::RemoveLog { source })?;
        Ok(pruned)
    }

    async fn remove(&self, id: &BackupId) -> Result<(), CatalogueError> {
        let failed = |source| CatalogueError::Remove { backup: id.clone(), source };
        if self.is_held(id).await.map_err(failed)? {
            return Err(CatalogueError::HeldSince { backup: id.clone() });
        }
        for (folder, description) in [
            (self.layout.increment(id), self.layout.increment_description(id)),
            (self.layout.backup(id), self.layout.backup_info(id)),
        ] {
            let is_data = |key: &Key| *key != description;
            self.remove_all(&folder, is_data).await.map_err(failed)?;
            self.store.delete(vec![description]).await.map_err(failed)?;
        }
        self.store.delete(vec![self.layout.index(id)]).await.map_err(failed)
    }

    async fn is_held(&self, id: &BackupId) -> Result<bool, StoreError> {
        let increment = (self.layout.increment(id), self.layout.increment_keep(id));
        let full = (self.layout.annotations(id), self.layout.keep(id));
        Ok(self.store.is_listed(&increment.0, &increment.1).await?
            || self.store.is_listed(&full.0, &full.1).await?)
    }

    async fn remove_log(&self, cut: &Cut) -> Result<u64, StoreError> {
        if cut.before.is_none() {
            return Ok(0);
        }
        let is_useless =
            |key: &Key| self.layout.wal_at(key).is_some_and(|(file, _)| cut.removes(file));
        let removed = self.remove_all(&self.layout.wals(), is_useless).await?;
        // Of timelines that were left, mostly: others drop their own.
        let is_useless = |key: &Key| {
            let piece = self.layout.piece_at(key);
            piece.is_some_and(|piece| cut.removes(WalFile::Segment(piece.segment)))
        };
        self.remove_all(&self.layout.stream(), is_useless).await?;
        let is_useless = |key: &Key| {
            let segment = self.layout.blockmap_at(key);
            segment.is_some_and(|segment| cut.removes(WalFile::Segment(segment)))
        };
        self.remove_all(&self.layout.blockmaps(), is_useless).await?;
        Ok(removed)
    }

    async fn remove_all(
        &self,
        folder: &Key,
        is_chosen: impl Fn(&Key) -> bool,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut batch = Vec::new();
        let mut objects = std::pin::pin!(self.store.list(folder, None));
        while let Some(object) = objects.next().await {
            let key = object?.key;
            if is_chosen(&key) {
                batch.push(key);
            }
            if batch.len() == BATCH {
                removed += batch.len() as u64;
                self.store.delete(std::mem::take(&mut batch)).await?;
            }
        }
        removed += batch.len() as u64;
        self.store.delete(batch).await?;
        Ok(removed)
    }
}
