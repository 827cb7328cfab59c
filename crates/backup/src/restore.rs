//! Restores backups into folders: ours in parallel from their table of contents, barman's own by
//! unpacking its archives.
//!
//! Never writes outside the folders it was given, and never leaves a folder that PostgreSQL would
//! start before all of it is on disk: `global/pg_control` comes last. Never decides which backup.

pub(crate) mod archives;
pub(crate) mod chain;
mod combined;
pub(crate) mod contents;
mod delta;
mod durable;
mod fetch;
mod indexed;
mod place;
pub mod recovery;
mod space;
mod verify;
mod wanted;
mod whole;

pub use place::Refusal;
pub use verify::{Verified, verify};
pub use whole::{By, Into, Request, Restored, restore};

use crate::layout::Key;
use crate::store::StoreError;
use crate::workers::WorkerLost;
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use std::io;
use std::path::PathBuf;

/// How a backup is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What all buffers together take at most.
    pub memory: Bytes,
    /// Threads that unpack and write; none means one for each processor.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { memory: Bytes(48 << 20), workers: 0 }
    }
}

/// Why nothing was restored, or not all.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("there is no backup {backup}: list the backups that there are")]
    Missing { backup: BackupId },
    #[error("backup {backup} cannot be restored: {because}")]
    Unusable { backup: BackupId, because: Unusable },
    #[error(
        "{} holds something already: name an empty folder, or ask for a delta restore into it",
        path.display()
    )]
    NotEmpty { path: PathBuf },
    #[error(
        "PostgreSQL runs in {}, or crashed there: stop it, or remove postmaster.pid if it does not run",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "backup {backup} is incremental, and backup {base}, which it builds on, is not there: \
         restore another one"
    )]
    NoBase { backup: BackupId, base: BackupId },
    #[error("there is no tablespace {name:?} in the backup to be put elsewhere")]
    NoTablespace { name: String },
    #[error(
        "a tablespace cannot lie in {path:?}: name an absolute folder without .. in it for each \
         tablespace"
    )]
    TablespacePlace { path: PathBuf },
    #[error(
        "{path:?} and {other:?} would lie in each other: name folders that are apart for the data and \
         for each tablespace"
    )]
    TablespaceOverlap { path: PathBuf, other: PathBuf },
    #[error(
        "{} has {free} free and {needed} are needed: make room, or choose another folder",
        path.display()
    )]
    NoSpace { path: PathBuf, needed: Bytes, free: Bytes },
    #[error("reading the backup")]
    Store { source: StoreError },
    #[error("reading {key}")]
    Archive { key: Key, source: io::Error },
    #[error("{key} names a file that a backup cannot have")]
    Refused { key: Key, source: Refusal },
    #[error("{key} is damaged: {what}")]
    Damaged { key: Key, what: String },
    #[error("writing {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("starting the threads of a restore")]
    Workers { source: io::Error },
    #[error(transparent)]
    WorkerLost(WorkerLost),
}

/// What is wrong with a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it was not finished")]
    Unfinished,
    #[error("it is a snapshot of volumes, which only their provider can restore")]
    Snapshot,
    #[error("its data.tar is missing: something removed it")]
    NoData,
    #[error("{0}.tar of one of its tablespaces is missing: something removed it")]
    NoTablespaceData(u32),
    #[error("it holds {0}.tar of a tablespace that it does not know of")]
    UnknownTablespace(u32),
    #[error(
        "only a backup with pgherd's table of contents can be restored over what is there; \
         restore into an empty folder"
    )]
    NoIndex,
    #[error("its table of contents is missing: something removed it")]
    NoContents,
    #[error("more backups build on each other than there can be")]
    TooLong,
    #[error("a newer pgherd wrote its table of contents: use that one")]
    NewerIndex,
}

impl RestoreError {
    pub(crate) fn store(source: StoreError) -> Self {
        Self::Store { source }
    }
}
