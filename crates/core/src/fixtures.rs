//! The one vocabulary of core's tests: a cluster `db` with instances 1, 2, 3..., standard timers,
//! and a clock that stands at 100 seconds.
//!
//! Never compiled into the product.
#![expect(clippy::wildcard_enum_match_arm, reason = "a fixture of another shape ends the test")]

use crate::instance;
use crate::intent::{Durability, Intent};
use crate::message::{Purpose, Stance, Standing, Vote};
use crate::names::{ClusterName, InstanceName};
use crate::plan::{Plan, Step};
use crate::record::{Cause, Holder, Pair, Phase, Record, Takeover, WriteId};
use crate::seen::{
    Answer, Ballot, Durable, Follows, Gate, Heard, Obeyed, Office, Peer, Primary, Seen, Sender,
    Server, Standby,
};
use crate::timers::Timers;
use crate::units::{Bytes, Epoch, Lsn, SystemId, Time, Timeline, WalPosition};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) const NOW: Time = Time(100_000_000);
pub(crate) const SYSTEM: SystemId = SystemId(7);

pub(crate) fn name(serial: u32) -> InstanceName {
    InstanceName::new(&ClusterName::parse("db").unwrap(), serial)
}

pub(crate) fn names<const N: usize>(serials: [u32; N]) -> BTreeSet<InstanceName> {
    serials.into_iter().map(name).collect()
}

pub(crate) fn pair<const N: usize>(acks: usize, voters: [u32; N]) -> Pair {
    Pair { voters: names(voters), acks }
}

pub(crate) fn at(timeline: u32, lsn: u64) -> WalPosition {
    WalPosition { timeline: Timeline(timeline), lsn: Lsn(lsn) }
}

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn asynchronous() -> Durability {
    Durability::Asynchronous { max_lag: Bytes(1_000) }
}

pub(crate) fn intent(instances: u32, durability: Durability) -> Intent {
    Intent {
        cluster: ClusterName::parse("db").unwrap(),
        instances: (1..=instances).map(name).collect(),
        first: None,
        durability,
        timers: Timers::STANDARD,
        failover_delay: Duration::ZERO,
        stop_delay: Duration::from_secs(30),
        paused: false,
        fenced: BTreeSet::new(),
        leaving: BTreeSet::new(),
        stopped: false,
        switchover: None,
        restart: None,
        configuration: 0,
    }
}

pub(crate) fn holder(serial: u32) -> Holder {
    Holder { instance: name(serial), volume: u64::from(serial), incarnation: 1 }
}

/// Epoch 2 on timeline 3, held by db-1, with all of `instances` as members and the others as
/// grantors; its timeline began at 1000.
pub(crate) fn record(instances: u32) -> Record {
    let written = WriteId { incarnation: 1, number: 1 };
    let first = Record::first(holder(1), SYSTEM, Timeline(1), written);
    let mut record = first.taken_over(
        written,
        Takeover {
            holder: holder(1),
            epoch: Epoch(2),
            parent: Timeline(2),
            parent_began: Lsn(0),
            began: None,
            cause: Cause::Retaken,
            pair: None,
        },
    );
    record.terms[1].began = Some(Lsn(500));
    record.terms[2].began = Some(Lsn(1_000));
    record.members = (1..=instances).map(name).collect();
    record.grantors = (2..=instances).map(name).collect();
    record
}

fn seen(serial: u32, record: &Record) -> Seen {
    let mut durable = Durable { system_id: Some(SYSTEM), ..Durable::default() };
    durable.known.epoch = record.epoch;
    durable.known.promise = record.epoch;
    durable.record = Some(record.clone());
    let mut seen = Seen::new(holder(serial), durable, Time(1), Duration::ZERO);
    seen.record.value = Some(record.clone());
    seen.record.first_seen = NOW.before(ms(2_000));
    seen.record.read = Some(NOW.before(ms(50)));
    seen.record.asked = Some(NOW.before(ms(50)));
    seen
}

/// db-1 in office and serving at 2000; all others stream from it and granted 100 ms ago.
pub(crate) fn serving(record: &Record) -> Seen {
    let mut seen = seen(1, record);
    seen.durable.served = record.epoch;
    seen.office = Office {
        epoch: record.epoch,
        confirmed: Some(NOW.before(ms(1_000))),
        armed_until: Some(Time::ZERO),
        ..Office::default()
    };
    let mut senders = BTreeMap::new();
    let others: Vec<InstanceName> = seen.others(&record.members).cloned().collect();
    for other in others {
        seen.office.grants.insert(other.clone(), NOW.before(ms(100)));
        let standing = Standing::Streaming { position: at(3, 2_000) };
        let answer = Answer {
            at: NOW.before(ms(99)),
            knows: seen.durable.known,
            standing,
            wants_restart: false,
            restarted: Some(0),
        };
        let asked = Some(NOW.before(ms(100)));
        seen.peers.insert(other.clone(), Peer { asked, answer: Some(answer) });
        senders.insert(other, Sender { flushed: Lsn(2_000), streaming: true });
    }
    seen.server = Server::Primary(Primary {
        system_id: SYSTEM,
        position: at(3, 2_000),
        began: Lsn(1_000),
        gate: Gate::Open,
        obeys: Some(Obeyed { pair: record.quorum.first().cloned(), since: Lsn(1_000) }),
        senders,
        checkpointed: true,
    });
    seen.office.armed_until =
        Some(instance::lease::writable_until(&intent(3, asynchronous()), &seen));
    seen
}

/// A standby at 2000 that streams from db-1 and granted 100 ms ago.
pub(crate) fn streaming(serial: u32, record: &Record) -> Seen {
    let mut seen = seen(serial, record);
    let heard_at = NOW.before(ms(100));
    seen.grant.until = heard_at.after(Timers::STANDARD.grant);
    seen.grant.heard = Some(Heard {
        from: name(1),
        at: heard_at,
        epoch: record.epoch,
        revision: record.revision,
        position: Some(at(3, 2_000)),
        terms: record.terms.clone(),
        rewind_ready: true,
        may_restart: None,
    });
    seen.server = Server::Standby(Standby {
        system_id: SYSTEM,
        position: at(3, 2_000),
        began: Lsn(1_000),
        replayed: Lsn(2_000),
        settled: true,
        follows: Some(Follows { primary: name(1), epoch: record.epoch }),
        streaming: true,
    });
    seen
}

/// A standby whose primary has been silent for longer than a grant.
pub(crate) fn deserted(serial: u32, record: &Record) -> Seen {
    let mut seen = streaming(serial, record);
    seen.grant.until = NOW.before(ms(10));
    if let Some(heard) = &mut seen.grant.heard {
        heard.at = NOW.before(ms(3_010));
    }
    seen
}

/// As `deserted`, sealed against everything below epoch 3 and in the middle of its ballot.
pub(crate) fn sealing(serial: u32, record: &Record, votes: &[(u32, Stance)]) -> Seen {
    let mut seen = deserted(serial, record);
    seen.durable.known.promise = Epoch(3);
    seen.durable.seal = Epoch(3);
    if let Server::Standby(standby) = &mut seen.server {
        standby.follows = None;
        standby.streaming = false;
    }
    let began = NOW.before(ms(20));
    let vote = |stance| Vote {
        proposed: Epoch(3),
        ballot: began,
        purpose: Purpose::Seal,
        knows: seen.durable.known,
        stance,
        standing: Standing::Unready,
    };
    let votes = votes.iter().map(|(serial, stance)| (name(*serial), vote(*stance))).collect();
    seen.ballot = Some(Ballot {
        began,
        purpose: Purpose::Seal,
        epoch: record.epoch,
        proposed: Epoch(3),
        asked: NOW,
        votes,
    });
    seen
}

pub(crate) fn standby(seen: &mut Seen) -> &mut Standby {
    match &mut seen.server {
        Server::Standby(standby) => standby,
        other => panic!("not a standby: {other:?}"),
    }
}

pub(crate) fn primary(seen: &mut Seen) -> &mut Primary {
    match &mut seen.server {
        Server::Primary(primary) => primary,
        other => panic!("not a primary: {other:?}"),
    }
}

/// The plan as people would read it: the verdict's reason, then a line for every step that is
/// not mere keeping in touch.
pub(crate) fn told(plan: &Plan) -> String {
    let mut lines = vec![format!("{}: {}", state(plan), plan.verdict.because())];
    lines.extend(plan.steps.iter().filter_map(step));
    lines.join("\n")
}

fn state(plan: &Plan) -> String {
    let debug = format!("{:?}", plan.verdict);
    debug.split_whitespace().next().unwrap_or_default().to_lowercase()
}

fn step(step: &Step) -> Option<String> {
    Some(match step {
        Step::Send { request: crate::message::Request::Heartbeat(_), .. }
        | Step::ReadRecord
        | Step::Arm { .. } => return None,
        Step::Send { to, request } => {
            let debug = format!("{request:?}");
            format!("send {to} {}", debug.split('(').next().unwrap_or_default().to_lowercase())
        }
        Step::Persist(durable) => format!(
            "persist promise {} seal {} served {}{}{}",
            durable.known.promise,
            durable.seal,
            durable.served,
            if durable.rewinding { " rewinding" } else { "" },
            if durable.must_clone { " must clone" } else { "" },
        ),
        Step::Remember(note) => {
            let debug = format!("{note:?}");
            format!("remember {}", debug.split('(').next().unwrap_or_default())
        }
        Step::WriteRecord { write, change } => written(&write.record, *change),
        Step::Disarm => "disarm".to_owned(),
        Step::Fence { .. } => "fence".to_owned(),
        Step::Perform(task) => format!("perform {task:?}"),
    })
}

fn written(record: &Record, change: crate::seen::Change) -> String {
    let list = |names: &BTreeSet<InstanceName>| {
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let quorum: Vec<String> = record.quorum.iter().map(ToString::to_string).collect();
    let phase = match &record.phase {
        Phase::Serving => "serving".to_owned(),
        Phase::HandingOver { target } => format!("handing over to {target}"),
        Phase::Vacant { end } => format!("vacant at {end}"),
    };
    format!(
        "write {change:?}: epoch {} {} {phase}, timeline {}, G {{{}}} M {{{}}} Q {{{}}}",
        record.epoch,
        record.holder.instance,
        record.timeline,
        list(&record.grantors),
        list(&record.members),
        quorum.join("; "),
    )
}
