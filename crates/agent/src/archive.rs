//! Archives the log that PostgreSQL has finished, and brings it back to a standby that lacks it.
//!
//! Never decides which file is next (`pgherd_core::wal` does), and never holds up the agent's
//! loop, PostgreSQL's stop or a promotion: it has a thread of its own, and every answer a bound.

mod backlog;
mod blockmap;
mod catch_up;
mod claim;
pub mod client;
mod counts;
mod desk;
pub mod exchange;
mod opened;
mod permit;
mod queue;
mod ready;
mod remembered;
pub mod repository;
mod serve;
mod spool;
mod stream;

pub(crate) use claim::ClaimError;
pub use claim::owner;
pub use counts::Counts;
pub(crate) use opened::{Around, Opened};
pub use permit::Permit;
pub use ready::{Marks, marks, settled};
pub use repository::{OpenError, check, check_key};

use crate::durable::Access;
use pgherd_api::agent::{ArchiveSpec, ArchiveStatus};
use pgherd_core::units::{Epoch, SystemId, Time, Timeline, WalPosition};
use std::io;
use std::path::PathBuf;
use tokio::sync::watch;

/// Threads that pack, unpack and read the disk.
const BLOCKING: usize = 8;
const STACK_BYTES: usize = 512 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("starting the thread that archives")]
    StartThread(#[source] io::Error),
    #[error("starting the runtime that archives")]
    StartRuntime(#[source] io::Error),
    #[error("listening for PostgreSQL's commands at {path:?}")]
    Listen { path: PathBuf, source: io::Error },
}

/// Where everything lies that archiving deals with.
#[derive(Debug, Clone)]
pub struct Place {
    /// PostgreSQL's data folder.
    pub data: PathBuf,
    pub socket: PathBuf,
    /// Who may ask at the socket.
    pub access: Access,
    /// What was fetched and not asked for yet.
    pub spool: PathBuf,
    /// What opens the archive.
    pub keys: PathBuf,
    /// Where it is noted which folders were archives.
    pub remembered: PathBuf,
}

/// What is wanted, and what the server is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Where to archive to; nowhere when absent.
    pub archive: Option<ArchiveSpec>,
    /// The cluster whose log it is, once that is known.
    pub system: Option<SystemId>,
    pub part: Part,
    pub reign: Option<Reign>,
}

/// An office that is held, and how far the log is durable here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reign {
    pub epoch: Epoch,
    pub position: WalPosition,
}

/// What the server does at present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Part {
    /// Nothing that would need the archive, or nobody knows yet.
    #[default]
    Idle,
    Primary {
        timeline: Timeline,
    },
    /// It receives from a primary, and may be given what that primary's past is made of.
    Standby(Permit),
    /// It is being stopped.
    Stopping,
}

/// What archiving has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub status: Option<ArchiveStatus>,
    /// Since when something is flushed that is not in the store.
    pub behind: Option<Time>,
    pub counts: Counts,
    /// When a standby was last given a file.
    pub helped: Option<Time>,
}

/// The thread that archives. It ends with this.
#[derive(Debug)]
pub struct Archiver {
    orders: watch::Sender<Orders>,
    told: watch::Receiver<Told>,
}

impl Archiver {
    pub fn start(place: Place) -> Result<Self, StartError> {
        let (orders, ordered) = watch::channel(Orders::default());
        let (tell, told) = watch::channel(Told::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            .thread_stack_size(STACK_BYTES)
            .build()
            .map_err(StartError::StartRuntime)?;
        let listener = {
            let _inside = runtime.enter();
            let listening = serve::listen(&place.socket, place.access);
            listening.map_err(|source| StartError::Listen { path: place.socket.clone(), source })?
        };
        let work = move || runtime.block_on(desk::work(place, listener, ordered, tell));
        let thread = std::thread::Builder::new().name("archive".to_owned());
        let _detached = thread.spawn(work).map_err(StartError::StartThread)?;
        Ok(Self { orders, told })
    }

    /// Makes it so from now on.
    pub fn order(&self, orders: Orders) {
        self.orders.send_if_modified(|present| {
            let changed = *present != orders;
            *present = orders;
            changed
        });
    }

    pub fn told(&self) -> Told {
        self.told.borrow().clone()
    }
}

/// Where the archive lies, for people.
fn place_of(archive: &ArchiveSpec) -> String {
    format!("{}/{}", archive.destination.trim_end_matches('/'), archive.server)
}
