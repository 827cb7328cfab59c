//! What an agent sees when it looks at its server: processes, control file, probe.
//!
//! Never shows what a real look could not know.

use crate::clock::SECOND;
use crate::names::NodeId;
use crate::node::{Control, Folder, PrimaryProcess, Process, StandbyProcess};
use crate::wal::Forest;
use crate::world::World;
use pgherd_core::notice::Event;
use pgherd_core::seen::{End, Follows, Health, Primary, Sender, Server, Standby, Upstream};
use pgherd_core::units::Lsn;
use std::collections::BTreeMap;

impl World {
    pub fn look(&mut self, id: NodeId) -> Event {
        self.replay(id);
        Event::Looked { server: self.look_at_server(id), health: self.look_at_health(id) }
    }

    fn look_at_server(&self, id: NodeId) -> Server {
        let node = &self.nodes[id];
        let Some(folder) = &node.folder else { return Server::Absent };
        match &node.process {
            Process::None => down(&self.forest, folder),
            Process::Starting => Server::Starting,
            Process::Standby(standby) => self.look_at_standby(folder, standby),
            Process::Primary(primary) => self.look_at_primary(folder, primary),
        }
    }

    fn look_at_standby(&self, folder: &Folder, standby: &StandbyProcess) -> Server {
        let follows = standby.follows.map(|follows| Follows {
            primary: self.nodes[follows.primary].name.clone(),
            epoch: follows.epoch,
        });
        let streaming = standby.receiver.is_some();
        let settled = standby.received || standby.replayed >= folder.log.lsn;
        let mut position = self.forest.position(folder.log);
        if !settled {
            position.lsn = standby.replayed;
        }
        Server::Standby(Standby {
            system_id: folder.system_id,
            position,
            began: self.forest.began(folder.log.branch),
            replayed: standby.replayed,
            settled,
            follows,
            streaming,
        })
    }

    fn look_at_primary(&self, folder: &Folder, primary: &PrimaryProcess) -> Server {
        let mut senders = BTreeMap::new();
        for (standby, connection) in &primary.senders {
            if let Some(connection) = self.connections.get(*connection) {
                let name = self.nodes[*standby].name.clone();
                senders.insert(name, Sender { flushed: connection.flushed, streaming: true });
            }
        }
        Server::Primary(Primary {
            system_id: folder.system_id,
            position: self.forest.position(folder.log),
            began: self.forest.began(primary.branch),
            gate: primary.gate,
            obeys: primary.obeys.clone(),
            senders,
            checkpointed: primary.checkpointed,
        })
    }

    fn look_at_health(&self, id: NodeId) -> Health {
        let node = &self.nodes[id];
        let stopped = node.machine.server_stopped_until > self.now;
        let silent = node.trouble.hung_since.or(node.trouble.stopped_since.filter(|_| stopped));
        let misses = match (&node.process, silent) {
            (Process::Standby(_) | Process::Primary(_), Some(since)) => {
                u32::try_from((self.now - since) / SECOND).unwrap_or(u32::MAX)
            }
            (Process::None | Process::Starting, _) | (_, None) => 0,
        };
        Health {
            misses,
            progress: node.progress,
            disk_full: node.trouble.disk_full > 0,
            configuration: node.configuration,
            pending: node.pending,
            wal_gone: node.trouble.wal_gone,
            upstream: Upstream::InPlace,
            redo_milliseconds: Some(node.redo / 1_000),
        }
    }

    /// Lets replay catch up with what was received, unless something holds it up.
    pub fn replay(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let end = node.log().map_or(Lsn(0), |log| log.lsn);
        if node.trouble.backlog_until > now || !node.server_answers(now) {
            return;
        }
        if let Some(standby) = node.standby_mut().filter(|standby| standby.replays_by <= now) {
            standby.replayed = end;
        }
    }
}

fn down(forest: &Forest, folder: &Folder) -> Server {
    let position = forest.position(folder.log);
    let end = match folder.control {
        Control::CleanPrimary => End::Clean { position },
        Control::CleanStandby => End::CleanStandby { position },
        Control::Crashed { scanned } => {
            End::Crashed { position: scanned.then_some(position), timeline: position.timeline }
        }
    };
    Server::Down { system_id: folder.system_id, end }
}
