//! What users ask for, also in the middle of everything else.
//!
//! Never acts on an instance: a wish reaches each of them in its own time.

use crate::clock::{MILLISECOND, SECOND};
use crate::faults::What;
use crate::happening::Happening;
use crate::names::{NodeId, NodeSet, SLOTS};
use crate::node::{Nodes, Power};
use crate::world::World;
use pgherd_core::intent::{Durability, Intent, Restart, Switchover};
use pgherd_core::record::Record;
use std::rc::Rc;

impl World {
    /// Changes what the user wants; true when it ends after a while.
    pub(super) fn people_want(&mut self, what: What, node: NodeId) -> bool {
        let name = self.nodes[node].name.clone();
        let number = self.intents + 1;
        let names = |set: NodeSet| set.iter().map(|id| id.name(&self.cluster)).collect();
        let mut intent = Intent::clone(&self.intent);
        let mut lasts = false;
        match what {
            What::Switchover(target) => {
                let target = target.map(|id| id.name(&self.cluster));
                let epoch = self.store.current().map(|record| record.epoch);
                intent.switchover = Some(Switchover { number, target, epoch });
            }
            What::ScaleUp => return self.scale_up(),
            What::ScaleDown(node) => {
                let name = self.nodes[node].name.clone();
                let record = self.store.current();
                intent.instances.remove(&name);
                // Somebody who belongs must stay: a platform knows that.
                let stays = |record: &Record| !record.members.is_disjoint(&intent.instances);
                if !record.is_some_and(stays) || cannot_acknowledge(&intent) {
                    return false;
                }
            }
            What::Durability(durability) => {
                intent.durability = durability;
                if cannot_acknowledge(&intent) {
                    return false;
                }
            }
            What::Restart(set) => {
                intent.restart = Some(Restart { number, instances: names(set) });
            }
            What::Reconfigure => intent.configuration += 1,
            _ => {
                lasts = true;
                match what {
                    What::Pause => intent.paused = true,
                    What::StopAll => intent.stopped = true,
                    What::Leave => drop(intent.leaving.insert(name)),
                    _ => drop(intent.fenced.insert(name)),
                }
            }
        }
        self.want(intent);
        lasts
    }

    pub(super) fn people_want_no_more(&mut self, what: What, node: NodeId) {
        let name = self.nodes[node].name.clone();
        let mut intent = Intent::clone(&self.intent);
        match what {
            What::Pause => intent.paused = false,
            What::StopAll => intent.stopped = false,
            What::Leave => drop(intent.leaving.remove(&name)),
            _ => drop(intent.fenced.remove(&name)),
        }
        self.want(intent);
    }

    fn scale_up(&mut self) -> bool {
        let free = Nodes::ids().find(|id| self.nodes[*id].machine.power == Power::Nowhere);
        let Some(id) = free.filter(|id| id.0 < SLOTS) else { return false };
        let mut intent = Intent::clone(&self.intent);
        intent.instances.insert(self.nodes[id].name.clone());
        self.want(intent);
        let volume = self.dice.fault.draw();
        let node = &mut self.nodes[id];
        node.intent = Rc::clone(&self.intent);
        node.intent_number = self.intents;
        node.volume = volume;
        self.power_on(id);
        false
    }

    /// The wish spreads.
    pub fn want(&mut self, intent: Intent) {
        self.intents += 1;
        self.intent = Rc::new(intent);
        for node in Nodes::ids() {
            self.tell_intent(node);
        }
    }

    pub fn tell_intent(&mut self, node: NodeId) {
        let delay = self.dice.fault.between(5 * MILLISECOND, 300 * MILLISECOND);
        let (number, intent) = (self.intents, Rc::clone(&self.intent));
        self.after(delay, Happening::Intends { node, number, intent });
    }

    /// An instance learns what the user wants, if it can reach the platform.
    pub fn intends(&mut self, id: NodeId, number: u64, intent: Rc<Intent>) {
        let machine = &self.nodes[id].machine;
        if machine.power != Power::On || self.nodes[id].intent_number >= number {
            return;
        }
        if machine.asks_cut > 0 || machine.answers_cut > 0 || self.store_down > 0 {
            self.after(SECOND, Happening::Intends { node: id, number, intent });
            return;
        }
        self.nodes[id].intent = intent;
        self.nodes[id].intent_number = number;
        self.wake(id, crate::agent::Wake::Timer);
    }

    /// Does what a platform does when the record changes.
    pub fn platform_follows_record(&mut self) {
        let Some(record) = self.store.current().cloned() else { return };
        if self.intent.first.is_some() {
            let mut intent = Intent::clone(&self.intent);
            intent.first = None;
            self.want(intent);
        }
        for id in Nodes::ids() {
            let node = &self.nodes[id];
            let unwanted = !self.intent.instances.contains(&node.name)
                && !record.members.contains(&node.name)
                && record.holder.instance != node.name;
            if unwanted && node.machine.power != Power::Nowhere {
                self.remove_machine(id);
            }
        }
    }
}

/// Commits would wait for ever: a platform refuses such a wish.
fn cannot_acknowledge(intent: &Intent) -> bool {
    match intent.durability {
        Durability::Required { acks } => intent.instances.len() <= acks,
        Durability::Preferred { .. } | Durability::Asynchronous { .. } => false,
    }
}
