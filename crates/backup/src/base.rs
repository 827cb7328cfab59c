//! Takes base backups: reads a data folder in parallel and stores it as barman-cloud would.
//!
//! Never lists a backup that is not whole: its description is stored last, and what is left of a
//! failed one is removed. Never decides when, and speaks to PostgreSQL only through a [`Session`].

mod batch;
mod changes;
mod description;
pub mod index;
mod ledger;
mod manifest;
mod member;
mod packing;
pub mod page;
mod pipeline;
mod planner;
mod progress;
mod read;
pub mod scan;
mod session;
mod stream;
mod sums;
mod take;
mod throttle;

pub use packing::{Packer, Packing, Unpacker};
pub use progress::Progress;
pub use session::{Pages, Refused, Session, Started, Stopped};
pub use take::{Left, Looked, Request, Taken, Unfit, clear, sweep, take};

use crate::layout::Key;
use crate::restore::RestoreError;
use crate::store::StoreError;
use crate::workers::WorkerLost;
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use std::io;
use std::path::PathBuf;

/// Files are read and packed in pieces of this size.
pub(crate) const CHUNK: usize = 4 << 20;

/// How a backup is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub packing: Packing,
    /// What all buffers together take at most.
    pub memory: Bytes,
    /// How many archives are written at once.
    pub streams: usize,
    /// Threads that read and pack; none means one for each processor.
    pub workers: usize,
    /// So much is read in a second at most.
    pub rate: Option<Bytes>,
}

impl Default for Options {
    fn default() -> Self {
        let memory = Bytes(64 << 20);
        Self { packing: Packing::default(), memory, streams: 2, workers: 0, rate: None }
    }
}

/// A page whose checksum is wrong, on disk and therefore in the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPage {
    /// The file of the relation, as seen from the data folder.
    pub path: String,
    /// Its number in the relation, not in this file.
    pub block: u32,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("there is a backup {0} already: take one with a later name")]
    AlreadyThere(BackupId),
    #[error("starting the threads of a backup")]
    Workers { source: io::Error },
    #[error("telling PostgreSQL that a backup begins")]
    Start { source: Refused },
    #[error("telling PostgreSQL that a backup ends")]
    Stop { source: Refused },
    #[error("listing {}", path.display())]
    Scan { path: PathBuf, source: io::Error },
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("packing a part of {key}")]
    Pack { key: Key, source: io::Error },
    #[error("writing the table of contents")]
    Index { source: io::Error },
    #[error("reading backup {base}, which this one was to build on")]
    Base { base: BackupId, source: Box<RestoreError> },
    #[error("describing the backup as JSON")]
    Describe { source: serde_json::Error },
    #[error("storing the backup")]
    Store { source: StoreError },
    #[error("the backup was cancelled")]
    Cancelled,
    #[error(transparent)]
    WorkerLost(WorkerLost),
    /// Another part of the work failed, whose error says why.
    #[error("the backup was abandoned")]
    Abandoned,
}

impl BackupError {
    pub(crate) fn store(source: StoreError) -> Self {
        Self::Store { source }
    }
}
