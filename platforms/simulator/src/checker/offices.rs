//! S1, S2, S3, S15: who may write, under which epoch, on which timeline.
//!
//! Never holds a frozen instance to what it could not do.

use crate::agent::Agent;
use crate::names::NodeId;
use crate::node::{Nodes, PrimaryState};
use crate::world::World;
use pgherd_core::seen::Durable;
use pgherd_core::units::Epoch;

impl World {
    /// S1: no two instances that can run are writable at once. S2: none is writable once the record
    /// has gone on to a higher epoch of somebody else.
    pub fn judge_writers(&mut self) {
        let mut first: Option<NodeId> = None;
        let record = self.store.current();
        for id in Nodes::ids() {
            if !self.is_held_to_account(id) {
                continue;
            }
            let epoch = self.nodes[id].primary().map(|primary| primary.epoch);
            if let (Some(record), Some(epoch)) = (record, epoch)
                && record.epoch > epoch
                && record.holder.instance != self.nodes[id].name
            {
                let (newer, holder) = (record.epoch, record.holder.instance.clone());
                self.checker.fail(self.now, "S2", || {
                    format!("{id} writes in epoch {epoch}, but {holder} holds epoch {newer}")
                });
                return;
            }
            if let Some(other) = first {
                self.checker.fail(self.now, "S1", || format!("{other} and {id} both write"));
                return;
            }
            first = Some(id);
        }
    }

    fn is_held_to_account(&self, id: NodeId) -> bool {
        let node = &self.nodes[id];
        let excused = self.is_excused(id);
        let writes = node.primary().is_some_and(|p| p.state != PrimaryState::Stopping);
        writes && node.is_on() && !excused
    }

    /// S2: nobody begins to open once its right to is over, however long it stood still before.
    pub fn check_begins_to_open(&mut self, id: NodeId, epoch: Epoch) {
        let now = self.nodes[id].local(self.now);
        let until = self.nodes[id].agent.as_ref().and_then(Agent::is_armed_until);
        if until.is_none_or(|until| now >= until) {
            self.checker.fail(self.now, "S2", || {
                format!("{id} begins to open epoch {epoch}, whose time was over at {until:?}")
            });
        }
    }

    /// Whether it could not fence itself in time, having stood still.
    pub(super) fn is_excused(&self, id: NodeId) -> bool {
        self.nodes[id].machine.excused_until > self.now
    }

    /// S3: each epoch has one holder.
    pub fn check_record(&mut self) {
        let Some(record) = self.store.current() else { return };
        let (epoch, holder) = (record.epoch, &record.holder);
        match self.checker.holders.get(&epoch) {
            Some(known) if known != holder => {
                let text = format!("epoch {epoch} belongs to {known:?} and to {holder:?}");
                self.checker.fail(self.now, "S3", || text);
            }
            Some(_) => {}
            None => {
                self.checker.holders.insert(epoch, holder.clone());
            }
        }
    }

    /// S15: what an instance knows and has promised never goes down.
    pub fn check_durable(&mut self, id: NodeId, next: &Durable) {
        let last = &self.nodes[id].durable;
        let lower = next.known.epoch < last.known.epoch
            || next.known.promise < last.known.promise
            || next.seal < last.seal
            || next.served < last.served;
        if lower {
            let text = format!("{id} forgets: {last:?} becomes {next:?}");
            self.checker.fail(self.now, "S15", || text);
        }
    }

    pub fn holder_of(&self, epoch: Epoch) -> Option<NodeId> {
        self.checker.holders.get(&epoch).map(|holder| NodeId::of(&holder.instance))
    }
}
