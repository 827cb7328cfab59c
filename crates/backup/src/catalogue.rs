//! Knows what a repository holds of one server, and removes what is not needed any more.
//!
//! Never decides what that is (`pgherd_core::backup` does).

mod history;
mod list;
mod log;
mod prune;
mod sweep;

pub(crate) use history::forks;
pub use prune::Pruned;
pub use sweep::Swept;

use crate::backup_info::{BackupInfo, Incomplete};
use crate::encryption::FormError;
use crate::layout::Layout;
use crate::store::{Store, StoreError};
use pgherd_core::backup::window::{self, Archive, Window};
use pgherd_core::backup::{Backup, BackupId, Hold};
use pgherd_core::wal::SegmentSize;
use std::collections::BTreeSet;

/// The backups and the log of one server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Store,
    layout: Layout,
}

/// All backups, in the order in which they began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: BackupId,
    /// What it is incremental to.
    pub base: Option<BackupId>,
    pub info: BackupInfo,
    pub hold: Option<Hold>,
    /// What decisions need, or why they cannot be made.
    pub backup: Result<Backup, Incomplete>,
}

/// What was attempted with a repository.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("listing the backups of {server}")]
    List { server: String, source: StoreError },
    #[error("using the place of {server} in the repository")]
    Form { server: String, source: FormError },
    #[error("looking through the log of {server}")]
    Log { server: String, source: StoreError },
    #[error("putting backup {backup} on hold, or taking it off")]
    Hold { backup: BackupId, source: StoreError },
    #[error("removing backup {backup}")]
    Remove { backup: BackupId, source: StoreError },
    #[error("removing log that is not needed any more")]
    RemoveLog { source: StoreError },
    #[error("removing what killed uploads left of {server}")]
    Sweep { server: String, source: StoreError },
    #[error("backup {backup} was put on hold since it was to be removed: decide anew")]
    HeldSince { backup: BackupId },
}

impl Repository {
    pub fn new(store: Store, layout: Layout) -> Self {
        Self { store, layout }
    }

    /// To which points this server can be taken back.
    pub async fn window(&self, catalogue: &Catalogue) -> Result<(Archive, Window), CatalogueError> {
        let archive = self.log(catalogue.segment_size()).await?;
        let window = window::window(&catalogue.backups(), &archive);
        Ok((archive, window))
    }
}

impl Catalogue {
    /// What decisions are made from.
    pub fn backups(&self) -> Vec<Backup> {
        self.entries.iter().filter_map(|entry| entry.backup.clone().ok()).collect()
    }

    /// Those that nothing can be decided about.
    pub fn unreadable(&self) -> BTreeSet<BackupId> {
        let unreadable = self.entries.iter().filter(|entry| entry.backup.is_err());
        unreadable.map(|entry| entry.id.clone()).collect()
    }

    /// The newest backup's, because a cluster keeps the size it was made with.
    pub fn segment_size(&self) -> SegmentSize {
        let sizes = self.entries.iter().rev().filter_map(|entry| entry.info.segment_size);
        sizes.into_iter().next().unwrap_or(SegmentSize::DEFAULT)
    }

    /// By id, by the name that people gave it, or by barman's words for the first and the last that
    /// can be restored.
    pub fn find(&self, wanted: &str) -> Option<&Entry> {
        let is_whole = |backup: &Backup| backup.done().is_some() && backup.has_data;
        let can_be = |entry: &&Entry| entry.backup.as_ref().is_ok_and(is_whole);
        match wanted {
            "first" | "oldest" => self.entries.iter().find(can_be),
            "last" | "latest" => self.entries.iter().rev().find(can_be),
            _ => {
                let by_id = self.entries.iter().find(|entry| entry.id.as_str() == wanted);
                let by_name = |entry: &&Entry| entry.info.name.as_deref() == Some(wanted);
                by_id.or_else(|| self.entries.iter().rev().find(by_name))
            }
        }
    }
}
