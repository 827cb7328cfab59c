//! S4, S5, S6, S10, S11: what clients were told is true for ever.
//!
//! Never compares logs entry by entry: what is acknowledged on a branch is a prefix of it.

use crate::checker::Promise;
use crate::names::{CommitRule, NodeId, NodeSet};
use crate::node::Nodes;
use crate::wal::{BranchId, LogEnd};
use crate::world::World;
use pgherd_core::intent::Durability;
use pgherd_core::units::{Bytes, Lsn};

impl World {
    /// S3, S4 and S11 for a server that has just opened `branch`, which left its past at `fork`.
    pub fn check_opening(&mut self, id: NodeId, branch: BranchId, fork: LogEnd) {
        let (timeline, epoch) = (self.forest[branch].timeline, self.forest[branch].epoch);
        if self.checker.timelines.insert(timeline, branch).is_some() {
            let text = format!("{id} opens timeline {timeline} for the second time");
            self.checker.fail(self.now, "S3", || text);
        }
        for other in self.forest.ids().filter(|other| *other != branch) {
            // One that stood still in the middle of its opening wakes in the past; what counts
            // then is that nobody confirms its commits (S5).
            if self.forest[other].epoch > epoch && self.is_excused(id) {
                continue;
            }
            let promised = self.forest[other].promised;
            if !self.forest.holds(fork, other, promised) && promised > Lsn(0) {
                let was = self.forest[other].epoch;
                let lost = self.forest.lacks(fork, other, promised);
                self.checker.fail(self.now, "S4", || {
                    format!("{id} opens epoch {epoch} without {lost} acknowledged in epoch {was}")
                });
            }
        }
        self.check_lag(id, branch, fork);
    }

    /// S6, before there is a single sender: commits wait for somebody from the first one on.
    pub fn check_opening_rule(&mut self, id: NodeId) {
        let rule = self.nodes[id].primary().map(|primary| primary.file_rule);
        let synchronous = match self.nodes[id].intent.durability {
            Durability::Asynchronous { .. } => false,
            Durability::Required { .. } | Durability::Preferred { .. } => true,
        };
        let recorded = self.store.current().is_some_and(|record| !record.quorum.is_empty());
        if rule == Some(None) && synchronous && recorded {
            self.checker.fail(self.now, "S6", || {
                format!("{id} opens in synchronous mode and acknowledges alone")
            });
        }
    }

    /// S11: an asynchronous failover loses at most `max_lag` of what its candidate knew of.
    fn check_lag(&mut self, id: NodeId, branch: BranchId, fork: LogEnd) {
        let Durability::Asynchronous { max_lag } = self.intent.durability else { return };
        let Some(last) = self.forest.ids().filter(|other| *other < branch).last() else { return };
        let last_branch = &self.forest[last];
        let Some((_, heard)) = self.nodes[id].heard.filter(|_| !last_branch.tainted) else {
            return;
        };
        let known = last_branch.hoped.min(heard);
        let lost = self.forest.lacks(fork, last, known);
        if known > self.forest.began(last) && lost > Bytes(max_lag.0) {
            self.checker.fail(self.now, "S11", || {
                format!("{id} opens although it knew that it lacks {lost}; {max_lag} are allowed")
            });
        }
    }

    /// S5: nothing is acknowledged that a higher epoch lacks.
    pub fn check_acknowledged(&mut self, branch: BranchId, upto: Lsn, promise: Promise) {
        let own = &mut self.forest[branch];
        own.hoped = own.hoped.max(upto);
        if promise == Promise::None {
            return;
        }
        own.promised = own.promised.max(upto);
        let epoch = own.epoch;
        for later in self.forest.ids().filter(|other| *other != branch) {
            let other = &self.forest[later];
            let log = LogEnd { branch: later, lsn: other.end };
            if other.epoch > epoch && !self.forest.holds(log, branch, upto) {
                let newer = other.epoch;
                self.checker.fail(self.now, "S5", || {
                    format!("epoch {epoch} acknowledges {upto}, which epoch {newer} lacks")
                });
            }
        }
    }

    /// In asynchronous mode nothing is promised, also not what was before.
    pub fn forget_promises(&mut self) {
        for branch in self.forest.ids() {
            self.forest[branch].promised = Lsn(0);
        }
    }

    /// S6: whoever can acknowledge meets whoever can elect.
    pub fn check_quorum(&mut self) {
        let Some(record) = self.store.current() else { return };
        let holder = NodeId::of(&record.holder.instance);
        let node = &self.nodes[holder];
        let Some(primary) = node.primary() else { return };
        let confirmed = primary.obeys.as_ref().is_some_and(|obeyed| obeyed.pair.is_some());
        let set_back = self.checker.is_set_back(record.epoch);
        if primary.file_rule.is_none() || !confirmed || record.quorum.is_empty() || set_back {
            return;
        }
        let pairs: Vec<CommitRule> = record.quorum.iter().map(CommitRule::of).collect();
        let everybody = NodeSet::of(&record.members).without(holder);
        let senders = primary.senders.iter().filter_map(|(standby, sender)| {
            let rule = self.connections.get(*sender)?.rule?;
            (rule.voters.holds(*standby) && !rule.is_solo()).then_some(rule)
        });
        let alone = CommitRule { voters: NodeSet::EMPTY, acks: 0 };
        let waits = (!primary.waits).then_some(alone);
        let mut last = None;
        for rule in senders.chain(waits) {
            if last.replace(rule) != Some(rule) && !rule.meets_every_election(&pairs, everybody) {
                let text = format!("{holder} acknowledges by {rule:?}, recorded are {pairs:?}");
                self.checker.fail(self.now, "S6", || text);
                return;
            }
        }
    }

    /// S10: in required mode clients are let in only to what can no longer be lost.
    pub fn check_gate(&mut self, id: NodeId) {
        let Some(primary) = self.nodes[id].primary() else { return };
        let Some(pair) = primary.obeys.as_ref().and_then(|obeyed| obeyed.pair.as_ref()) else {
            return;
        };
        let required = matches!(self.nodes[id].intent.durability, Durability::Required { .. });
        let rule = CommitRule::of(pair);
        if !required {
            return;
        }
        // All that can be read so far was replayed, so it ends where the timeline began.
        let Some(fork) = self.forest[primary.branch].parent else { return };
        let having = Nodes::ids()
            .filter(|other| rule.voters.holds(*other))
            .filter_map(|other| self.nodes[other].log())
            .filter(|log| self.forest.holds(*log, fork.branch, fork.lsn))
            .count();
        if having < rule.acks {
            self.checker.fail(self.now, "S10", || {
                format!("{id} lets clients in before {} standbys have all of it", rule.acks)
            });
        }
    }
}
