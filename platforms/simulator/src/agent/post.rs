//! Carries requests and replies between agents.
//!
//! Never promises that one arrives, arrives once, or arrives in order.

use crate::agent::{Pending, Wake};
use crate::clock::SECOND;
use crate::faults::Mark;
use crate::happening::{Happening, Letter, ReplyLetter};
use crate::names::{NodeId, SLOTS};
use crate::world::World;
use pgherd_core::answer::answer;
use pgherd_core::message::{Purpose, Reply, Request, Stance};
use pgherd_core::notice::Event;

impl World {
    pub fn post(&mut self, from: NodeId, to: NodeId, request: Request) {
        if to.0 >= SLOTS || to == from {
            return;
        }
        let patience = match &request {
            Request::Heartbeat(_) => SECOND,
            Request::Revoke(_) | Request::Released(_) => micros(self.config.timers.grant),
        };
        let deadline = self.now + patience;
        let life = self.nodes[from].life;
        let Some(delay) = self.network.message(from, to) else { return };
        let letter = Letter { from, to, life, request, deadline };
        if self.network.doubles()
            && let Some(delay) = self.network.message(from, to)
        {
            self.after(delay, Happening::Request(Box::new(letter.clone())));
        }
        self.after(delay, Happening::Request(Box::new(letter)));
    }

    pub fn request_arrives(&mut self, letter: &Letter) {
        if self.nodes[letter.to].is_on() {
            self.wake(letter.to, Wake::Asked(letter.clone()));
        }
    }

    pub fn reply_arrives(&mut self, letter: ReplyLetter) {
        if self.now > letter.deadline || self.nodes[letter.to].life != letter.life {
            return;
        }
        let from = self.nodes[letter.from].name.clone();
        self.wake(letter.to, Wake::Noticed(Event::Replied { from, reply: letter.reply }));
    }

    /// Answers at once, from what is seen; the steps come first, then the reply.
    pub(super) fn answer(&mut self, id: NodeId, letter: &Letter) {
        self.note_heard(id, &letter.request);
        if let Request::Revoke(revoke) = &letter.request
            && revoke.purpose == Purpose::Seal
        {
            self.mark(Mark::SealsAnother, id);
        }
        let from = self.nodes[letter.from].name.clone();
        let node = &mut self.nodes[id];
        let now = node.local(self.now);
        let Some(agent) = &mut node.agent else { return };
        let answered = answer(&node.intent, &agent.seen, &from, &letter.request, now);
        agent.steps.extend(answered.steps);
        agent.reply = Some(Pending {
            to: letter.from,
            life: letter.life,
            reply: answered.reply,
            heard: answered.heard,
            deadline: letter.deadline,
        });
    }

    pub(super) fn send_reply(&mut self, id: NodeId, pending: Pending) {
        let Pending { to, life, reply, heard, deadline } = pending;
        if let Some(event) = heard {
            self.notice(id, event);
        }
        if let Reply::Revoke(vote) = &reply
            && matches!(vote.stance, Stance::Sealed { .. })
        {
            let node = &mut self.nodes[id];
            node.voted = node.voted.max(vote.proposed);
            self.mark(Mark::Votes, id);
        }
        if let Some(delay) = self.network.message(id, to) {
            let letter = ReplyLetter { from: id, to, life, reply, deadline };
            self.after(delay, Happening::Reply(Box::new(letter)));
        }
    }

    /// Remembers how far the primary's log went, as this instance last heard it.
    fn note_heard(&mut self, id: NodeId, request: &Request) {
        if let Request::Heartbeat(beat) = request
            && let Some(position) = beat.position
        {
            self.nodes[id].heard = Some((beat.epoch, position.lsn));
        }
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
