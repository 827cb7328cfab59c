//! Takes note of what happened: the only place where [`Seen`](crate::seen::Seen) changes.
//!
//! Never decides anything: a fact goes in, and the next plan reads it.

use crate::message::{HeartbeatReply, Known, Released, Reply, Request};
use crate::names::InstanceName;
use crate::plan::{Note, Outcome, Task};
use crate::record::{Record, Write};
use crate::rules::{Rule, broken};
use crate::seen::{
    Answer, Change, Durable, End, Failed, Health, Heard, Obeyed, Office, Outstanding, Regression,
    ReleaseHeard, Running, Seen, Server,
};
use crate::units::{Epoch, Lsn, Time};

/// Something that happened, as one driver or another noticed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A `Persist` step is on disk.
    Persisted(Durable),
    Remembered(Note),
    /// A heartbeat or ballot request left.
    Sent {
        to: InstanceName,
        request: Request,
    },
    Replied {
        from: InstanceName,
        reply: Reply,
    },
    /// A peer's request was answered; `granted_until` when the answer was a grant.
    Heard {
        from: InstanceName,
        request: Request,
        granted_until: Option<Time>,
    },
    ReadSent,
    /// The store answered a read that was sent at `sent`.
    RecordRead {
        sent: Time,
        record: Option<Record>,
    },
    WriteSent {
        write: Write,
        change: Change,
    },
    /// The fencing thread was given this deadline.
    Armed {
        until: Time,
    },
    /// Every process of the server is dead and reaped.
    Reaped,
    /// A look at the server, from its processes, control file and probe.
    Looked {
        server: Server,
        health: Health,
    },
    Started(Task),
    Finished {
        task: Task,
        outcome: Outcome,
    },
}

impl Seen {
    /// Folds one event into what is seen.
    pub fn notice(&mut self, event: Event, now: Time) {
        match event {
            Event::Persisted(durable) => self.durable = durable,
            Event::Remembered(note) => remembered(self, note),
            Event::Sent { to, request } => sent(self, to, &request, now),
            Event::Replied { from, reply } => replied(self, from, reply, now),
            Event::Heard { from, request, granted_until } => {
                heard(self, from, request, (granted_until, now));
            }
            Event::ReadSent => self.record.asked = Some(now),
            Event::RecordRead { sent, record } => record_read(self, sent, record, now),
            Event::WriteSent { write, change } => write_sent(self, write, change, now),
            Event::Armed { until } => self.office.armed_until = Some(until),
            Event::Reaped => reaped(self),
            Event::Looked { server, health } => {
                if matches!(server, Server::Primary(_)) && !self.is_writable() {
                    // Newly opened: everybody is told at once, not with the next heartbeat.
                    self.peers.values_mut().for_each(|peer| peer.asked = None);
                }
                self.server = server;
                self.health = health;
                forget_unsettled_rule(self);
            }
            Event::Started(task) => {
                self.rewound &= !matches!(task, Task::Rewind { .. } | Task::Clone { .. });
                self.office.rule_unsettled |= matches!(task, Task::Obey { .. });
                forget_unsettled_rule(self);
                self.task = Some(Running { task, since: now });
            }
            Event::Finished { task, outcome } => finished(self, task, outcome, now),
        }
    }
}

fn remembered(seen: &mut Seen, note: Note) {
    match note {
        Note::Ballot(ballot) => seen.ballot = ballot,
        Note::AloneSince(since) => seen.office.alone_since = since,
        Note::ReleaseSent(at) => seen.release_sent = Some(at),
        Note::HandoverBegan(began) => seen.handover_began = began,
        Note::FolderWhole => seen.rewound = false,
    }
}

fn sent(seen: &mut Seen, to: InstanceName, request: &Request, now: Time) {
    match request {
        Request::Heartbeat(_) | Request::Released(_) => {
            seen.peers.entry(to).or_default().asked = Some(now);
        }
        Request::Revoke(_) => {
            if let Some(ballot) = &mut seen.ballot {
                ballot.asked = now;
            }
        }
    }
}

fn replied(seen: &mut Seen, from: InstanceName, reply: Reply, now: Time) {
    match reply {
        Reply::Heartbeat(reply) => heartbeat_replied(seen, from, reply, now),
        Reply::Revoke(vote) => {
            hear(seen, vote.knows);
            let ballot = seen.ballot.as_mut().filter(|ballot| {
                ballot.proposed == vote.proposed
                    && ballot.began == vote.ballot
                    && ballot.purpose == vote.purpose
            });
            if let Some(ballot) = ballot {
                ballot.votes.insert(from, vote);
            }
        }
        Reply::Released => {}
    }
}

fn heartbeat_replied(seen: &mut Seen, from: InstanceName, reply: HeartbeatReply, now: Time) {
    hear(seen, reply.knows);
    if reply.incarnation != seen.me.incarnation {
        return;
    }
    if reply.epoch == seen.office.epoch {
        if reply.granted {
            let from_when = if broken(Rule::CountFromSending) { now } else { reply.sent };
            let grant = seen.office.grants.entry(from.clone()).or_insert(from_when);
            *grant = from_when.max(*grant);
        }
        if reply.knows.promise > seen.office.epoch {
            seen.office.promised_above = seen.office.promised_above.max(Some(reply.knows.promise));
        }
    }
    seen.peers.entry(from).or_default().answer = Some(Answer {
        at: now,
        knows: reply.knows,
        standing: reply.standing,
        wants_restart: reply.wants_restart,
        restarted: reply.restarted,
    });
}

fn hear(seen: &mut Seen, knows: Known) {
    seen.heard.epoch = seen.heard.epoch.max(knows.epoch);
    seen.heard.promise = seen.heard.promise.max(knows.promise);
}

fn heard(
    seen: &mut Seen,
    from: InstanceName,
    request: Request,
    (granted, now): (Option<Time>, Time),
) {
    match request {
        Request::Heartbeat(heartbeat) => {
            seen.heard.epoch = seen.heard.epoch.max(heartbeat.epoch);
            if let Some(until) = granted {
                seen.grant.until = seen.grant.until.max(until);
            }
            seen.grant.heard = Some(Heard {
                from,
                at: now,
                epoch: heartbeat.epoch,
                revision: heartbeat.revision,
                position: heartbeat.position.or_else(|| {
                    let before = seen.grant.heard.as_ref()?;
                    before.position.filter(|_| before.epoch == heartbeat.epoch)
                }),
                terms: heartbeat.terms,
                rewind_ready: heartbeat.rewind_ready,
                may_restart: heartbeat.may_restart,
            });
        }
        Request::Revoke(revoke) => released(seen, revoke.released, now),
        Request::Released(release) => released(seen, Some(release), now),
    }
}

/// A later release, or one that knows where the log ends, replaces what was known.
fn released(seen: &mut Seen, release: Option<Released>, at: Time) {
    let Some(release) = release else { return };
    let better = seen.released.as_ref().is_none_or(|known| {
        let known = &known.release;
        (known.epoch, known.end.is_some()) < (release.epoch, release.end.is_some())
    });
    if better {
        seen.released = Some(ReleaseHeard { release, at });
    }
}

fn record_read(seen: &mut Seen, sent: Time, record: Option<Record>, now: Time) {
    let newer = match (&seen.record.value, &record) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(known), Some(found)) => {
            // A store that was set back counts its revisions anew; epochs only grow.
            let by_revision = found.revision > known.revision
                && (found.epoch >= known.epoch || broken(Rule::NeverLowerEpoch));
            by_revision || found.epoch > known.epoch
        }
    };
    let known_to_durable = seen.durable.record.as_ref();
    let behind_disk = !broken(Rule::NeverLowerEpoch)
        && known_to_durable.is_some_and(|known| {
            record
                .as_ref()
                .is_none_or(|found| (found.epoch, found.revision) < (known.epoch, known.revision))
        });
    if newer && !behind_disk {
        seen.record.value = record;
        seen.record.first_seen = now;
        seen.record.regressed = None;
    } else if seen.record.value.is_none() && behind_disk {
        // What the disk remembers is newer than what the store holds.
        seen.record.value = seen.durable.record.clone();
        seen.record.first_seen = now;
        seen.record.regressed = Some(Regression { found: record, since: now });
    } else if seen.record.value == record {
        seen.record.regressed = None;
    } else if sent > seen.record.first_seen {
        // Asked after the newer version had been seen: no late answer, the store has gone back.
        let since = seen.record.regressed.as_ref().map_or(now, |known| known.since);
        seen.record.regressed = Some(Regression { found: record, since });
    } else {
        return;
    }
    seen.record.read = seen.record.read.max(Some(sent));
    settle_outstanding(seen);
}

/// Learns the fate of the write that was outstanding, once the record has moved past its base.
fn settle_outstanding(seen: &mut Seen) {
    let Some(outstanding) = &seen.outstanding else { return };
    if let Some(regression) = &seen.record.regressed {
        // The version it would replace is gone for good, unless it is what the store holds.
        if !outstanding.write.applies_to(regression.found.as_ref()) {
            seen.outstanding = None;
        }
        return;
    }
    let Some(record) = &seen.record.value else { return };
    if Some(record.base()) == outstanding.write.base {
        return;
    }
    let won = record.written == outstanding.write.record.written;
    let (change, proof) = (outstanding.change, outstanding.first_sent);
    let proof = if broken(Rule::WriteCountsFromSending) { seen.record.first_seen } else { proof };
    let epoch = record.epoch;
    seen.outstanding = None;
    if won {
        confirm(seen, change, epoch, proof);
    }
}

fn confirm(seen: &mut Seen, change: Change, epoch: Epoch, proof: Time) {
    match change {
        Change::Create | Change::Claim | Change::Retake => {
            seen.office = Office { epoch, confirmed: Some(proof), ..Office::default() };
            seen.ballot = None;
            seen.released = None;
            seen.release_sent = None;
            seen.handover_began = None;
            for peer in seen.peers.values_mut() {
                peer.asked = None;
            }
        }
        Change::Bump | Change::Restore => {
            seen.office.epoch = epoch;
            seen.office.grants.clear();
            seen.office.promised_above = None;
            seen.office.confirmed = seen.office.confirmed.max(Some(proof));
            for peer in seen.peers.values_mut() {
                peer.asked = None;
            }
        }
        Change::HandOver | Change::AbortHandOver | Change::Amend | Change::Vacate => {
            seen.office.confirmed = seen.office.confirmed.max(Some(proof));
        }
    }
}

fn write_sent(seen: &mut Seen, write: Write, change: Change, now: Time) {
    match &mut seen.outstanding {
        Some(outstanding) if outstanding.write == write => outstanding.last_sent = now,
        Some(_) | None => {
            seen.writes = seen.writes.max(write.record.written.number);
            seen.outstanding = Some(Outstanding { write, change, first_sent: now, last_sent: now });
        }
    }
}

/// Every process is dead: what the server was tells what its folder is now.
fn reaped(seen: &mut Seen) {
    seen.task = None;
    let crashed = |timeline| End::Crashed { position: None, timeline };
    let (system_id, timeline) = match &seen.server {
        Server::Standby(standby) => (standby.system_id, standby.position.timeline),
        Server::Primary(primary) => (primary.system_id, primary.position.timeline),
        Server::Starting => {
            seen.server = Server::Unknown;
            return;
        }
        Server::Unknown | Server::Absent | Server::Down { .. } => return,
    };
    seen.server = Server::Down { system_id, end: crashed(timeline) };
}

/// From the first signal on, some processes obey the new rule and some the old one.
fn forget_unsettled_rule(seen: &mut Seen) {
    if let Server::Primary(primary) = &mut seen.server
        && seen.office.rule_unsettled
    {
        primary.obeys = None;
    }
}

/// Every process obeys the rule of the order from `since` on.
fn settle_rule(seen: &mut Seen, task: &Task, since: Lsn) {
    seen.office.rule_unsettled = false;
    if let (Server::Primary(primary), Task::Obey { pair, .. }) = (&mut seen.server, task) {
        primary.obeys = Some(Obeyed { pair: pair.clone(), since });
    }
}

fn finished(seen: &mut Seen, task: Task, outcome: Outcome, now: Time) {
    seen.task = None;
    if let Outcome::Obeyed { since } = outcome {
        settle_rule(seen, &task, since);
    }
    match outcome {
        Outcome::Done | Outcome::Obeyed { .. } => {
            let renewed = matches!(task, Task::Rewind { .. } | Task::Clone { .. });
            seen.rewound |= renewed;
            // What failed with the folder as it was before says nothing of the new one.
            let same = |failed: &Failed| failed.task.kind() == task.kind();
            if renewed || seen.failed.as_ref().is_some_and(same) {
                seen.failed = None;
            }
        }
        Outcome::Failed { why } => {
            let before = seen.failed.as_ref().filter(|failed| failed.task.kind() == task.kind());
            let times = before.map_or(0, |failed| failed.times) + 1;
            seen.failed = Some(Failed { task, at: now, times, why });
        }
    }
}
