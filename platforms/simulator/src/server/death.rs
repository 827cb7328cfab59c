//! Ends of servers: killed trees, orphans, lost power.
//!
//! Never loses what was flushed.

use crate::happening::Happening;
use crate::names::NodeId;
use crate::node::{Control, PrimaryState, Process};
use crate::server::stream::{ConnectionId, SILENCE};
use crate::world::World;

impl World {
    /// Every process of the server is dead and reaped.
    pub fn kill_tree(&mut self, id: NodeId) {
        for connection in self.end_process(id) {
            self.hang_up(connection, id);
        }
    }

    /// As above, but nobody on the other side is told.
    pub fn kill_tree_silently(&mut self, id: NodeId) {
        for id_of_connection in self.end_process(id) {
            if let Some(connection) = self.connections.get_mut(id_of_connection) {
                connection.sender_open &= connection.primary != id;
                connection.receiver_open &= connection.standby != id;
            }
            // The peer finds out when it has heard nothing for long enough.
            self.after(SILENCE, Happening::Closes { connection: id_of_connection });
        }
    }

    /// The postmaster dies and leaves its children behind.
    pub fn postmaster_dies(&mut self, id: NodeId) {
        match &mut self.nodes[id].process {
            Process::None => return,
            Process::Starting | Process::Standby(_) => self.kill_tree(id),
            Process::Primary(primary) => primary.state = PrimaryState::Orphaned,
        }
        self.note(id, || "postmaster dies".to_owned());
        self.postmaster_gone(id);
    }

    /// A backend crashes: the postmaster ends everything by itself and does not restart.
    pub fn backend_crashes(&mut self, id: NodeId) {
        if matches!(self.nodes[id].process, Process::None) {
            return;
        }
        self.kill_tree(id);
        self.note(id, || "server crashes".to_owned());
        self.postmaster_gone(id);
    }

    /// The processes are gone; returns the connections they leave behind.
    fn end_process(&mut self, id: NodeId) -> Vec<ConnectionId> {
        let redo = self.dice.server.between(50, 4_000) * 1_000;
        let node = &mut self.nodes[id];
        let process = std::mem::replace(&mut node.process, Process::None);
        node.process_id += 1;
        let connections = match &process {
            Process::None => return Vec::new(),
            Process::Starting => Vec::new(),
            Process::Standby(standby) => standby.receiver.into_iter().collect(),
            Process::Primary(primary) => primary.senders.values().copied().collect(),
        };
        node.redo = redo;
        node.trouble.hung_since = None;
        node.machine.server_stopped_until = 0;
        node.trouble.stopped_since = None;
        if let Some(folder) = &mut node.folder {
            folder.control = Control::Crashed { scanned: false };
        }
        self.judge_writers();
        connections
    }
}
