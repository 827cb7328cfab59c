//! The way between an agent and the store of the record: slow, lossy, and late.
//!
//! Never changes what the store itself promises.

use crate::agent::Wake;
use crate::clock::{MILLISECOND, SECOND};
use crate::faults::Mark;
use crate::happening::{Ask, Happening, StoreAnswer};
use crate::names::NodeId;
use crate::world::World;
use pgherd_core::notice::Event;
use pgherd_core::ports::Written;
use pgherd_core::record::Write;
use pgherd_core::seen::Change;

/// After this long the asker no longer listens.
const PATIENCE: u64 = 5 * SECOND;

impl World {
    pub fn ask_store(&mut self, id: NodeId, write: Option<(Write, Change)>) {
        let node = &self.nodes[id];
        let sent = node.local(self.now);
        let ask = Ask { from: id, life: node.life, sent, write, deadline: self.now + PATIENCE };
        if node.machine.asks_cut > 0 {
            return;
        }
        if self.store_grey > 0 && self.dice.store.chance(100) {
            let late = self.store_delay();
            self.after(late, Happening::StoreAsked(Box::new(ask.clone())));
        }
        if self.store_grey > 0 && self.dice.store.chance(250) {
            return;
        }
        let delay = self.store_delay() + self.nodes[id].machine.asks_late;
        self.after(delay, Happening::StoreAsked(Box::new(ask)));
    }

    pub fn store_asked(&mut self, ask: &Ask) {
        if self.store_down > 0 {
            return;
        }
        let mut confirmed = None;
        if let Some((write, change)) = &ask.write {
            match self.store.write(write) {
                Written::Applied => {
                    self.store_changed(Some(ask.from), *change);
                    confirmed = Some(write.record.clone());
                }
                Written::Conflict { .. } => {}
            }
        }
        let record = confirmed.or_else(|| self.store.current().cloned());
        let Ask { from, life, sent, deadline, .. } = *ask;
        if self.nodes[from].machine.answers_cut > 0 {
            return;
        }
        if self.store_grey > 0 && self.dice.store.chance(250) {
            return;
        }
        let delay = self.store_delay();
        let answer = StoreAnswer { to: from, life, sent, record, deadline };
        self.after(delay, Happening::StoreAnswered(Box::new(answer)));
    }

    pub fn store_answered(&mut self, answer: StoreAnswer) {
        let StoreAnswer { to, life, sent, record, deadline } = answer;
        if self.now <= deadline && self.nodes[to].life == life {
            self.wake(to, Wake::Noticed(Event::RecordRead { sent, record }));
        }
    }

    fn store_changed(&mut self, by: Option<NodeId>, change: Change) {
        self.figures.writes += 1;
        if let Some(by) = by {
            self.trace_record(by, change);
            self.mark(Mark::Applied(change), by);
        }
        if self.store.current().is_some_and(|record| record.quorum.is_empty()) {
            self.forget_promises();
        }
        self.platform_follows_record();
        self.check_record();
        self.check_quorum();
        self.judge_writers();
    }

    fn store_delay(&mut self) -> u64 {
        let slow = if self.store_grey > 0 { 300 } else { 10 };
        if self.dice.store.chance(slow) {
            self.dice.store.between(50 * MILLISECOND, 3 * SECOND)
        } else {
            self.dice.store.between(MILLISECOND, 12 * MILLISECOND)
        }
    }
}
