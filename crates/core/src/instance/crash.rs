//! Decides what the holder does when its server is down or hangs: release the office to a
//! standby, or open again in place.
//!
//! Never releases before every process of the server is dead, and never fails over a full disk.

use super::{View, is_leaving, lease, next_write, office, perform, write};
use crate::intent::Durability;
use crate::message::{Released, Request, Standing};
use crate::names::InstanceName;
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Phase, Record};
use crate::seen::{Change, End};
use crate::units::{Epoch, WalPosition};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a released office is left to the others before its holder takes it back.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a release is said again to those who have not acted on it.
const SAY_AGAIN: Duration = Duration::from_millis(200);
/// Probes in a row without an answer, and without progress of the log, that make a hung server.
const MISSES: u32 = 3;

/// The server is down while the office is held.
pub(super) fn plan(view: View<'_>, record: &Record, end: End, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    let waiting = |because| Verdict::Waiting { because };
    if view.intent.is_fenced(seen.name()) {
        return waiting(Reason::Fenced);
    }
    if view.intent.stopped || is_leaving(view) {
        return leave(view, record, end, steps);
    }
    if matches!(record.phase, Phase::HandingOver { .. }) {
        return hand_over(view, record, end, steps);
    }
    if view.intent.paused {
        return waiting(Reason::Paused);
    }
    let opened = seen.durable.served >= record.epoch;
    if !opened || matches!(record.phase, Phase::Vacant { .. }) {
        return reopen(view, steps);
    }
    match end {
        End::Clean { .. } | End::CleanStandby { .. } => reopen(view, steps),
        End::Crashed { position, .. } => crashed(view, record, position, steps),
    }
}

/// The data folder is gone while the office is held: there is nothing left to open.
pub(super) fn volume_lost(view: View<'_>, record: &Record, steps: &mut Vec<Step>) -> Verdict {
    if view.seen.durable.served == Epoch(0) && view.seen.durable.known.promise < record.epoch {
        return Verdict::Waiting { because: Reason::ServerNotSeen };
    }
    release(view, record, None, steps);
    Verdict::Leaving { because: Reason::NoCandidate }
}

/// A server that accepts no query and writes no log, on a disk that is not full.
pub(super) fn is_hung(view: View<'_>) -> Option<u32> {
    let health = &view.seen.health;
    let still = health.progress.is_none_or(|at| view.now.since(at) >= Duration::from_secs(3));
    let hung = health.misses >= MISSES && still && !health.disk_full && !view.intent.paused;
    hung.then_some(health.misses)
}

/// What is left of the time in which the others may take a released office.
pub(super) fn patience_left(view: View<'_>) -> Option<Duration> {
    let until = view.seen.release_sent?.after(PATIENCE);
    (view.now < until).then(|| until.since(view.now))
}

fn crashed(
    view: View<'_>,
    record: &Record,
    position: Option<WalPosition>,
    steps: &mut Vec<Step>,
) -> Verdict {
    let seen = view.seen;
    if seen.health.disk_full {
        return reopen(view, steps);
    }
    if seen.release_sent.is_some() {
        if patience_left(view).is_none() {
            return reopen(view, steps);
        }
        release(view, record, position, steps);
        return Verdict::Leaving { because: Reason::Crashed };
    }
    if lease::writable_until(view.intent, seen) <= view.now {
        // Nothing can be served without proof anyway; others may be able to.
        release(view, record, position, steps);
        return Verdict::Leaving { because: Reason::PermissionOver };
    }
    let scan_failed = seen.failed.as_ref().is_some_and(|failed| failed.task == Task::ScanEnd);
    if position.is_none() && !scan_failed {
        let because = perform(view, steps, Task::ScanEnd).unwrap_or(Reason::Crashed);
        return Verdict::Leaving { because };
    }
    match candidate(view, record, position) {
        Some(standby) => {
            release(view, record, position, steps);
            Verdict::Leaving { because: Reason::ReleasedToStandby { standby } }
        }
        None => reopen(view, steps),
    }
}

/// Starts the server as a standby; once it has replayed everything, the office is taken anew.
fn reopen(view: View<'_>, steps: &mut Vec<Step>) -> Verdict {
    let because = perform(view, steps, Task::Start).unwrap_or(Reason::RestartInPlace);
    Verdict::Rejoining { because }
}

/// The cluster, or this instance, shall stop: say so in the record once the end is known.
fn leave(view: View<'_>, record: &Record, end: End, steps: &mut Vec<Step>) -> Verdict {
    let position = match end {
        End::Clean { position } => Some(position),
        End::CleanStandby { .. } | End::Crashed { .. } => None,
    };
    if let Some(end) = position
        && !matches!(record.phase, Phase::Vacant { .. })
    {
        let mut next = record.rewritten(next_write(view));
        next.phase = Phase::Vacant { end };
        write(view, steps, next, Change::Vacate);
    }
    if is_leaving(view) {
        release(view, record, position, steps);
    }
    Verdict::Waiting { because: Reason::Stopped }
}

fn hand_over(view: View<'_>, record: &Record, end: End, steps: &mut Vec<Step>) -> Verdict {
    let position = match end {
        End::Clean { position } => Some(position),
        End::Crashed { position, .. } => position,
        End::CleanStandby { .. } => None,
    };
    if view.seen.release_sent.is_some() && patience_left(view).is_none() && !view.intent.paused {
        return reopen(view, steps);
    }
    release(view, record, position, steps);
    Verdict::Leaving { because: Reason::Released { by: view.seen.name().clone() } }
}

/// Tells everybody that the office is free. From then on this epoch is over for its holder.
fn release(view: View<'_>, record: &Record, end: Option<WalPosition>, steps: &mut Vec<Step>) {
    let seen = view.seen;
    if seen.release_sent.is_none() {
        steps.push(Step::Disarm);
        steps.push(Step::Remember(Note::ReleaseSent(view.now)));
    }
    for to in office::peers(view, record) {
        let asked = seen.peers.get(to).and_then(|peer| peer.asked);
        let first = seen.release_sent.is_none();
        if first || asked.is_none_or(|asked| view.now >= asked.after(SAY_AGAIN)) {
            let released = Released { epoch: record.epoch, by: seen.name().clone(), end };
            let request = Request::Released(released);
            steps.push(Step::Send { to: to.clone(), request });
        }
    }
}

/// A standby that could take over right now, by the same rules that its claim will meet.
fn candidate(view: View<'_>, record: &Record, end: Option<WalPosition>) -> Option<InstanceName> {
    let positions = standby_positions(view, record);
    let (best, position) =
        positions.iter().max_by_key(|(_, position)| *position).map(|(n, p)| (n.clone(), *p))?;
    if end.is_some_and(|end| position >= end) {
        return Some(best);
    }
    let heard: BTreeSet<InstanceName> = positions.into_iter().map(|(name, _)| name).collect();
    let elects = record.quorum.iter().all(|pair| pair.elects(&heard));
    let near = match view.intent.durability {
        Durability::Asynchronous { max_lag } => {
            end.is_some_and(|end| end.lsn.ahead_of(position.lsn) <= max_lag)
        }
        Durability::Required { .. } | Durability::Preferred { .. } => !record.quorum.is_empty(),
    };
    (elects && near).then_some(best)
}

fn standby_positions(view: View<'_>, record: &Record) -> Vec<(InstanceName, WalPosition)> {
    let oldest = view.now.before(view.intent.timers.grantor_silence() * 2);
    let mut positions = Vec::new();
    for name in view.seen.others(&record.members) {
        if view.intent.is_fenced(name) || !view.intent.instances.contains(name) {
            continue;
        }
        let Some(answer) = view.seen.fresh_answer(name, oldest) else { continue };
        match &answer.standing {
            Standing::Streaming { position } | Standing::Waiting { position } => {
                positions.push((name.clone(), *position));
            }
            Standing::Unready | Standing::Fenced | Standing::Primary => {}
        }
    }
    positions
}
