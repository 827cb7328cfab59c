//! Lists backups: whoever took them, whether or not they can be used.
//!
//! Never hides one because another one is damaged.

use super::{Catalogue, CatalogueError, Entry, Repository};
use crate::backup_info::BackupInfo;
use crate::encryption::refuse_other_form;
use crate::store::StoreError;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_core::backup::{BackupId, Hold};
use pgherd_core::units::Bytes as Size;
use std::collections::BTreeMap;

/// So many are read at once.
const AT_ONCE: usize = 8;
const LARGEST_INFO: Size = Size(8 << 20);
const LARGEST_HOLD: Size = Size(4 << 10);

impl Repository {
    /// Folders without a description are left out: those are backups that are being taken, or were
    /// given up.
    pub async fn list(&self) -> Result<Catalogue, CatalogueError> {
        let failed = |source| CatalogueError::List { server: self.server(), source };
        let base = self.store.folder(&self.layout.base()).await.map_err(failed)?;
        if base.folders.is_empty() {
            // What is of the other form would look like nothing.
            let looked = refuse_other_form(&self.store, &self.layout).await;
            looked.map_err(|source| CatalogueError::Form { server: self.server(), source })?;
        }
        let ids = base.folders.iter().filter_map(|folder| BackupId::parse(folder.name()).ok());
        let entries = futures_util::stream::iter(ids).map(|id| self.entry(id));
        let entries: Vec<Option<Entry>> =
            entries.buffer_unordered(AT_ONCE).try_collect().await.map_err(failed)?;
        let mut entries: Vec<Entry> = entries.into_iter().flatten().collect();
        entries.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Catalogue { entries })
    }

    /// How much each backup takes in the store.
    pub async fn stored(&self) -> Result<BTreeMap<BackupId, Size>, CatalogueError> {
        let failed = |source| CatalogueError::List { server: self.server(), source };
        let (base, mut stored) = (self.layout.base(), BTreeMap::new());
        let mut objects = std::pin::pin!(self.store.list(&base, None));
        while let Some(object) = objects.next().await {
            let object = object.map_err(failed)?;
            let within = object.key.within(&base).and_then(|rest| rest.split('/').next());
            if let Some(Ok(id)) = within.map(BackupId::parse) {
                let all: &mut Size = stored.entry(id).or_default();
                *all = Size(all.0 + object.size.0);
            }
        }
        Ok(stored)
    }

    pub(super) fn server(&self) -> String {
        self.layout.server().to_string()
    }

    async fn entry(&self, id: BackupId) -> Result<Option<Entry>, StoreError> {
        let key = self.layout.backup_info(&id);
        // One that was tampered with is as good as empty, and does not hide the others.
        let read = or_damaged(self.store.get(&key, LARGEST_INFO).await)?;
        let Some(text) = read else {
            // What is overlooked here is log that nobody needs.
            if self.store.is_listed(&self.layout.backup(&id), &key).await? {
                return Err(self.store.vanished(&key));
            }
            return Ok(None);
        };
        let info = BackupInfo::read(&String::from_utf8_lossy(&text));
        let hold = self.hold(&id).await?;
        let backup = info.backup(id.clone(), hold);
        Ok(Some(Entry { id, info, hold, backup }))
    }

    pub(super) async fn hold(&self, id: &BackupId) -> Result<Option<Hold>, StoreError> {
        let text = self.store.get(&self.layout.keep(id), LARGEST_HOLD).await;
        let text = or_damaged(text)?;
        // What is not understood holds as much as can be held.
        let hold = |text: Bytes| match text.trim_ascii() {
            b"standalone" => Hold::Standalone,
            _ => Hold::Full,
        };
        Ok(text.map(hold))
    }

    /// Puts a backup on hold, or takes it off.
    pub async fn set_hold(&self, id: &BackupId, hold: Option<Hold>) -> Result<(), CatalogueError> {
        let key = self.layout.keep(id);
        let done = match hold {
            Some(Hold::Full) => self.store.replace(&key, Bytes::from_static(b"full")).await,
            Some(Hold::Standalone) => {
                self.store.replace(&key, Bytes::from_static(b"standalone")).await
            }
            None => self.store.delete(vec![key]).await,
        };
        done.map_err(|source| CatalogueError::Hold { backup: id.clone(), source })
    }
}

/// Nothing in it if it is damaged; what keeps it from being read stays an error.
fn or_damaged(read: Result<Option<Bytes>, StoreError>) -> Result<Option<Bytes>, StoreError> {
    read.or_else(|error| match error.damage() {
        Some(damage) => {
            tracing::warn!(damage, "what describes a backup is damaged");
            Ok(Some(Bytes::new()))
        }
        None => Err(error),
    })
}
