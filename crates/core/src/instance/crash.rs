//! Decides what the holder does when its server is down or hangs: release the office to a
//! standby, or open again in place.
//!
//! Never releases before every process of the server is dead, and never fails over a full disk.

use super::{View, follow, is_leaving, lease, next_write, office, perform, write};
use crate::intent::Durability;
use crate::message::{Released, Request, Standing};
use crate::names::InstanceName;
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Phase, Record};
use crate::seen::{Change, End, Failed};
use crate::units::{Epoch, WalPosition};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a released office is left to the others before its holder takes it back.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a release is said again to those who have not acted on it.
const SAY_AGAIN: Duration = Duration::from_millis(200);
/// Recovery in place that takes longer is worth a failover.
const SHORT_RECOVERY: Duration = Duration::from_secs(3);
/// Attempts to come up again in place before the others get their chance.
const STARTS: u32 = 2;
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
        return reopen(view, record, known(end), steps);
    }
    match end {
        End::Clean { .. } | End::CleanStandby { .. } => reopen(view, record, known(end), steps),
        End::Crashed { position, .. } => crashed(view, record, position, steps),
    }
}

/// An earlier life of this instance held the office, and its server died with it. When coming up
/// again takes long, whoever can may take over meanwhile; the first to write the record has it.
pub(super) fn come_back(
    view: View<'_>,
    record: &Record,
    end: End,
    steps: &mut Vec<Step>,
) -> Verdict {
    let seen = view.seen;
    let serving = record.phase == Phase::Serving;
    if let End::Crashed { position, .. } = end
        && serving
        && !view.intent.paused
        && !seen.health.disk_full
        && !seen.durable.rewinding
        && !seen.durable.must_clone
    {
        let peers = seen.others(&record.members).next().is_some();
        if peers && position.is_none() && !has_scan_failed(view) {
            let because = perform(view, steps, Task::ScanEnd).unwrap_or(Reason::Crashed);
            return Verdict::Rejoining { because };
        }
        if peers && long_recovery(view).or_else(|| cannot_restart(view)).is_some() {
            release(view, record, position, steps);
        }
    }
    follow::start(view, record, end, steps)
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
    if seen.health.disk_full || seen.release_sent.is_some() {
        return reopen(view, record, position, steps);
    }
    if lease::writable_until(view.intent, seen) <= view.now {
        // Nothing can be served without proof anyway; others may be able to.
        release(view, record, position, steps);
        return Verdict::Leaving { because: Reason::PermissionOver };
    }
    if position.is_none() && !has_scan_failed(view) {
        let because = perform(view, steps, Task::ScanEnd).unwrap_or(Reason::Crashed);
        return Verdict::Leaving { because };
    }
    match candidate(view, record, position) {
        Some(standby) => {
            release(view, record, position, steps);
            Verdict::Leaving { because: Reason::ReleasedToStandby { standby } }
        }
        None => match long_recovery(view).filter(|_| is_anybody_heard(view, record)) {
            Some(because) => {
                release(view, record, position, steps);
                Verdict::Leaving { because }
            }
            None => reopen(view, record, position, steps),
        },
    }
}

fn has_scan_failed(view: View<'_>) -> bool {
    view.seen.failed.as_ref().is_some_and(|failed| failed.task == Task::ScanEnd)
}

/// Recovery that is known to be long. Of one that is not known nothing is lost by trying.
fn long_recovery(view: View<'_>) -> Option<Reason> {
    let expected = view.seen.health.redo_milliseconds.map(Duration::from_millis);
    let long = expected.filter(|expected| *expected >= SHORT_RECOVERY);
    long.map(|expected| Reason::LongRecovery { expected })
}

/// A server that was tried often enough, on a disk that is not full.
fn cannot_restart(view: View<'_>) -> Option<Reason> {
    let is_start = |failed: &&Failed| matches!(failed.task, Task::Start { .. });
    let failed = view.seen.failed.as_ref().filter(is_start)?;
    let often = failed.times >= STARTS && !view.seen.health.disk_full;
    often.then(|| Reason::CannotRestart { times: failed.times, why: failed.why.clone() })
}

/// Starts the server as a standby; once it has replayed everything, the office is taken anew.
/// What was released is left to the others first.
fn reopen(
    view: View<'_>,
    record: &Record,
    end: Option<WalPosition>,
    steps: &mut Vec<Step>,
) -> Verdict {
    if patience_left(view).is_some() {
        release(view, record, end, steps);
        return Verdict::Leaving { because: Reason::Crashed };
    }
    if view.seen.release_sent.is_none()
        && is_anybody_heard(view, record)
        && let Some(because) = cannot_restart(view)
    {
        release(view, record, end, steps);
        return Verdict::Leaving { because };
    }
    let because = perform(view, steps, Task::Start { cut: None }).unwrap_or(Reason::RestartInPlace);
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
    let position = known(end);
    if view.seen.release_sent.is_some() && patience_left(view).is_none() && !view.intent.paused {
        return reopen(view, record, position, steps);
    }
    release(view, record, position, steps);
    Verdict::Leaving { because: Reason::Released { by: view.seen.name().clone() } }
}

/// Where the log of a server that was open ends, if that is known.
fn known(end: End) -> Option<WalPosition> {
    match end {
        End::Clean { position } => Some(position),
        End::Crashed { position, .. } => position,
        End::CleanStandby { .. } => None,
    }
}

/// Tells everybody that the office is free. From then on this epoch is over for its holder.
pub(super) fn release(
    view: View<'_>,
    record: &Record,
    end: Option<WalPosition>,
    steps: &mut Vec<Step>,
) {
    let seen = view.seen;
    if seen.release_sent.is_none() {
        steps.push(Step::Disarm);
        steps.push(Step::Remember(Note::ReleaseSent(view.now)));
    }
    for to in office::peers(view, record) {
        let asked = seen.peers.get(to).and_then(|peer| peer.asked);
        let first = seen.release_sent.is_none();
        if first || asked.is_none_or(|asked| view.now >= asked.after(SAY_AGAIN)) {
            let (epoch, by, target) = (record.epoch, seen.name().clone(), record.target().cloned());
            let request = Request::Released(Released { epoch, by, end, target });
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

fn is_anybody_heard(view: View<'_>, record: &Record) -> bool {
    !standby_positions(view, record).is_empty()
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
