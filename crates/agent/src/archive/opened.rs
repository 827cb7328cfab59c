//! An archive that is in use: its place is made sure of, and files are stored.
//!
//! Never stores a file before it is certain that the place is ours.

use super::blockmap;
use super::claim::ClaimError;
use super::remembered::Remembered;
use super::repository::{self, OpenError};
use pgherd_api::agent::{ArchiveFile, ArchiveSpec};
use pgherd_api::cluster::object_store::WalCompression;
use pgherd_backup::compression::Compression;
use pgherd_backup::store::{Patience, Store};
use pgherd_backup::wal::{Archive, Mapped, Settings, WalError};
use pgherd_core::units::{Bytes, SystemId};
use pgherd_core::wal::WalFile;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::{OnceCell, Semaphore};

/// What may be on its way at once, in memory.
const MEMORY: Bytes = Bytes(64 << 20);

/// What could not be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    #[error("making sure that the archive is ours")]
    Claim(#[source] ClaimError),
    // It says itself what it was about.
    #[error(transparent)]
    Push(WalError),
}

/// An archive that is in use.
pub(crate) struct Opened {
    pub(crate) archive: Archive,
    pub(crate) store: Store,
    pub(crate) system: SystemId,
    /// What it was opened from.
    pub(super) spec: ArchiveSpec,
    changed: Vec<Option<SystemTime>>,
    claimed: OnceCell<()>,
    /// For maps of segments that are on their way.
    pub(super) maps: Semaphore,
    /// Where something may be put for a moment.
    pub(super) scratch: PathBuf,
    pub(super) remembered: Remembered,
}

/// Where there is what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) keys: &'a Path,
    /// Where something may be put for a moment.
    pub(crate) scratch: &'a Path,
    pub(crate) remembered: &'a Path,
}

impl Opened {
    pub(crate) fn open(
        spec: &ArchiveSpec,
        system: SystemId,
        around: Around<'_>,
    ) -> Result<Self, OpenError> {
        let Around { keys, scratch, remembered } = around;
        let changed = changed(spec, keys);
        let patience = Patience {
            connect: Duration::from_secs(3),
            retries: 3,
            give_up: Duration::from_secs(10),
            ..Patience::carrying(MEMORY)
        };
        let (store, layout) =
            repository::open(spec, spec.encryption, &repository::in_folder(keys), patience)?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = Settings {
            compression: compression(spec.compression),
            system: Some(system),
            memory: MEMORY,
            processors,
        };
        Ok(Self {
            archive: Archive::new(store.clone(), layout, settings),
            store,
            system,
            spec: spec.clone(),
            changed,
            claimed: OnceCell::new(),
            maps: Semaphore::new(blockmap::AT_ONCE),
            scratch: scratch.to_owned(),
            remembered: Remembered::new(remembered, spec, system),
        })
    }

    /// Whether this is still what is wanted, opened with the keys that there are.
    pub(super) fn is_still(&self, spec: &ArchiveSpec, system: SystemId, keys: &Path) -> bool {
        self.spec == *spec && self.system == system && self.changed == changed(spec, keys)
    }

    /// Makes certain, once, that the place is ours.
    pub(super) async fn make_sure(&self) -> Result<(), PushError> {
        let claim = self.claimed.get_or_try_init(|| self.claim());
        claim.await.copied().map_err(PushError::Claim)
    }

    /// Stores a file, once it is certain that the place is ours.
    pub(super) async fn push(&self, file: WalFile, path: &Path) -> Result<(), PushError> {
        self.make_sure().await?;
        self.archive.push(file, path).await.map(drop).map_err(PushError::Push)
    }

    /// The same, and says which pages it changes.
    pub(super) async fn push_and_map(
        &self,
        file: WalFile,
        path: &Path,
    ) -> Result<Mapped, PushError> {
        self.make_sure().await?;
        let pushed = self.archive.push_and_map(file, path).await;
        pushed.map(|(_, mapped)| mapped).map_err(PushError::Push)
    }
}

fn changed(spec: &ArchiveSpec, keys: &Path) -> Vec<Option<SystemTime>> {
    let changed = |file: &ArchiveFile| std::fs::metadata(keys.join(file.name()))?.modified();
    spec.files.iter().map(|file| changed(file).ok()).collect()
}

fn compression(wanted: Option<WalCompression>) -> Compression {
    match wanted {
        None => Compression::None,
        Some(WalCompression::Bzip2) => Compression::Bzip2,
        Some(WalCompression::Gzip) => Compression::Gzip,
        Some(WalCompression::Lz4) => Compression::Lz4,
        Some(WalCompression::Snappy) => Compression::Snappy,
        Some(WalCompression::Xz) => Compression::Xz,
        Some(WalCompression::Zstd) => Compression::Zstd,
    }
}
