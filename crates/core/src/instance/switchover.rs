//! Hands the office over on request: to a standby that has everything, after a clean stop.
//!
//! Never stops the primary before the record names the target, and never stops it for a target
//! that is not ready.

use super::{View, is_leaving, members, next_write, perform, shall_go, write};
use crate::intent::Switchover;
use crate::message::Standing;
use crate::names::InstanceName;
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Phase, Record};
use crate::seen::{Change, Primary};
use crate::units::{Bytes, WalPosition};
use std::time::Duration;

/// A target further behind than this would make clients wait for its replay.
const NEAR: Bytes = Bytes(16 << 20);
/// From the first look at a request until the primary stops, or the request is given up.
const PATIENCE: Duration = Duration::from_secs(5);

/// None: no handover is wanted or possible, go on serving.
pub(super) fn plan(
    view: View<'_>,
    record: &Record,
    primary: &Primary,
    steps: &mut Vec<Step>,
) -> Option<Verdict> {
    match &record.phase {
        Phase::HandingOver { target } => Some(hand_over(view, record, (primary, target), steps)),
        Phase::Serving if view.intent.stopped => Some(stop(view, record, Reason::Stopped, steps)),
        Phase::Serving => prepare(view, record, primary, steps),
        Phase::Vacant { .. } => None,
    }
}

fn stop(view: View<'_>, record: &Record, because: Reason, steps: &mut Vec<Step>) -> Verdict {
    let busy = perform(view, steps, Task::Stop { epoch: record.epoch });
    Verdict::Leaving { because: busy.unwrap_or(because) }
}

fn prepare(
    view: View<'_>,
    record: &Record,
    primary: &Primary,
    steps: &mut Vec<Step>,
) -> Option<Verdict> {
    let request = view.intent.switchover.as_ref().filter(|wish| wish.number > record.switchover);
    let began = view.seen.handover_began;
    if request.is_none() && !shall_go(view) {
        if began.is_some() {
            steps.push(Step::Remember(Note::HandoverBegan(None)));
        }
        return None;
    }
    if !shall_go(view) && request.is_some_and(|request| is_outdated(record, request)) {
        abort(view, record, request.map_or(record.switchover, |request| request.number), steps);
        return None;
    }
    let wish = request.and_then(|request| request.target.as_ref());
    let number = request.map_or(record.switchover, |request| request.number);
    let anybody = || choose(view, record, primary, None).filter(|_| shall_go(view));
    // The old primary would stay down as long as it is paused: nobody starts one again.
    let wished = if view.intent.paused { None } else { choose(view, record, primary, wish) };
    let Some(target) = wished.or_else(anybody) else {
        if shall_go(view) {
            return leave_alone(view, record, steps);
        }
        give_up_in_time(view, record, number, steps);
        return None;
    };
    let leaving = |target| {
        let because = match request {
            Some(_) => Reason::HandingOver { target },
            None => Reason::MakingWay { target },
        };
        Some(Verdict::Leaving { because })
    };
    if began.is_none() {
        let busy = perform(view, steps, Task::Checkpoint { epoch: record.epoch });
        if busy.is_none() {
            steps.push(Step::Remember(Note::HandoverBegan(Some(view.now))));
        }
        return leaving(target);
    }
    if view.seen.task.is_some() {
        return leaving(target);
    }
    let mut next = record.rewritten(next_write(view));
    next.phase = Phase::HandingOver { target: target.clone() };
    next.switchover = number;
    if write(view, steps, next, Change::HandOver) {
        // It may have waited long for a target: the stop has its own time.
        steps.push(Step::Remember(Note::HandoverBegan(Some(view.now))));
    }
    leaving(target)
}

/// Somebody else has taken office since it was asked for: handing over once more would undo that.
fn is_outdated(record: &Record, request: &Switchover) -> bool {
    request.epoch.is_some_and(|epoch| record.has_changed_hands_since(epoch))
}

/// Nobody can take over. An instance that is removed for good waits until somebody can; one that
/// stops for a while waits only so long.
fn leave_alone(view: View<'_>, record: &Record, steps: &mut Vec<Step>) -> Option<Verdict> {
    let stops = is_leaving(view);
    match view.seen.handover_began {
        None => steps.push(Step::Remember(Note::HandoverBegan(Some(view.now)))),
        Some(began) if view.now >= began.after(PATIENCE) && stops => {
            return Some(stop(view, record, Reason::NoCandidate, steps));
        }
        Some(_) => {}
    }
    None
}

/// A request that finds no ready standby is remembered as done after a while, not for ever.
fn give_up_in_time(view: View<'_>, record: &Record, number: u64, steps: &mut Vec<Step>) {
    let Some(began) = view.seen.handover_began else {
        steps.push(Step::Remember(Note::HandoverBegan(Some(view.now))));
        return;
    };
    if view.now >= began.after(PATIENCE) {
        abort(view, record, number, steps);
    }
}

fn abort(view: View<'_>, record: &Record, number: u64, steps: &mut Vec<Step>) {
    let mut next = record.rewritten(next_write(view));
    next.phase = Phase::Serving;
    next.switchover = next.switchover.max(number);
    if write(view, steps, next, Change::AbortHandOver) {
        steps.push(Step::Remember(Note::HandoverBegan(None)));
    }
}

fn hand_over(
    view: View<'_>,
    record: &Record,
    (primary, target): (&Primary, &InstanceName),
    steps: &mut Vec<Step>,
) -> Verdict {
    let stopping = view.seen.task.as_ref().map(|running| &running.task);
    let stopping = matches!(stopping, Some(Task::Stop { .. }));
    let late = view.seen.handover_began.is_none_or(|began| view.now >= began.after(PATIENCE));
    if !stopping && (late || ready_position(view, record, primary, target).is_none()) {
        abort(view, record, record.switchover, steps);
        let target = target.clone();
        return Verdict::Serving {
            epoch: record.epoch,
            because: Reason::CandidateUnready { target },
        };
    }
    stop(view, record, Reason::HandingOver { target: target.clone() }, steps)
}

/// The wished standby if it is ready, else, without a wish, the ready one that is furthest.
fn choose(
    view: View<'_>,
    record: &Record,
    primary: &Primary,
    wish: Option<&InstanceName>,
) -> Option<InstanceName> {
    let ready = |name: &InstanceName| ready_position(view, record, primary, name);
    if let Some(name) = wish {
        return ready(name).map(|_| name.clone());
    }
    let others = view.seen.others(&record.members);
    others.filter_map(|name| Some((ready(name)?, name))).max().map(|(_, name)| name.clone())
}

fn ready_position(
    view: View<'_>,
    record: &Record,
    primary: &Primary,
    name: &InstanceName,
) -> Option<WalPosition> {
    let oldest = view.now.before(view.intent.timers.grantor_silence());
    let belongs = record.members.contains(name)
        && view.intent.instances.contains(name)
        && !view.intent.is_fenced(name)
        && !view.intent.leaving.contains(name)
        && name != view.seen.name();
    if !belongs || !members::is_streaming(view, name, oldest) {
        return None;
    }
    match &view.seen.fresh_answer(name, oldest)?.standing {
        Standing::Streaming { position } => {
            let near = primary.position.lsn.ahead_of(position.lsn) <= NEAR;
            (near && position.timeline == primary.position.timeline).then_some(*position)
        }
        Standing::Waiting { .. } | Standing::Unready | Standing::Fenced | Standing::Primary => None,
    }
}
