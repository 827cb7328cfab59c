//! Removes what uploads that were killed left in a folder.
//!
//! Never decides what that is (`pgherd_core::backup::leftover` does).

use super::{CatalogueError, Repository};
use crate::store::StoreError;
use pgherd_core::backup::leftover::{Fate, Leftover, Whose, fate};
use pgherd_core::units::Bytes as Size;

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub files: u64,
    pub bytes: Size,
}

impl Repository {
    /// Follows a backup, and whatever applies retention. There is nothing to be done on a server.
    pub async fn sweep(&self) -> Result<Swept, CatalogueError> {
        let swept = self.sweep_all().await;
        swept.map_err(|source| CatalogueError::Sweep { server: self.server(), source })
    }

    async fn sweep_all(&self) -> Result<Swept, StoreError> {
        let root = self.layout.root();
        let found = self.store.leftovers(root).await?;
        let mut swept = Swept::default();
        if found.is_empty() {
            return Ok(swept);
        }
        let now = self.store.clock(root).await?;
        let mut useless = Vec::new();
        for one in found {
            let taker = self.layout.taker_of(&one.key);
            let is_taken = match &taker {
                Some(taker) => self.store.head(taker).await?.is_some(),
                None => false,
            };
            let whose = if is_taken { Whose::Takers } else { Whose::Nobodys };
            let fate = fate(Leftover { modified: one.modified, whose }, now);
            tracing::debug!(key = %one.key, size = %one.size, %fate, "an upload that did not end");
            if fate == Fate::Removed {
                swept.files += 1;
                swept.bytes.0 += one.size.0;
                useless.push(one);
            }
        }
        self.store.remove_leftovers(useless).await?;
        if swept.files > 0 {
            let Swept { files, bytes } = swept;
            tracing::info!(files, %bytes, "what killed uploads left is removed");
        }
        Ok(swept)
    }
}
