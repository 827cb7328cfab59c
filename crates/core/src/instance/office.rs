//! What the holder of the office does: asks for grants, opens its server, serves, keeps the
//! record up to date.
//!
//! Never opens a server under an epoch it was open under before: that takes a new one.

use super::{
    View, crash, fence, free_epoch, is_leaving, lease, members, next_write, perform, persist,
    quorum, resend, restarts, switchover, write,
};
use crate::intent::Durability;
use crate::message::{Heartbeat, Request};
use crate::names::InstanceName;
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Cause, Phase, Record, Takeover, Term};
use crate::rules::{Rule, broken};
use crate::seen::{Change, Gate, Primary, Server, Standby};
use crate::units::Time;
use std::time::Duration;

/// How many of the latest terms a heartbeat carries.
const TERMS_TOLD: usize = 8;

pub(super) fn plan(view: View<'_>, record: &Record, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    resend(view, steps);
    if seen.release_sent.is_none() {
        heartbeats(view, record, steps);
        arm(view, record, steps);
    }
    match &seen.server {
        Server::Unknown | Server::Starting => {
            Verdict::Opening { epoch: record.epoch, because: Reason::ServerNotSeen }
        }
        Server::Absent => crash::volume_lost(view, record, steps),
        Server::Down { end, .. } => crash::plan(view, record, *end, steps),
        Server::Standby(standby) => open(view, record, standby, steps),
        Server::Primary(primary) => serve(view, record, primary, steps),
    }
}

/// Everybody who belongs to the cluster or shall: all but this instance.
pub(super) fn peers<'a>(
    view: View<'a>,
    record: &'a Record,
) -> impl Iterator<Item = &'a InstanceName> {
    view.seen
        .others(&record.members)
        .chain(view.seen.others(&view.intent.instances).filter(|n| !record.members.contains(*n)))
}

fn heartbeats(view: View<'_>, record: &Record, steps: &mut Vec<Step>) {
    let every = view.intent.timers.heartbeat;
    for to in peers(view, record) {
        let asked = view.seen.peers.get(to).and_then(|peer| peer.asked);
        if asked.is_none_or(|asked| view.now >= asked.after(every)) {
            let request = Request::Heartbeat(heartbeat(view, record));
            steps.push(Step::Send { to: to.clone(), request });
        }
    }
}

fn heartbeat(view: View<'_>, record: &Record) -> Heartbeat {
    let primary = match &view.seen.server {
        Server::Primary(primary) => Some(primary),
        Server::Unknown
        | Server::Absent
        | Server::Down { .. }
        | Server::Starting
        | Server::Standby(_) => None,
    };
    let surplus = record.terms.len().saturating_sub(TERMS_TOLD);
    let mut terms: Vec<Term> = record.terms.iter().skip(surplus).cloned().collect();
    if let (Some(primary), Some(last)) = (primary, terms.last_mut()) {
        last.began = last.began.or(Some(primary.began));
    }
    Heartbeat {
        epoch: record.epoch,
        revision: record.revision,
        sent: view.now,
        incarnation: view.seen.me.incarnation,
        position: primary.map(|primary| primary.position),
        terms,
        rewind_ready: primary.is_some_and(|primary| primary.checkpointed),
        may_restart: restarts::turn(view),
    }
}

/// The fencing thread is told of every change of the deadline, in either direction.
fn arm(view: View<'_>, record: &Record, steps: &mut Vec<Step>) {
    let until = deadline(view);
    if view.seen.is_writable() && view.seen.office.armed_until != Some(until) {
        steps.push(Step::Arm { epoch: record.epoch, until });
    }
}

fn deadline(view: View<'_>) -> Time {
    if broken(Rule::FenceOnExpiry) {
        return Time::NEVER;
    }
    lease::writable_until(view.intent, view.seen)
}

/// The office is held and the server is still a standby.
fn open(view: View<'_>, record: &Record, standby: &Standby, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    let opening = |because| Verdict::Opening { epoch: record.epoch, because };
    if view.intent.is_fenced(seen.name()) || view.intent.stopped || is_leaving(view) {
        let because = perform(view, steps, Task::Stop { epoch: record.epoch });
        return Verdict::Leaving { because: because.unwrap_or(Reason::Stopped) };
    }
    if let Some(running) = &seen.task
        && matches!(running.task, Task::Promote { .. })
    {
        // That it was begun is on disk already; how it ends is not known yet.
        return opening(Reason::TaskRunning { task: running.task.clone(), since: running.since });
    }
    if standby.follows.is_some() {
        let because = perform(view, steps, Task::Seal { epoch: record.epoch });
        return opening(because.unwrap_or(Reason::NothingToDo));
    }
    if was_open(view, record, standby) {
        if view.intent.paused {
            return opening(Reason::Paused);
        }
        if let Some(left) = crash::patience_left(view) {
            return opening(Reason::TermRuns { left });
        }
        return retake(view, record, standby, steps);
    }
    promote(view, record, steps)
}

/// Whether this epoch's timeline may have been written to already.
fn was_open(view: View<'_>, record: &Record, standby: &Standby) -> bool {
    view.seen.durable.served >= record.epoch
        || view.seen.release_sent.is_some()
        || record.phase != Phase::Serving
        || standby.position.timeline >= record.timeline
}

/// Takes office anew, as the one whose log has everything: a new epoch and a new timeline.
pub(super) fn retake(
    view: View<'_>,
    record: &Record,
    standby: &Standby,
    steps: &mut Vec<Step>,
) -> Verdict {
    let seen = view.seen;
    if let Some(outstanding) = &seen.outstanding {
        return Verdict::Claiming { because: Reason::Outstanding { change: outstanding.change } };
    }
    if !standby.settled {
        return Verdict::Claiming { because: Reason::NotReplayed };
    }
    let epoch = free_epoch(view);
    persist(view, steps, |durable| {
        durable.known.promise = durable.known.promise.max(epoch);
        durable.seal = durable.seal.max(epoch);
    });
    let takeover = Takeover {
        holder: seen.me.clone(),
        epoch,
        parent: standby.position.timeline,
        parent_began: standby.began,
        began: None,
        cause: Cause::Retaken,
        pair: quorum::first_pair(view, record),
    };
    let next = record.taken_over(next_write(view), takeover);
    write(view, steps, next, Change::Retake);
    Verdict::Claiming { because: Reason::Retaking }
}

fn promote(view: View<'_>, record: &Record, steps: &mut Vec<Step>) -> Verdict {
    const LEAST: Duration = Duration::from_millis(300);
    let opening = |because| Verdict::Opening { epoch: record.epoch, because };
    let until = deadline(view);
    if until < view.now.after(LEAST) {
        prove_anew(view, record, steps);
        return opening(Reason::PermissionOver);
    }
    let gate = match view.intent.durability {
        Durability::Required { .. } if !broken(Rule::GateUntilConfirmed) => Gate::Closed,
        Durability::Required { .. }
        | Durability::Preferred { .. }
        | Durability::Asynchronous { .. } => Gate::Open,
    };
    let obey = quorum::opening_pair(view, record);
    let obey = if broken(Rule::ObeyBeforePromote) { None } else { obey };
    let (epoch, timeline) = (record.epoch, record.timeline);
    let mut act = Vec::new();
    if let Some(busy) = perform(view, &mut act, Task::Promote { epoch, timeline, obey, gate }) {
        return opening(busy);
    }
    persist(view, steps, |durable| {
        durable.served = epoch;
        durable.seal = durable.seal.max(epoch);
        durable.must_clone = false;
    });
    steps.push(Step::Arm { epoch, until });
    steps.append(&mut act);
    opening(Reason::Promoting { timeline })
}

/// The answer to the claim came so late that its proof is over: another write gives a new one, if
/// the office is still held.
fn prove_anew(view: View<'_>, record: &Record, steps: &mut Vec<Step>) {
    if !raise_epoch(view, record, steps) {
        write(view, steps, record.rewritten(next_write(view)), Change::Amend);
    }
}

/// Some member has promised a higher epoch in vain: take it, or that member never grants again.
fn raise_epoch(view: View<'_>, record: &Record, steps: &mut Vec<Step>) -> bool {
    let promised = view.seen.office.promised_above.filter(|promised| *promised > record.epoch);
    match promised.filter(|_| !broken(Rule::EpochBump)) {
        Some(promised) => {
            write(view, steps, record.bumped(next_write(view), promised), Change::Bump);
            true
        }
        None => false,
    }
}

/// The office is held and the server is open.
fn serve(view: View<'_>, record: &Record, primary: &Primary, steps: &mut Vec<Step>) -> Verdict {
    if primary.position.timeline != record.timeline && !broken(Rule::ReserveTimeline) {
        let (found, reserved) = (primary.position.timeline, record.timeline);
        return fence(steps, Reason::WrongTimeline { found, reserved });
    }
    // Others may have followed up to there before it was open.
    if let Some(said) = record.terms.last().and_then(|term| term.began)
        && said != primary.began
    {
        return fence(steps, Reason::WrongFork { found: primary.began, said });
    }
    if let Some(misses) = crash::is_hung(view) {
        if broken(Rule::ReleaseAfterReaping) {
            crash::release(view, record, None, steps);
        }
        return fence(steps, Reason::Hung { misses });
    }
    if view.seen.durable.served < record.epoch {
        persist(view, steps, |durable| {
            durable.served = record.epoch;
        });
    }
    note_alone(view, record, primary, steps);
    let wanted = quorum::wanted(view, record, primary);
    amend(view, record, (primary, wanted.as_ref()), steps);
    if view.intent.is_fenced(view.seen.name()) {
        let because = perform(view, steps, Task::Stop { epoch: record.epoch });
        return Verdict::Leaving { because: because.unwrap_or(Reason::Fenced) };
    }
    if let Some(verdict) = switchover::plan(view, record, primary, steps) {
        return verdict;
    }
    let because = upkeep(view, record, (primary, wanted.as_ref()), steps);
    match primary.gate {
        Gate::Open => Verdict::Serving { epoch: record.epoch, because },
        Gate::Closed => Verdict::Opening { epoch: record.epoch, because },
    }
}

fn note_alone(view: View<'_>, record: &Record, primary: &Primary, steps: &mut Vec<Step>) {
    let alone = quorum::is_alone(view, record, primary);
    if alone != view.seen.office.alone_since.is_some() {
        steps.push(Step::Remember(Note::AloneSince(alone.then_some(view.now))));
    }
}

type Kept<'a> = (&'a Primary, Option<&'a crate::record::Pair>);

/// One write brings everything the holder keeps in the record up to date, and renews its term.
fn amend(view: View<'_>, record: &Record, (primary, wanted): Kept<'_>, steps: &mut Vec<Step>) {
    let seen = view.seen;
    if seen.outstanding.is_some() {
        return;
    }
    if let Some(regression) = &seen.record.regressed {
        // Only the unanimous consent of the members shows that nobody else has taken office.
        if lease::members_agree_until(view.intent, seen) > view.now {
            let mut next = record.bumped(next_write(view), free_epoch(view));
            let found = regression.found.as_ref().map_or(0, |found| found.revision.0);
            next.revision.0 = next.revision.0.max(found + 1);
            write(view, steps, next, Change::Restore);
        }
        return;
    }
    if raise_epoch(view, record, steps) {
        return;
    }
    let members = members::wanted_members(view, record);
    let grantors = members::wanted_grantors(view, record, &members);
    let quorum = quorum::next_quorum(record, primary, wanted);
    let timers = &view.intent.timers;
    let due = seen.office.confirmed.is_none_or(|at| view.now >= at.after(timers.renew));
    let fork_told = record.terms.last().is_none_or(|term| term.began.is_some());
    let same =
        (&members, &grantors, &quorum) == (&record.members, &record.grantors, &record.quorum);
    if due || !fork_told || !same {
        let mut next = record.rewritten(next_write(view));
        (next.members, next.grantors, next.quorum) = (members, grantors, quorum);
        if let Some(term) = next.terms.last_mut() {
            term.began = term.began.or(Some(primary.began));
        }
        write(view, steps, next, Change::Amend);
    }
}

/// Tasks on the open server, the most pressing first; what is being done or waited for.
fn upkeep(
    view: View<'_>,
    record: &Record,
    (primary, wanted): Kept<'_>,
    steps: &mut Vec<Step>,
) -> Reason {
    let epoch = record.epoch;
    if let Some(order) = quorum::order(view, record, (primary, wanted)) {
        let busy = perform(view, steps, order);
        if primary.gate == Gate::Open {
            return busy.unwrap_or(Reason::NothingToDo);
        }
    }
    if primary.gate == Gate::Closed {
        return open_gate(view, record, (primary, wanted), steps);
    }
    if let Some(restart) = restarts::asked(view.intent, view.seen)
        && !view.intent.paused
        && restarts::is_last(view, restart)
        && view.seen.task.is_none()
    {
        persist(view, steps, |durable| {
            durable.restarted = restart.number;
            durable.served = durable.served.max(epoch);
        });
        steps.push(Step::Perform(Task::Stop { epoch }));
        return Reason::RestartInPlace;
    }
    let configuration = view.intent.configuration;
    let task = if view.seen.health.configuration != configuration {
        Task::Reload { configuration }
    } else if !primary.checkpointed {
        Task::Checkpoint { epoch }
    } else {
        let solo = record.quorum.iter().any(|pair| pair.acks == 0);
        return if solo { Reason::DegradedToSolo } else { Reason::NothingToDo };
    };
    if view.seen.task.is_some() || steps.iter().any(|step| matches!(step, Step::Perform(_))) {
        return Reason::NothingToDo;
    }
    perform(view, steps, task).unwrap_or(Reason::NothingToDo)
}

/// Clients are let in once what they would read cannot be lost any more.
fn open_gate(
    view: View<'_>,
    record: &Record,
    (primary, wanted): Kept<'_>,
    steps: &mut Vec<Step>,
) -> Reason {
    // After an order that failed half-way nobody knows which rule is obeyed: none is confirmed.
    let pair = match &primary.obeys {
        Some(obeyed) => obeyed.pair.clone(),
        None => wanted.cloned(),
    };
    let required = matches!(view.intent.durability, Durability::Required { .. });
    if let Some(pair) = pair.filter(|_| required)
        && !quorum::is_confirmed(primary, &pair)
    {
        // Whoever shall confirm it may have to be rewound first, which takes a checkpoint here.
        if !primary.checkpointed && view.seen.task.is_none() {
            perform(view, steps, Task::Checkpoint { epoch: record.epoch });
        }
        return Reason::GateWaits { pair };
    }
    if steps.iter().any(|step| matches!(step, Step::Perform(_))) {
        return Reason::NothingToDo;
    }
    perform(view, steps, Task::OpenGate { epoch: record.epoch }).unwrap_or(Reason::NothingToDo)
}
