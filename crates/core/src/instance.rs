//! What one instance does next: an ordered list of concerns, the first that has something to say
//! decides.
//!
//! Never looks anywhere but at its arguments.

use crate::intent::Intent;
use crate::plan::{Plan, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Record, Revision, Write, WriteId};
use crate::rules::{Rule, broken};
use crate::seen::{Change, Durable, Seen, Server};
use crate::units::{Epoch, Time};
use std::time::Duration;

pub mod lease;

mod bootstrap;
mod claim;
mod crash;
mod follow;
mod members;
mod office;
mod quorum;
mod reading;
pub(crate) mod restarts;
mod standby;
mod switchover;

/// What every concern looks at.
#[derive(Clone, Copy)]
struct View<'a> {
    intent: &'a Intent,
    seen: &'a Seen,
    now: Time,
}

/// The next steps of the instance that sees `seen`.
pub fn plan(intent: &Intent, seen: &Seen, now: Time) -> Plan {
    let view = View { intent, seen, now };
    let mut steps = Vec::new();
    remember_on_disk(view, &mut steps);
    let verdict = decide(view, &mut steps);
    if reading::is_due(view) {
        steps.push(Step::ReadRecord);
    }
    Plan { steps, verdict, look_again_after: look_again(view) }
}

fn decide(view: View<'_>, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    if let Some(record) = seen.my_office() {
        let until = lease::writable_until(view.intent, seen);
        if seen.is_writable() && view.now >= until && !broken(Rule::FenceOnExpiry) {
            return fence(steps, Reason::PermissionOver);
        }
        return office::plan(view, record, steps);
    }
    if seen.is_writable() && !broken(Rule::FenceOnHigherEpoch) {
        return fence(steps, Reason::OfficeLost { epoch: seen.office.epoch });
    }
    standby::plan(view, steps)
}

fn fence(steps: &mut Vec<Step>, because: Reason) -> Verdict {
    steps.push(Step::Fence { because: because.clone() });
    Verdict::Fencing { because }
}

/// What was heard of a higher epoch, or read of a new record, outlives this process.
fn remember_on_disk(view: View<'_>, steps: &mut Vec<Step>) {
    let seen = view.seen;
    let known = &seen.durable.known;
    let epoch = seen.highest_known();
    let promise = known.promise.max(epoch);
    let kept = seen.durable.record.as_ref();
    let record = seen.record.value.as_ref().filter(|record| {
        seen.record.regressed.is_none()
            && kept.is_none_or(|kept| differs_in_substance(kept, record))
    });
    if (known.epoch, known.promise) == (epoch, promise) && record.is_none() {
        return;
    }
    persist(view, steps, |durable| {
        (durable.known.epoch, durable.known.promise) = (epoch, promise);
        if let Some(record) = record {
            durable.record = Some(record.clone());
        }
    });
}

/// Renewals alone are not worth an fsync on every member. Who grants is: a holder that has let all its
/// grantors go may write by its term, and whoever forgot that would find it left by them.
fn differs_in_substance(kept: &Record, record: &Record) -> bool {
    (kept.epoch, &kept.holder, &kept.phase) != (record.epoch, &record.holder, &record.phase)
        || (&kept.members, &kept.grantors) != (&record.members, &record.grantors)
        || (&kept.quorum, &kept.terms) != (&record.quorum, &record.terms)
}

/// Changes what is on disk, on top of what this plan changes already.
fn persist(view: View<'_>, steps: &mut Vec<Step>, change: impl FnOnce(&mut Durable)) {
    let pending = steps.iter().rev().find_map(|step| match step {
        Step::Persist(durable) => Some(durable),
        Step::Remember(_)
        | Step::Send { .. }
        | Step::ReadRecord
        | Step::WriteRecord { .. }
        | Step::Arm { .. }
        | Step::Disarm
        | Step::Fence { .. }
        | Step::Perform(_) => None,
    });
    let present = pending.unwrap_or(&view.seen.durable);
    let mut next = present.clone();
    change(&mut next);
    if next != *present {
        steps.push(Step::Persist(next));
    }
}

fn look_again(view: View<'_>) -> Duration {
    let seen = view.seen;
    if seen.my_office().is_some() {
        let heartbeat = view.intent.timers.heartbeat;
        let quiet = seen.is_writable() && seen.task.is_none() && seen.outstanding.is_none();
        return if quiet { heartbeat / 5 } else { Duration::from_millis(50) };
    }
    if seen.ballot.is_some() {
        return Duration::from_millis(20);
    }
    let grant_left = seen.grant.until.since(view.now);
    let settled = grant_left > Duration::ZERO && seen.task.is_none();
    if settled { grant_left.min(Duration::from_millis(500)) } else { Duration::from_millis(100) }
}

/// The identity of the next write of this incarnation.
fn next_write(view: View<'_>) -> WriteId {
    WriteId { incarnation: view.seen.me.incarnation, number: view.seen.writes + 1 }
}

/// Sends a write of the record, unless the fate of an earlier one is still unknown.
fn write(view: View<'_>, steps: &mut Vec<Step>, record: Record, change: Change) -> bool {
    let writes = |step: &Step| matches!(step, Step::WriteRecord { .. });
    if view.seen.outstanding.is_some() || steps.iter().any(writes) {
        return false;
    }
    let mut record = record;
    let current = match &view.seen.record.regressed {
        Some(regression) => regression.found.as_ref(),
        None => view.seen.record.value.as_ref(),
    };
    let stored = current.map_or(Revision(0), |current| current.revision);
    record.revision = record.revision.max(Revision(stored.0 + 1));
    steps.push(Step::WriteRecord { write: Write::over(current, record), change });
    true
}

/// Sends an unanswered write once more: the same write, which applies at most once.
fn resend(view: View<'_>, steps: &mut Vec<Step>) {
    const EVERY: Duration = Duration::from_millis(500);
    let Some(outstanding) = &view.seen.outstanding else { return };
    if view.now >= outstanding.last_sent.after(EVERY) && !broken(Rule::ResendOutstanding) {
        let (write, change) = (outstanding.write.clone(), outstanding.change);
        steps.push(Step::WriteRecord { write, change });
    }
}

/// How long a task that failed is left alone, by how often it failed in a row.
fn may_retry(view: View<'_>, kind: &str) -> bool {
    let Some(failed) = &view.seen.failed else { return true };
    let pause = Duration::from_millis(200) * 2_u32.pow(failed.times.min(6));
    failed.task.kind() != kind || view.now >= failed.at.after(pause)
}

/// Starts a task, unless one runs or the last one of its kind has just failed.
fn perform(view: View<'_>, steps: &mut Vec<Step>, task: Task) -> Option<Reason> {
    if let Some(running) = &view.seen.task {
        return Some(Reason::TaskRunning { task: running.task.clone(), since: running.since });
    }
    if let Some(task) = steps.iter().find_map(started) {
        return Some(Reason::TaskRunning { task: task.clone(), since: view.now });
    }
    if !may_retry(view, task.kind()) {
        let failed = view.seen.failed.clone()?;
        return Some(Reason::RetryLater {
            task: failed.task,
            times: failed.times,
            why: failed.why,
        });
    }
    steps.push(Step::Perform(task));
    None
}

fn started(step: &Step) -> Option<&Task> {
    match step {
        Step::Perform(task) => Some(task),
        Step::Persist(_)
        | Step::Remember(_)
        | Step::Send { .. }
        | Step::ReadRecord
        | Step::WriteRecord { .. }
        | Step::Arm { .. }
        | Step::Disarm
        | Step::Fence { .. } => None,
    }
}

/// The epoch that has not been used or promised by anybody this instance knows of.
fn free_epoch(view: View<'_>) -> Epoch {
    let seen = view.seen;
    let promised = seen.durable.known.promise.max(seen.heard.promise);
    seen.highest_known().next().max(promised)
}

/// Whether this instance shall hand over its office, if it holds it, and stop.
fn shall_go(view: View<'_>) -> bool {
    let name = view.seen.name();
    view.intent.leaving.contains(name) || !view.intent.instances.contains(name)
}

/// Whether it shall stop even if nobody can take over. One that is removed for good stays for as
/// long as it is a member: it may have what nobody else has, and the others need its vote.
fn is_leaving(view: View<'_>) -> bool {
    let seen = view.seen;
    let belongs = seen.record.value.as_ref().is_some_and(|record| {
        record.members.contains(seen.name()) && seen.durable.known.epoch > Epoch(0)
    });
    shall_go(view) && (!belongs || view.intent.leaving.contains(seen.name()))
}

fn server_is_running(server: &Server) -> bool {
    match server {
        Server::Standby(_) | Server::Primary(_) | Server::Starting => true,
        Server::Unknown | Server::Absent | Server::Down { .. } => false,
    }
}
