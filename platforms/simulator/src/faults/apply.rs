//! Lets faults strike when their moment comes, and end.
//!
//! Never lets one last beyond the moment when faults are over.

use crate::clock::Moment;
use crate::faults::{Fault, Mark, Relief, What, When, Who};
use crate::happening::Happening;
use crate::names::{CommitRule, NodeId, NodeSet};
use crate::network::Link;
use crate::node::Nodes;
use crate::world::World;
use pgherd_core::record::Record;

/// A fault that waits for something to happen.
#[derive(Debug)]
pub struct Armed {
    fault: Fault,
    mark: Mark,
    by: Option<NodeId>,
    left: u32,
    from: Moment,
    then: u64,
}

impl World {
    pub fn arm(&mut self, fault: Fault) {
        match fault.when {
            When::At(at) => {
                let at = at.max(self.now);
                self.queue.add(at, Happening::Strikes { fault, actor: NodeId(0) });
            }
            When::Upon { mark, by, nth, from, then } => {
                self.armed.push(Armed { fault, mark, by, left: nth.max(1), from, then });
            }
        }
    }

    /// Something that faults may wait for has happened.
    pub fn mark(&mut self, mark: Mark, actor: NodeId) {
        if let Some(marks) = &mut self.marks {
            marks.push((mark, actor));
        }
        if self.armed.is_empty() {
            return;
        }
        let mut struck = Vec::new();
        let now = self.now;
        self.armed.retain_mut(|armed| {
            let other = armed.by.is_some_and(|by| by != actor);
            if armed.mark != mark || other || now < armed.from {
                return true;
            }
            armed.left -= 1;
            if armed.left == 0 {
                struck.push((armed.then, armed.fault.clone()));
            }
            armed.left > 0
        });
        for (then, fault) in struck {
            self.after(then, Happening::Strikes { fault, actor });
        }
    }

    /// Whether something of this kind has happened just now.
    pub fn just_now(&self, is_it: impl Fn(Mark, NodeId) -> bool) -> bool {
        self.marks.iter().flatten().any(|(mark, by)| is_it(*mark, *by))
    }

    pub fn strike(&mut self, fault: &Fault, actor: NodeId) {
        if self.now >= self.config.quiet_at {
            return;
        }
        let Some(node) = self.victim(fault.who, actor) else { return };
        self.struck = self.struck.or(Some(self.now));
        let lasts = fault.lasts.min(self.config.quiet_at - self.now);
        let what = fault.what;
        self.tell(|| format!("{node}: {what:?} for {:.3}s", super::seconds(lasts)));
        if self.take_effect(what, node, lasts) {
            let relief = Relief { what, node };
            self.after(lasts, Happening::Relieves(Box::new(relief)));
        }
    }

    fn victim(&self, who: Who, actor: NodeId) -> Option<NodeId> {
        let holder = self.store.current().map(|record| NodeId::of(&record.holder.instance));
        match who {
            Who::Node(node) => Some(node),
            Who::Actor => Some(actor),
            Who::Holder => holder,
            Who::Other(index) => {
                let exists = |id: &NodeId| self.nodes[*id].is_on() && Some(*id) != holder;
                Nodes::ids().filter(exists).nth(usize::from(index))
            }
        }
    }

    /// Makes it so; true when something has to be undone in the end.
    fn take_effect(&mut self, what: What, node: NodeId, lasts: u64) -> bool {
        match what {
            What::CutTo(_)
            | What::CutBoth(_)
            | What::Isolate
            | What::Island
            | What::Lose(_)
            | What::Delay(_)
            | What::LateTo(..) => {
                self.each_link(what, node, |link, now| change_link(link, what, now));
                if what == What::Island {
                    self.count_store(what, node, |count| count.saturating_add(1));
                }
                self.watch_connections(node);
                true
            }
            What::StoreDown
            | What::StoreGrey
            | What::StoreCut
            | What::StoreAsksCut
            | What::StoreAnswersCut => {
                self.count_store(what, node, |count| count.saturating_add(1));
                true
            }
            What::StoreLate(delay) => {
                self.nodes[node].machine.asks_late += delay;
                true
            }
            What::StoreDeleted => self.edit_store(crate::store::Store::delete),
            What::StoreRestored { back } => self.edit_store(|store| store.restore(back)),
            What::StoreTouched => self.edit_store(crate::store::Store::touch),
            What::Switchover(_)
            | What::ScaleUp
            | What::ScaleDown(_)
            | What::Pause
            | What::Fence
            | What::Leave
            | What::Durability(_)
            | What::StopAll
            | What::Restart(_)
            | What::Reconfigure => self.people_want(what, node),
            What::FreezeMachine
            | What::FreezeClock
            | What::StopAgent
            | What::StopServer
            | What::StopBoth
            | What::Throttle(_)
            | What::AgentCrash
            | What::AgentCrashAfter(_)
            | What::AgentReexecutes
            | What::ContainerKill
            | What::NodeLoss
            | What::AllLost
            | What::VolumeReplaced
            | What::CopyTaken
            | What::CopyPutBack
            | What::CalendarStep(_)
            | What::PostmasterKill
            | What::BackendCrash
            | What::Hang
            | What::DiskFull
            | What::ReplayBacklog
            | What::SlowReload
            | What::WalGone
            | What::RewindFails => self.machine_fails(what, node, lasts),
        }
    }

    pub fn relieve(&mut self, relief: Relief) {
        let Relief { what, node } = relief;
        self.tell(|| format!("{node}: {what:?} is over"));
        match what {
            What::CutTo(_)
            | What::CutBoth(_)
            | What::Isolate
            | What::Island
            | What::Lose(_)
            | What::Delay(_)
            | What::LateTo(..) => {
                self.each_link(what, node, |link, _| restore_link(link, what));
                if what == What::Island {
                    self.count_store(what, node, |count| count.saturating_sub(1));
                }
            }
            What::StoreDown
            | What::StoreGrey
            | What::StoreCut
            | What::StoreAsksCut
            | What::StoreAnswersCut => {
                self.count_store(what, node, |count| count.saturating_sub(1));
            }
            What::StoreLate(delay) => {
                let late = &mut self.nodes[node].machine.asks_late;
                *late = late.saturating_sub(delay);
            }
            What::Pause | What::Fence | What::Leave | What::StopAll => {
                self.people_want_no_more(what, node);
            }
            What::Hang => self.nodes[node].trouble.hung_since = None,
            What::DiskFull => {
                let trouble = &mut self.nodes[node].trouble;
                trouble.disk_full = trouble.disk_full.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn each_link(&mut self, what: What, node: NodeId, change: impl Fn(&mut Link, Moment)) {
        let now = self.now;
        for other in Nodes::ids().filter(|other| *other != node) {
            let (to, from) = match what {
                What::CutTo(only) | What::LateTo(only, _) => (only == other, false),
                What::CutBoth(only) => (only == other, only == other),
                _ => (true, true),
            };
            if to {
                self.network.change(node, other, |link| change(link, now));
            }
            if from {
                self.network.change(other, node, |link| change(link, now));
            }
        }
    }

    fn everybody_knows_the_record(&self) -> bool {
        let Some(record) = self.store.current() else { return false };
        let known = |name| self.nodes[NodeId::of(name)].durable.known.epoch >= record.epoch;
        record.members.iter().all(known)
    }

    /// With the record and its holder's log both gone nobody could tell what was acknowledged.
    fn holder_keeps_its_log(&self) -> bool {
        let Some(record) = self.store.current() else { return false };
        let node = &self.nodes[NodeId::of(&record.holder.instance)];
        node.folder.is_some() && node.volume == record.holder.volume
    }

    /// Whether everybody who runs has read the `newest` record, and whoever does not cannot be
    /// misled by what the store holds now: by its grantors, or by its rule for commits as long as
    /// an election needs nobody who remembers the newer one.
    fn somebody_would_tell(&self, newest: &Record) -> bool {
        let now = self.store.current();
        let same_grantors = now.is_none_or(|record| record.grantors == newest.grantors);
        let knows = |name| {
            let agent = self.nodes[NodeId::of(name)].agent.as_ref();
            agent.map_or(same_grantors, |agent| agent.seen.record.value.as_ref() == Some(newest))
        };
        if !newest.members.iter().all(knows) {
            return false;
        }
        let Some(record) = now.filter(|_| !newest.quorum.is_empty()) else { return true };
        let remembers = |id: &NodeId| {
            let known = self.nodes[*id].durable.record.as_ref();
            known
                .is_some_and(|known| (known.epoch, &known.quorum) == (newest.epoch, &newest.quorum))
        };
        let tell: NodeSet = Nodes::ids().filter(remembers).collect();
        let pairs: Vec<CommitRule> = record.quorum.iter().map(CommitRule::of).collect();
        NodeSet::of(&record.members)
            .subsets()
            .filter(|set| !set.is_empty() && pairs.iter().all(|pair| pair.elects(*set)))
            .all(|set| !set.meet(tell).is_empty())
    }

    fn count_store(&mut self, what: What, node: NodeId, change: impl Fn(u8) -> u8) {
        let machine = &mut self.nodes[node].machine;
        match what {
            What::StoreDown => self.store_down = change(self.store_down),
            What::StoreGrey => self.store_grey = change(self.store_grey),
            What::StoreAsksCut => machine.asks_cut = change(machine.asks_cut),
            What::StoreAnswersCut => machine.answers_cut = change(machine.answers_cut),
            _ => {
                machine.asks_cut = change(machine.asks_cut);
                machine.answers_cut = change(machine.answers_cut);
            }
        }
    }

    /// Only while every member knows the newest epoch: who has never heard of it cannot tell an
    /// old record from a new one, and nothing in the world could.
    fn edit_store(&mut self, edit: impl FnOnce(&mut crate::store::Store)) -> bool {
        if !self.everybody_knows_the_record() || !self.holder_keeps_its_log() {
            return false;
        }
        let before = self.store.clone();
        edit(&mut self.store);
        if before.current().is_some_and(|newest| !self.somebody_would_tell(newest)) {
            self.store = before;
            return false;
        }
        self.checker.store_edited();
        let shown = self.store.current().map_or("nothing".to_owned(), crate::trace::summary);
        self.tell(|| format!("the store now holds {shown}"));
        self.judge_writers();
        false
    }
}

fn change_link(link: &mut Link, what: What, now: Moment) {
    match what {
        What::Lose(permille) => link.loss_permille += permille,
        What::Delay(delay) => link.delay += delay,
        What::LateTo(_, delay) => link.late += delay,
        _ => {
            if link.cuts == 0 {
                link.cut_since = now;
            }
            link.cuts = link.cuts.saturating_add(1);
        }
    }
}

fn restore_link(link: &mut Link, what: What) {
    match what {
        What::Lose(permille) => link.loss_permille = link.loss_permille.saturating_sub(permille),
        What::Delay(delay) => link.delay = link.delay.saturating_sub(delay),
        What::LateTo(_, delay) => link.late = link.late.saturating_sub(delay),
        _ => link.cuts = link.cuts.saturating_sub(1),
    }
}
