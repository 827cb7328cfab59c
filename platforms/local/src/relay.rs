//! Carries TCP connections to one address, and can cut, delay or reset them as a network does.
//!
//! Never loses, reorders or invents a byte: what is held back goes on later, or never.

mod carry;
mod door;
pub mod fabric;
mod pool;
mod pump;

use serde::Serialize;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("listening on {listen} for connections to {target}")]
    Listen { listen: SocketAddr, target: SocketAddr, source: io::Error },
}

/// What happens to bytes on their way in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    #[default]
    Pass,
    /// Each byte arrives this much later, in order.
    Delay(Duration),
    /// Nothing arrives and nobody is told, as when a switch fails. Held connections go on when it
    /// ends; new ones stay dead until then.
    Cut,
    /// Every connection is reset, and new ones are refused. Holds for both directions.
    Reset,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Delay(delay) => write!(f, "delay of {delay:?}"),
            Self::Cut => f.write_str("cut"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

impl Serialize for Flow {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What happens in each direction of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Traffic {
    /// From who dials to who is dialled.
    pub there: Flow,
    /// From who is dialled to who dials.
    pub back: Flow,
}

impl Traffic {
    fn is_reset(self) -> bool {
        self.there == Flow::Reset || self.back == Flow::Reset
    }

    fn toward(self, direction: Direction) -> Flow {
        match direction {
            Direction::There => self.there,
            Direction::Back => self.back,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    There,
    Back,
}

/// A relay that runs until it is dropped; then its connections are closed.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    target: SocketAddr,
    traffic: watch::Sender<Traffic>,
    open: Arc<AtomicUsize>,
    _door: JoinSet<()>,
}

impl Relay {
    /// Listens on `listen` (port 0: any that is free) and connects every caller to `target`. More
    /// than `limit` callers at a time are reset.
    pub fn start(listen: SocketAddr, target: SocketAddr, limit: usize) -> Result<Self, RelayError> {
        let door = door::Door::open(listen).map_err(|source| RelayError::Listen {
            listen,
            target,
            source,
        })?;
        let (traffic, _) = watch::channel(Traffic::default());
        let open = Arc::new(AtomicUsize::new(0));
        let address = door.address();
        let mut tasks = JoinSet::new();
        let guard = door::Guard { target, limit, open: Arc::clone(&open) };
        tasks.spawn(door.admit(guard, traffic.subscribe()));
        Ok(Self { address, target, traffic, open, _door: tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn target(&self) -> SocketAddr {
        self.target
    }

    pub fn traffic(&self) -> Traffic {
        *self.traffic.borrow()
    }

    /// Changes what happens from now on, also on the connections there are.
    pub fn set(&self, traffic: Traffic) {
        self.traffic.send_if_modified(|current| {
            let is_new = *current != traffic;
            *current = traffic;
            is_new
        });
    }

    /// How many connections there are, dead ones included.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
