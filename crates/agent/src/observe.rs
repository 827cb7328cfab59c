//! Looks at the server: its processes, its control file, and what it says itself.
//!
//! Never changes anything, and never waits for an answer longer than a second.

mod complaints;
mod disk;
pub mod probe;
mod recovery;
pub mod stopped;
mod wal;
pub mod watch;

use crate::perform::Manner;
use pgherd_api::agent::FullVolume;
use pgherd_core::seen::{Health, Server};
use pgherd_core::units::Time;
use rustix::process::Pid;

/// One look at a running server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Nothing in it is older than this.
    pub began: Time,
    /// Whose server it was.
    pub postmaster: Pid,
    pub server: Server,
    pub health: Health,
    /// The volumes on which next to nothing is left.
    pub full: Vec<FullVolume>,
    /// Whether somebody changed its configuration past its agent.
    pub overruled: Overruled,
    /// Bytes of log, when a recovery has just come to its end.
    pub replayed_per_second: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overruled {
    No,
    ByAlterSystem,
}

impl Look {
    /// The look, completed by what only we know: how the server was set up.
    pub fn with(self, manner: &Manner) -> (Server, Health) {
        let Manner { mut configuration, pending, .. } = *manner;
        let overruled = self.overruled == Overruled::ByAlterSystem;
        if overruled {
            // It runs with none of ours: that of now is to be loaded again.
            configuration = configuration.wrapping_sub(1);
        }
        let health = Health { configuration, pending, ..self.health };
        let server = match self.server {
            Server::Standby(mut standby) => {
                standby.follows.clone_from(&manner.follows);
                Server::Standby(standby)
            }
            Server::Primary(mut primary) => {
                primary.gate = manner.gate;
                primary.obeys = manner.obeys.clone().filter(|_| !overruled);
                Server::Primary(primary)
            }
            other @ (Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting) => {
                other
            }
        };
        (server, health)
    }
}
