//! S7, S8, S9: what a server may receive, when it must be dead, and what must never be started.
//!
//! Never trusts what an agent believes of its server.

use crate::names::NodeId;
use crate::node::{FollowedBy, Process};
use crate::world::World;
use pgherd_core::units::Epoch;

impl World {
    /// S7: a standby that has told where its log ends receives from nobody below that ballot.
    pub fn check_receives(&mut self, standby: NodeId, primary: NodeId, epoch: Epoch) {
        let voted = self.nodes[standby].voted;
        if epoch < voted {
            self.checker.fail(self.now, "S7", || {
                format!("{standby} voted for epoch {voted} and receives in epoch {epoch}")
            });
        }
        if self.holder_of(epoch).is_some_and(|holder| holder != primary) {
            self.checker.fail(self.now, "S7", || {
                format!("{standby} receives epoch {epoch} from {primary}, who never held it")
            });
        }
    }

    /// S7, when a connection is made.
    pub fn check_follows(&mut self, standby: NodeId, follows: FollowedBy) {
        self.check_receives(standby, follows.primary, follows.epoch);
    }

    /// S8: whoever announces its release has no process left.
    pub fn check_release(&mut self, id: NodeId, epoch: Epoch) {
        let alive = match &self.nodes[id].process {
            Process::Primary(primary) => primary.epoch <= epoch,
            Process::None | Process::Starting | Process::Standby(_) => false,
        };
        if alive {
            self.checker.fail(self.now, "S8", || {
                format!("{id} announces the release of epoch {epoch} while its server lives")
            });
        }
    }

    /// S9: a half-rewound folder is never started.
    pub fn check_start(&mut self, id: NodeId) {
        let half = self.nodes[id].folder.as_ref().is_some_and(|folder| folder.half_rewound);
        if half {
            self.checker.fail(self.now, "S9", || format!("{id} starts a half-rewound folder"));
        }
    }
}
