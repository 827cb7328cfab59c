//! Lists backups: whoever took them, whether or not they can be used.
//!
//! Never hides one because another one is damaged.

use super::{Catalogue, CatalogueError, Entry, Repository};
use crate::backup_info::{BackupInfo, Incomplete};
use crate::encryption::refuse_other_form;
use crate::increment::Increment;
use crate::layout::Key;
use crate::restore::archives;
use crate::store::StoreError;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_core::backup::{Backup, BackupId, Hold};
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
        let ids = self.ids(&self.layout.base()).await.map_err(failed)?;
        if ids.is_empty() {
            // What is of the other form would look like nothing.
            let looked = refuse_other_form(&self.store, &self.layout).await;
            looked.map_err(|source| CatalogueError::Form { server: self.server(), source })?;
        }
        let full = futures_util::stream::iter(ids).map(|id| self.entry(id));
        let full: Vec<Option<Entry>> =
            full.buffer_unordered(AT_ONCE).try_collect().await.map_err(failed)?;
        let ids = self.ids(&self.layout.increments()).await.map_err(failed)?;
        let increments = futures_util::stream::iter(ids).map(|id| self.increment(id));
        let increments: Vec<Option<Entry>> =
            increments.buffer_unordered(AT_ONCE).try_collect().await.map_err(failed)?;
        let mut entries: Vec<Entry> = full.into_iter().chain(increments).flatten().collect();
        entries.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Catalogue { entries })
    }

    /// The last id that is taken, also by one that is not whole.
    pub async fn newest(&self) -> Result<Option<BackupId>, CatalogueError> {
        let failed = |source| CatalogueError::List { server: self.server(), source };
        let full = self.ids(&self.layout.base()).await.map_err(failed)?;
        let increments = self.ids(&self.layout.increments()).await.map_err(failed)?;
        Ok(full.into_iter().chain(increments).max())
    }

    /// How much each backup takes in the store.
    pub async fn stored(&self) -> Result<BTreeMap<BackupId, Size>, CatalogueError> {
        let failed = |source| CatalogueError::List { server: self.server(), source };
        let mut stored = BTreeMap::new();
        for folder in [self.layout.base(), self.layout.increments()] {
            let mut objects = std::pin::pin!(self.store.list(&folder, None));
            while let Some(object) = objects.next().await {
                let object = object.map_err(failed)?;
                let within = object.key.within(&folder).and_then(|rest| rest.split('/').next());
                if let Some(Ok(id)) = within.map(BackupId::parse) {
                    let all: &mut Size = stored.entry(id).or_default();
                    *all = Size(all.0 + object.size.0);
                }
            }
        }
        Ok(stored)
    }

    /// Folders that are named as backups are.
    async fn ids(&self, folder: &Key) -> Result<Vec<BackupId>, StoreError> {
        let found = self.store.folder(folder).await?.folders;
        Ok(found.iter().filter_map(|folder| BackupId::parse(folder.name()).ok()).collect())
    }

    pub(super) fn server(&self) -> String {
        self.layout.server().to_string()
    }

    async fn entry(&self, id: BackupId) -> Result<Option<Entry>, StoreError> {
        let key = self.layout.backup_info(&id);
        // One that was tampered with is as good as empty, and does not hide the others.
        // What is overlooked here is log that nobody needs.
        let read = self.store.get_listed(&self.layout.backup(&id), &key, LARGEST_INFO).await;
        let Some(text) = or_damaged(read)? else { return Ok(None) };
        let info = BackupInfo::read(&String::from_utf8_lossy(&text));
        let hold = self.hold(&self.layout.keep(&id)).await?;
        // A snapshot lies with whoever provides the volumes.
        let has_data =
            info.snapshots.is_some() || archives::has_data(&self.store, &self.layout, &id).await?;
        let backup = info.backup(id.clone(), hold).map(|it| Backup { has_data, ..it });
        Ok(Some(Entry { id, base: None, info, hold, backup }))
    }

    async fn increment(&self, id: BackupId) -> Result<Option<Entry>, StoreError> {
        let key = self.layout.increment_description(&id);
        // What is overlooked here is a backup that it builds on.
        let read = self.store.get_listed(&self.layout.increment(&id), &key, LARGEST_INFO).await;
        let Some(text) = or_damaged(read)? else { return Ok(None) };
        let hold = self.hold(&self.layout.increment_keep(&id)).await?;
        let (folder, index) = (self.layout.increment(&id), self.layout.increment_index(&id));
        let has_data = self.store.is_listed(&folder, &index).await?;
        Ok(Some(match Increment::read(&id, &text) {
            Ok(Increment { base, info }) => {
                let backup = info.backup(id.clone(), hold);
                let builds_on = Some(base.clone());
                let backup = backup.map(|it| Backup { builds_on, has_data, ..it });
                Entry { id, base: Some(base), info, hold, backup }
            }
            Err(error) => {
                tracing::warn!(%key, %error, "an incremental backup cannot be used");
                let lacks = "what it builds on: it is damaged, or a newer pgherd wrote it";
                let (info, backup) = (BackupInfo::default(), id.clone());
                Entry { id, base: None, info, hold, backup: Err(Incomplete { backup, lacks }) }
            }
        }))
    }

    pub(super) async fn hold(&self, key: &Key) -> Result<Option<Hold>, StoreError> {
        let text = or_damaged(self.store.get(key, LARGEST_HOLD).await)?;
        // What is not understood holds as much as can be held.
        let hold = |text: Bytes| match text.trim_ascii() {
            b"standalone" => Hold::Standalone,
            _ => Hold::Full,
        };
        Ok(text.map(hold))
    }

    /// Puts a backup on hold, or takes it off.
    pub async fn set_hold(&self, id: &BackupId, hold: Option<Hold>) -> Result<(), CatalogueError> {
        let failed = |source| CatalogueError::Hold { backup: id.clone(), source };
        let (folder, description) =
            (self.layout.increment(id), self.layout.increment_description(id));
        let key = if self.store.is_listed(&folder, &description).await.map_err(failed)? {
            self.layout.increment_keep(id)
        } else {
            self.layout.keep(id)
        };
        let done = match hold {
            Some(Hold::Full) => self.store.replace(&key, Bytes::from_static(b"full")).await,
            Some(Hold::Standalone) => {
                self.store.replace(&key, Bytes::from_static(b"standalone")).await
            }
            None => self.store.delete(vec![key]).await,
        };
        done.map_err(failed)
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
