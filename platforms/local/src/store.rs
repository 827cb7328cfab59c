//! Keeps a cluster's record and what its user asked for in one embedded, fsynced file.
//!
//! Never answers before the disk has it, and never takes damage for absence.

use pgherd_agent::chain::chain;
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Record, Write};
use redb::{Database, DatabaseError, Durability, ReadableDatabase, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Documents by name, as JSON: few, small, and readable by the next version of ours.
const DOCUMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("documents");
const FORMAT: &str = "format";
const RECORD: &str = "record";
/// The layout of this file. A program refuses any other, because it cannot know what it would lose.
const PRESENT_FORMAT: u32 = 1;
/// One document is kept in memory a moment; the file holds a handful.
const CACHE_BYTES: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path:?} is open in another process: only one supervisor may run a cluster")]
    InUse { path: PathBuf },
    #[error("opening the store {path:?}")]
    Open { path: PathBuf, source: Box<redb::Error> },
    #[error("making the store {path:?} survive a power loss")]
    SyncFolder { path: PathBuf, source: io::Error },
    #[error("reading {name} from the store")]
    Read { name: String, source: Box<redb::Error> },
    #[error("writing {name} to the store")]
    Write { name: String, source: Box<redb::Error> },
    #[error("{name} in the store is not what this program writes: use the version that wrote it")]
    Decode { name: String, source: serde_json::Error },
    #[error("turning {name} into JSON")]
    Encode { name: String, source: serde_json::Error },
    #[error(
        "the store has layout {found}, this program knows {PRESENT_FORMAT}: use a newer pgherd"
    )]
    Format { found: u32 },
}

/// One open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    database: Arc<Database>,
}

impl Store {
    /// Opens the store, or makes an empty one. What a crash left unfinished is undone.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.to_owned() },
            other => StoreError::Open { path: path.to_owned(), source: Box::new(other.into()) },
        })?;
        sync_folder_of(path)
            .map_err(|source| StoreError::SyncFolder { path: path.to_owned(), source })?;
        let store = Self { database: Arc::new(database) };
        match store.document(FORMAT)? {
            Some(PRESENT_FORMAT) => {}
            Some(found) => return Err(StoreError::Format { found }),
            None => store.keep(FORMAT, &PRESENT_FORMAT)?,
        }
        Ok(store)
    }

    /// The document of that name, or `None` when none was ever kept.
    pub fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let failed = |source| StoreError::Read { name: name.to_owned(), source };
        let Some(content) = self.content(name).map_err(|error| failed(Box::new(error)))? else {
            return Ok(None);
        };
        decode(name, &content).map(Some)
    }

    /// Keeps a document; when this returns, it survives a power loss.
    pub fn keep<T: Serialize>(&self, name: &str, document: &T) -> Result<(), StoreError> {
        let content = encode(name, document)?;
        let change = |_: Option<&[u8]>| Ok::<_, StoreError>(Some(content));
        self.change(name, change)
    }

    /// The record as the last acknowledged write left it.
    pub fn record(&self) -> Result<Option<Record>, StoreError> {
        self.document(RECORD)
    }

    /// Compares and swaps the record in one transaction.
    pub fn write_record(&self, write: &Write) -> Result<Written, StoreError> {
        let mut written = Written::Applied;
        self.change(RECORD, |content| {
            let current = content.map(|content| decode(RECORD, content)).transpose()?;
            if write.applies_to(current.as_ref()) {
                return encode(RECORD, &write.record).map(Some);
            }
            written = Written::Conflict { current };
            Ok(None)
        })?;
        Ok(written)
    }

    fn content(&self, name: &str) -> Result<Option<Vec<u8>>, redb::Error> {
        let table = match self.database.begin_read()?.open_table(DOCUMENTS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other?,
        };
        Ok(redb::ReadableTable::get(&table, name)?.map(|content| content.value().to_vec()))
    }

    /// Replaces a document by what `change` makes of it; `None` leaves it as it is.
    fn change<F>(&self, name: &str, change: F) -> Result<(), StoreError>
    where
        F: FnOnce(Option<&[u8]>) -> Result<Option<Vec<u8>>, StoreError>,
    {
        let failed = |source: redb::Error| StoreError::Write {
            name: name.to_owned(),
            source: Box::new(source),
        };
        let mut transaction = self.database.begin_write().map_err(|e| failed(e.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(|e| failed(e.into()))?;
        let changed = {
            let mut table = transaction.open_table(DOCUMENTS).map_err(|e| failed(e.into()))?;
            let next = {
                let content = redb::ReadableTable::get(&table, name);
                let content = content.map_err(|e| failed(e.into()))?;
                change(content.as_ref().map(redb::AccessGuard::value))?
            };
            match &next {
                Some(next) => {
                    table.insert(name, next.as_slice()).map_err(|e| failed(e.into()))?;
                    true
                }
                None => false,
            }
        };
        if changed {
            transaction.commit().map_err(|e| failed(e.into()))
        } else {
            transaction.abort().map_err(|e| failed(e.into()))
        }
    }
}

impl Coordinator for Store {
    async fn read(&self) -> Result<Option<Record>, CoordinatorError> {
        let store = self.clone();
        aside("reading the record", move || store.record()).await
    }

    async fn write(&self, write: &Write) -> Result<Written, CoordinatorError> {
        let (store, write) = (self.clone(), write.clone());
        aside("writing the record", move || store.write_record(&write)).await
    }
}

/// Runs `work` on a thread of its own: a disk that hangs must not hold up the relays.
async fn aside<T: Send + 'static>(
    attempt: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, CoordinatorError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => {
            result.map_err(|error| CoordinatorError { attempt, why: chain(&error).to_string() })
        }
        Err(error) => Err(CoordinatorError { attempt, why: error.to_string() }),
    }
}

fn encode<T: Serialize>(name: &str, document: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(document)
        .map_err(|source| StoreError::Encode { name: name.to_owned(), source })
}

fn decode<T: DeserializeOwned>(name: &str, content: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(content)
        .map_err(|source| StoreError::Decode { name: name.to_owned(), source })
}

// redb syncs the file; its name is ours to sync.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
