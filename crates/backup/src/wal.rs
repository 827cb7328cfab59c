//! Moves files of the log into the repository and back, checked on both ways.
//!
//! Never decides which file is next (`pgherd_core::wal` does), never replaces one that is stored,
//! and never hands out one that it has not checked.

mod blockmap;
mod compare;
mod fetch;
pub mod header;
mod occupied;
mod push;
mod stream;
mod together;
mod unpack;

pub use blockmap::MapError;
pub(crate) use blockmap::{archived, archived_map, stored_map, walked};
pub use fetch::{Fetched, Partials};
pub use occupied::Occupied;
pub use push::{Mapped, Pushed};
pub use stream::Pieces;
pub(crate) use stream::pieces;

use crate::compression::Compression;
use crate::layout::{Key, Layout};
use crate::store::{Retry, Store, StoreError};
use header::{Damage, Expected};
use pgherd_core::units::{Bytes as Size, SystemId};
use pgherd_core::wal::WalFile;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The log of one server in a repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Store,
    layout: Layout,
    settings: Settings,
    /// What is there as long as the repository is.
    witnesses: Arc<[Key]>,
    shared: Arc<Shared>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How new files are packed; all kinds are read.
    pub compression: Compression,
    /// Only log of this cluster is stored or handed out.
    pub system: Option<SystemId>,
    /// The memory that files may take while they are on their way. One file that is larger than
    /// this goes alone.
    pub memory: Size,
    /// How many processors may pack or unpack.
    pub processors: usize,
}

#[derive(Debug)]
struct Shared {
    processors: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    /// What fetched files were packed with last: most of a repository is alike.
    seen: Mutex<Compression>,
    /// The names in the folder that was written to last, as of when it was looked at first.
    neighbours: tokio::sync::Mutex<Option<(Key, BTreeSet<Key>)>>,
}

/// Memory is given out in units of this.
const UNIT: u64 = 1 << 20;

/// What was attempted with a file of the log.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("archiving {}, which is not what its name says", path.display())]
    NotWhatItSays { path: PathBuf, source: Damage },
    #[error("archiving {file}")]
    Push { file: WalFile, source: StoreError },
    #[error(
        "archiving {file}: {stored} holds other content under this name: another cluster writes \
         to this place, or an old primary does; stop it, or choose another server name"
    )]
    Different { file: WalFile, stored: Key },
    #[error("fetching {file}")]
    Fetch { file: WalFile, source: StoreError },
    #[error(
        "unpacking {stored}, which is damaged: recover to a point before it, and take a new backup"
    )]
    Unpack { stored: Key, source: io::Error },
    #[error("checking {stored}, which is damaged or does not belong here")]
    Damaged { stored: Key, source: Damage },
    #[error("writing {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("a task of this process ended early: it is being stopped")]
    Interrupted,
}

impl WalError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::Push { source, .. } | Self::Fetch { source, .. } => source.retry(),
            Self::Read { .. } | Self::Write { .. } | Self::Interrupted => Retry::Soon,
            // A human has to look; what is stored or on disk does not change by itself.
            Self::NotWhatItSays { .. }
            | Self::Different { .. }
            | Self::Unpack { .. }
            | Self::Damaged { .. } => Retry::Later,
        }
    }
}

impl Archive {
    pub fn new(store: Store, layout: Layout, settings: Settings) -> Self {
        let units = usize::try_from(settings.memory.0.div_ceil(UNIT)).unwrap_or(usize::MAX);
        let shared = Shared {
            processors: Arc::new(Semaphore::new(settings.processors.max(1))),
            memory: Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS))),
            seen: Mutex::new(settings.compression),
            neighbours: tokio::sync::Mutex::new(None),
        };
        Self { store, layout, settings, witnesses: Arc::default(), shared: Arc::new(shared) }
    }

    /// That a file is not there is believed only while one of these is: a folder whose disk was
    /// unmounted is empty, and no end of the log.
    #[must_use]
    pub fn witnessed_by(self, witnesses: impl IntoIterator<Item = Key>) -> Self {
        Self { witnesses: witnesses.into_iter().collect(), ..self }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn expected(&self, file: WalFile) -> Option<Expected> {
        let segment = match file {
            WalFile::Segment(segment) | WalFile::Partial(segment) => segment,
            WalFile::History(_) | WalFile::Label { .. } => return None,
        };
        Some(Expected { segment, system: self.settings.system })
    }

    fn seen(&self) -> MutexGuard<'_, Compression> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so much memory is free, and holds it.
    async fn memory(&self, size: u64) -> Result<tokio::sync::OwnedSemaphorePermit, WalError> {
        let all = self.settings.memory.0.div_ceil(UNIT).max(1);
        let units = u32::try_from(size.div_ceil(UNIT).clamp(1, all)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.shared.memory).acquire_many_owned(units).await;
        permit.map_err(|_| WalError::Interrupted)
    }

    /// Runs what needs a processor for long, no more of it at once than there are processors.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WalError> {
        let permit = Arc::clone(&self.shared.processors).acquire_owned().await;
        let permit = permit.map_err(|_| WalError::Interrupted)?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| WalError::Interrupted)
    }
}
