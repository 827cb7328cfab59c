//! Clients that commit wherever they are let, and commits that wait until a sender releases them.
//!
//! Never asks whether a server should accept writes: a zombie's clients do not know either.

use crate::checker::Promise;
use crate::clock::MILLISECOND;
use crate::happening::Happening;
use crate::names::{CommitRule, NodeId};
use crate::node::{Nodes, PrimaryState};
use crate::server::stream::ConnectionId;
use crate::world::World;
use pgherd_core::seen::Gate;
use pgherd_core::units::Lsn;

impl World {
    /// Every server that accepts writes gets one.
    pub fn clients_commit(&mut self) {
        for id in Nodes::ids() {
            if self.is_open_for_clients(id) {
                let size = self.dice.client.between(100, 2_000);
                self.commit(id, size);
            }
        }
        let pause = self.dice.client.between(25 * MILLISECOND, 75 * MILLISECOND);
        self.after(pause, Happening::Commits);
    }

    pub fn is_open_for_clients(&self, id: NodeId) -> bool {
        let node = &self.nodes[id];
        let Some(primary) = node.primary() else { return false };
        primary.gate == Gate::Open
            && primary.state != PrimaryState::Stopping
            && node.server_answers(self.now)
            && node.trouble.disk_full == 0
    }

    fn commit(&mut self, id: NodeId, size: u64) {
        let end = self.append(id, size);
        self.figures.commits += 1;
        let Some(primary) = self.nodes[id].primary_mut() else { return };
        if primary.waits {
            primary.waiting.push_back(end);
        } else {
            self.acknowledge(id, end);
        }
        self.send_to_all(id);
    }

    /// The log of a primary grows.
    pub fn append(&mut self, id: NodeId, size: u64) -> Lsn {
        let now = self.nodes[id].local(self.now);
        let node = &mut self.nodes[id];
        node.progress = Some(now);
        let Some(folder) = &mut node.folder else { return Lsn(0) };
        let end = Lsn(folder.log.lsn.0 + size);
        folder.log.lsn = end;
        self.forest[folder.log.branch].end = end;
        end
    }

    pub fn send_to_all(&mut self, id: NodeId) {
        let Some(primary) = self.nodes[id].primary() else { return };
        let senders: Vec<ConnectionId> = primary.senders.values().copied().collect();
        for sender in senders {
            self.send_log(sender);
        }
    }

    /// A sender has heard from its standby: it releases what its own idea of the rule allows.
    pub fn released_by(&mut self, id: NodeId, sender: ConnectionId) {
        let Some(connection) = self.connections.get(sender) else { return };
        let Some(rule) = connection.rule.filter(|rule| !rule.is_solo()) else { return };
        if rule.voters.holds(connection.standby)
            && let Some(upto) = self.flushed_by_enough(id, rule)
        {
            self.release(id, upto);
        }
    }

    /// The checkpointer has seen that nobody needs to wait any more, or that everybody must.
    pub fn set_waiting(&mut self, id: NodeId, rule: Option<CommitRule>) {
        let waits = rule.is_some_and(|rule| !rule.is_solo());
        let Some(primary) = self.nodes[id].primary_mut() else { return };
        primary.waits = waits;
        if !waits {
            self.release(id, Lsn(u64::MAX));
        }
    }

    fn flushed_by_enough(&self, id: NodeId, rule: CommitRule) -> Option<Lsn> {
        let primary = self.nodes[id].primary()?;
        let mut flushed: Vec<Lsn> = primary
            .senders
            .iter()
            .filter(|(standby, _)| rule.voters.holds(**standby))
            .filter_map(|(_, sender)| self.connections.get(*sender))
            .map(|connection| connection.flushed)
            .collect();
        flushed.sort_unstable();
        let index = flushed.len().checked_sub(rule.acks)?;
        flushed.get(index).copied()
    }

    fn release(&mut self, id: NodeId, upto: Lsn) {
        let Some(primary) = self.nodes[id].primary_mut() else { return };
        let mut last = None;
        while primary.waiting.front().is_some_and(|lsn| *lsn <= upto) {
            last = primary.waiting.pop_front();
        }
        if let Some(last) = last {
            self.acknowledge(id, last);
        }
    }

    /// A client is told that everything up to here is committed.
    fn acknowledge(&mut self, id: NodeId, upto: Lsn) {
        let Some(primary) = self.nodes[id].primary() else { return };
        let confirmed = primary.obeys.as_ref().is_some_and(|obeyed| obeyed.pair.is_some());
        let promise =
            if primary.file_rule.is_some() && confirmed { Promise::Kept } else { Promise::None };
        let branch = primary.branch;
        self.figures.acknowledged(self.now);
        self.check_acknowledged(branch, upto, promise);
    }
}
