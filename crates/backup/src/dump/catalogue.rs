//! Lists, finds and removes dumps.
//!
//! Never hides one because another one is damaged, and never removes the files of one that is still
//! described.

use super::{Description, DumpError, FORMAT};
use crate::encryption::refuse_other_form;
use crate::layout::Layout;
use crate::store::Store;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes as Size;

/// So many are read at once.
const AT_ONCE: usize = 8;
const LARGEST_DESCRIPTION: Size = Size(64 << 20);

/// The dumps of one server.
#[derive(Debug, Clone)]
pub struct Dumps {
    pub(super) store: Store,
    pub(super) layout: Layout,
}

/// A dump that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: BackupId,
    /// Why it cannot be used, if its description cannot be understood.
    pub description: Result<Description, String>,
}

impl Dumps {
    pub fn new(store: Store, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// All that are whole, the oldest first.
    pub async fn list(&self) -> Result<Vec<Found>, DumpError> {
        let ids = self.folders().await?;
        if ids.is_empty() {
            // What is of the other form would look like nothing.
            let server = self.layout.server().to_string();
            let looked = refuse_other_form(&self.store, &self.layout).await;
            looked.map_err(|source| DumpError::Form { server, source })?;
        }
        let found = futures_util::stream::iter(ids).map(|id| self.read(id));
        let found: Vec<Option<Found>> = found.buffer_unordered(AT_ONCE).try_collect().await?;
        let mut found: Vec<Found> = found.into_iter().flatten().collect();
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// The last id that is taken, also by one that is not whole.
    pub async fn newest(&self) -> Result<Option<BackupId>, DumpError> {
        Ok(self.folders().await?.into_iter().max())
    }

    /// By id, by name, or the first or latest that can be used.
    pub async fn find(&self, wanted: &str) -> Result<Option<Found>, DumpError> {
        let found = self.list().await?;
        let usable = |found: &&Found| found.description.is_ok();
        let found = match wanted {
            "first" | "oldest" => found.iter().find(usable),
            "last" | "latest" => found.iter().rev().find(usable),
            _ => {
                let named = |it: &&Found| it.description.as_ref().is_ok_and(|it| it.name == wanted);
                let by_id = found.iter().find(|it| it.id.as_str() == wanted);
                by_id.or_else(|| found.iter().rev().find(named))
            }
        };
        Ok(found.cloned())
    }

    /// Whole ones, and others.
    pub(super) async fn folders(&self) -> Result<Vec<BackupId>, DumpError> {
        let server = || self.layout.server().to_string();
        let listed = self.store.folder(&self.layout.dumps()).await;
        let listed = listed.map_err(|source| DumpError::List { server: server(), source })?;
        Ok(listed.folders.iter().filter_map(|key| BackupId::parse(key.name()).ok()).collect())
    }

    /// Nothing for one that is being taken, or was given up.
    async fn read(&self, id: BackupId) -> Result<Option<Found>, DumpError> {
        let (folder, key) = (self.layout.dump(&id), self.layout.dump_description(&id));
        let text = match self.store.get_listed(&folder, &key, LARGEST_DESCRIPTION).await {
            Ok(text) => text,
            Err(source) => match source.damage() {
                Some(why) => return Ok(Some(Found { id, description: Err(why) })),
                None => return Err(DumpError::Describe { dump: id, source }),
            },
        };
        let described = |text: bytes::Bytes| {
            let description = match serde_json::from_slice::<Description>(&text) {
                Ok(description) if description.format > FORMAT => {
                    let format = description.format;
                    Err(format!("it is of format {format}, which a newer pgherd reads"))
                }
                Ok(description) => Ok(description),
                Err(error) => Err(format!("its description is damaged ({error})")),
            };
            Found { id, description }
        };
        Ok(text.map(described))
    }

    /// Removes a dump, or what there is of it: its description first, so that nobody begins to read
    /// it, and who takes it last, so that the rest is found again.
    pub async fn remove(&self, id: &BackupId) -> Result<(), DumpError> {
        let failed = |source| DumpError::Remove { dump: id.clone(), source };
        let (description, taker) = (self.layout.dump_description(id), self.layout.dump_taker(id));
        let folder = self.layout.dump(id);
        let removed = self.store.delete_described(&folder, &description, |key| *key != taker);
        removed.await.map_err(failed)?;
        self.store.clear_leftovers(&folder).await.map_err(failed)?;
        self.store.delete(vec![taker]).await.map_err(failed)?;
        // Whoever still took it may have described it meanwhile; from here on it sees that it is gone.
        self.store.delete(vec![description]).await.map_err(failed)
    }
}
