//! Decides how an instance comes to receive the primary's log: follow, rewind, or copy anew.
//!
//! Never follows while its log may have left the primary's past, and never tries one way more
//! than twice before it takes the next.

use super::{View, perform, persist, restarts};
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Record, Term};
use crate::rules::{Rule, broken};
use crate::seen::{End, Heard, Standby, Upstream};
use crate::units::WalPosition;

/// Failed rewinds before a copy is made instead.
const REWINDS: u32 = 2;
/// Failed starts before a copy is made instead.
const STARTS: u32 = 4;

/// How a log that ends at some position relates to the primary's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// All of it is part of the primary's past: it can simply go on. What lies beyond `fork`, of the
    /// same timeline, is not.
    Continues { fork: Option<WalPosition> },
    /// It went on past the point where the primary's timeline left.
    Diverged { fork: WalPosition },
    /// The primary has not said yet where its timeline began.
    ForkUnknown,
    /// A timeline that was never handed out, or too long ago.
    Foreign,
}

/// Walks from the primary's timeline to its parents until it meets the position's own.
pub(super) fn relation(position: WalPosition, terms: &[Term]) -> Relation {
    let Some(last) = terms.last() else { return Relation::ForkUnknown };
    let mut term = last;
    if position.timeline == term.timeline {
        return Relation::Continues { fork: None };
    }
    for _ in terms {
        let Some(began) = term.began else { return Relation::ForkUnknown };
        if term.parent == position.timeline {
            let fork = WalPosition { timeline: position.timeline, lsn: began };
            let continues = position.lsn <= began || broken(Rule::RewindWhenDiverged);
            return if continues {
                Relation::Continues { fork: Some(fork) }
            } else {
                Relation::Diverged { fork }
            };
        }
        let Some(parent) = terms.iter().find(|other| other.timeline == term.parent) else { break };
        term = parent;
    }
    match terms.iter().find(|other| other.timeline == position.timeline) {
        // Handed out, but no ancestor of the primary's: everything since its own fork is a branch.
        Some(side) => {
            let lsn = side.began.unwrap_or_default();
            Relation::Diverged { fork: WalPosition { timeline: side.parent, lsn } }
        }
        None => Relation::Foreign,
    }
}

/// A running standby that neither claims nor is sealed against the primary it hears.
pub(super) fn plan(
    view: View<'_>,
    record: &Record,
    standby: &Standby,
    steps: &mut Vec<Step>,
) -> Verdict {
    let seen = view.seen;
    let Some(heard) = primary_heard(view) else {
        return Verdict::Waiting { because: silence(view, record) };
    };
    if heard.epoch < seen.durable.seal && !broken(Rule::SealBinds) {
        return Verdict::Waiting { because: Reason::Sealed { below: seen.durable.seal } };
    }
    if view.intent.paused && standby.follows.is_none() {
        return Verdict::Waiting { because: Reason::Paused };
    }
    match relation(standby.position, &heard.terms) {
        Relation::ForkUnknown => Verdict::Rejoining { because: Reason::ForkUnknown },
        Relation::Continues { .. } => receive(view, heard, standby, steps),
        Relation::Diverged { fork } => {
            let end = standby.position;
            stop_to_rejoin(view, heard, Reason::Diverged { end, fork }, steps)
        }
        Relation::Foreign => {
            let timeline = standby.position.timeline;
            need_copy(view, steps);
            stop_to_rejoin(view, heard, Reason::TimelineUnknown { timeline }, steps)
        }
    }
}

/// A stopped server: start it, or bring its folder into a state from which it can start.
pub(super) fn start(view: View<'_>, record: &Record, end: End, steps: &mut Vec<Step>) -> Verdict {
    let durable = &view.seen.durable;
    let rejoining = |because| Verdict::Rejoining { because };
    if view.intent.paused {
        return Verdict::Waiting { because: Reason::Paused };
    }
    if view.seen.rewound {
        return folder_is_whole(view, steps);
    }
    count_failures(view, steps);
    if durable.must_clone {
        return copy(view, steps);
    }
    if durable.rewinding && !broken(Rule::RewindMarker) {
        return rejoining(rewind(view, record, steps).unwrap_or(Reason::HalfRewound));
    }
    let position = match end {
        End::Clean { position } | End::CleanStandby { position } => Some(position),
        End::Crashed { position, .. } => position,
    };
    let related = position.zip(primary_heard(view));
    let related = related.map(|(position, heard)| (position, relation(position, &heard.terms)));
    match related {
        Some((end, Relation::Diverged { fork })) => {
            let because = rewind(view, record, steps);
            rejoining(because.unwrap_or(Reason::Diverged { end, fork }))
        }
        Some((end, Relation::Foreign)) => {
            need_copy(view, steps);
            rejoining(Reason::TimelineUnknown { timeline: end.timeline })
        }
        Some((_, Relation::Continues { .. } | Relation::ForkUnknown)) | None => {
            let cut = match related {
                Some((_, Relation::Continues { fork })) => fork,
                _ => None,
            };
            if failures_of(view, |task| matches!(task, Task::Start { .. })) >= STARTS
                && primary_heard(view).is_some()
            {
                need_copy(view, steps);
                return copy(view, steps);
            }
            rejoining(perform(view, steps, Task::Start { cut }).unwrap_or(Reason::NotStreaming))
        }
    }
}

/// There is no folder, or none worth keeping: copy the primary's.
pub(super) fn copy(view: View<'_>, steps: &mut Vec<Step>) -> Verdict {
    if view.intent.paused {
        return Verdict::Waiting { because: Reason::Paused };
    }
    let source = primary_heard(view).filter(|heard| heard.position.is_some());
    let Some(heard) = source else {
        return Verdict::Waiting { because: Reason::NoCandidate };
    };
    let (epoch, primary) = (heard.epoch, heard.from.clone());
    let because = perform(view, steps, Task::Clone { epoch, primary });
    Verdict::Rejoining { because: because.unwrap_or(Reason::NotStreaming) }
}

/// A rewind or copy came to its end: from here on the folder may be started.
fn folder_is_whole(view: View<'_>, steps: &mut Vec<Step>) -> Verdict {
    persist(view, steps, |durable| {
        durable.must_clone = false;
        durable.rewinding = false;
    });
    steps.push(Step::Remember(Note::FolderWhole));
    Verdict::Rejoining { because: Reason::NotStreaming }
}

fn receive(view: View<'_>, heard: &Heard, standby: &Standby, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    let follows = standby.follows.as_ref();
    let follows_it = follows.is_some_and(|follows| {
        follows.primary == heard.from && follows.epoch >= heard.epoch.min(seen.durable.seal)
    });
    let following = |because| Verdict::Following { primary: heard.from.clone(), because };
    if !follows_it || seen.health.upstream == Upstream::Moved {
        let (epoch, primary) = (heard.epoch, heard.from.clone());
        let because = perform(view, steps, Task::Follow { epoch, primary });
        return following(because.unwrap_or(Reason::NotStreaming));
    }
    if seen.health.wal_gone && !standby.streaming && !view.intent.paused {
        need_copy(view, steps);
        return stop_to_rejoin(view, heard, Reason::NotStreaming, steps);
    }
    if let Some(reason) = housekeeping(view, heard, steps) {
        return following(reason);
    }
    following(if standby.streaming { Reason::Streaming } else { Reason::NotStreaming })
}

/// What a standby does besides receiving: reloads and restarts that were asked for.
fn housekeeping(view: View<'_>, heard: &Heard, steps: &mut Vec<Step>) -> Option<Reason> {
    let seen = view.seen;
    let configuration = view.intent.configuration;
    if seen.health.configuration != configuration {
        return perform(view, steps, Task::Reload { configuration });
    }
    if restarts::is_wanted(view.intent, seen) {
        if !restarts::is_my_turn(view, heard) {
            return Some(Reason::RestartWaits);
        }
        if seen.task.is_none() {
            if let Some(restart) = restarts::asked(view.intent, seen) {
                persist(view, steps, |durable| {
                    durable.restarted = restart.number;
                });
            }
            steps.push(Step::Perform(Task::Stop { epoch: heard.epoch }));
        }
        return Some(Reason::RestartInPlace);
    }
    if (seen.durable.rejoin_failures > 0 || seen.durable.must_clone) && seen.server_streams() {
        persist(view, steps, |durable| {
            durable.rejoin_failures = 0;
            durable.must_clone = false;
        });
    }
    None
}

fn stop_to_rejoin(view: View<'_>, heard: &Heard, reason: Reason, steps: &mut Vec<Step>) -> Verdict {
    if view.intent.paused {
        return Verdict::Waiting { because: Reason::Paused };
    }
    let busy = perform(view, steps, Task::Stop { epoch: heard.epoch });
    Verdict::Rejoining { because: busy.unwrap_or(reason) }
}

fn rewind(view: View<'_>, record: &Record, steps: &mut Vec<Step>) -> Option<Reason> {
    let Some(heard) = primary_heard(view) else { return Some(silence(view, record)) };
    if !heard.rewind_ready {
        return Some(Reason::SourceNotReady { primary: heard.from.clone() });
    }
    if view.seen.durable.rejoin_failures >= REWINDS {
        need_copy(view, steps);
        return None;
    }
    let (epoch, primary) = (heard.epoch, heard.from.clone());
    let mut act = Vec::new();
    let busy = perform(view, &mut act, Task::Rewind { epoch, primary });
    if busy.is_none() {
        // The goal is on disk before the folder is touched: half of a rewind must never start.
        persist(view, steps, |durable| {
            durable.rewinding = true;
        });
        steps.append(&mut act);
    }
    busy
}

fn need_copy(view: View<'_>, steps: &mut Vec<Step>) {
    persist(view, steps, |durable| {
        durable.must_clone = true;
    });
}

fn count_failures(view: View<'_>, steps: &mut Vec<Step>) {
    let failures = failures_of(view, |task| matches!(task, Task::Rewind { .. }));
    if failures > view.seen.durable.rejoin_failures {
        persist(view, steps, |durable| {
            durable.rejoin_failures = failures;
        });
    }
}

fn failures_of(view: View<'_>, meant: impl Fn(&Task) -> bool) -> u32 {
    let failed = view.seen.failed.as_ref().filter(|failed| meant(&failed.task));
    failed.map_or(0, |failed| failed.times)
}

/// The primary of the highest known epoch, if it was heard within the length of a grant.
pub(super) fn primary_heard(view: View<'_>) -> Option<&Heard> {
    let oldest = view.now.before(view.intent.timers.grant);
    let heard = view.seen.grant.heard.as_ref()?;
    (heard.at >= oldest && heard.epoch >= view.seen.highest_known()).then_some(heard)
}

fn silence(view: View<'_>, record: &Record) -> Reason {
    let heard_at = view.seen.grant.heard.as_ref().map_or(view.seen.began, |heard| heard.at);
    Reason::PrimarySilent {
        primary: record.holder.instance.clone(),
        silent: view.now.since(heard_at),
    }
}
