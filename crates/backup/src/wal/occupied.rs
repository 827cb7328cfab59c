//! Looks whether a place is free for the log of a new cluster.
//!
//! Never mistakes what is not log for log: barman's check ignores it, too.

use super::Archive;
use crate::layout::Key;
use crate::store::StoreError;
use futures_util::StreamExt;
use pgherd_core::units::Timeline;
use pgherd_core::wal::WalFile;

/// Log that a new cluster's would be mixed up with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the archive is not empty: it holds {key}; choose another server name, or an empty place, or \
     remove what is there"
)]
pub struct Occupied {
    pub file: WalFile,
    pub key: Key,
}

impl Archive {
    /// The first file that is in the way of a cluster which begins on this timeline; without one
    /// every file is.
    pub async fn occupied(&self, from: Option<Timeline>) -> Result<Option<Occupied>, StoreError> {
        let wals = self.layout.wals();
        let mut objects = std::pin::pin!(self.store.list(&wals, None));
        while let Some(object) = objects.next().await {
            let key = object?.key;
            let Some((file, _)) = self.layout.wal_at(&key) else { continue };
            if from.is_none_or(|from| file.timeline() >= from) {
                return Ok(Some(Occupied { file, key }));
            }
        }
        Ok(None)
    }
}
