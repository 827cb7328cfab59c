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
    /// Bytes of log, when a recovery has just come to its end.
    pub replayed_per_second: Option<u64>,
}

impl Look {
    /// The look, completed by what only we know: how the server was set up.
    pub fn with(self, manner: &Manner) -> (Server, Health) {
        let Manner { configuration, pending, .. } = *manner;
        let health = Health { configuration, pending, ..self.health };
        let server = match self.server {
            Server::Standby(mut standby) => {
                standby.follows.clone_from(&manner.follows);
                Server::Standby(standby)
            }
            Server::Primary(mut primary) => {
                primary.gate = manner.gate;
                primary.obeys.clone_from(&manner.obeys);
                Server::Primary(primary)
            }
            other @ (Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting) => {
                other
            }
        };
        (server, health)
    }
}
