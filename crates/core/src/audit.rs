//! Refuses a plan that breaks a numbered invariant, before anything of it is performed.
//!
//! Never repairs a plan: a refused one is a bug, and doing nothing is the safe answer.

use crate::instance::lease;
use crate::intent::{Durability, Intent};
use crate::plan::{Plan, Step, Task};
use crate::record::{Pair, Record, Write};
use crate::rules::{Rule, broken};
use crate::seen::{Change, Durable, Seen, Server};
use crate::units::{Epoch, Time};

/// The invariant that a plan would have broken; ARCHITECTURE.md lists them by number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan refused: it breaks {invariant}: {what}")]
pub struct Refusal {
    pub invariant: &'static str,
    pub what: String,
}

/// Checks every step against what is seen and what the steps before it have persisted.
pub fn audit(plan: &Plan, intent: &Intent, seen: &Seen, now: Time) -> Result<(), Refusal> {
    let mut durable = &seen.durable;
    one_at_a_time(plan, seen)?;
    for step in &plan.steps {
        match step {
            Step::Persist(next) => {
                never_forgets(durable, next)?;
                durable = next;
            }
            Step::WriteRecord { write, change } => writes_lawfully(seen, durable, write, *change)?,
            Step::Perform(task) => acts_lawfully(intent, (seen, durable), task, now)?,
            Step::Remember(_)
            | Step::Send { .. }
            | Step::ReadRecord
            | Step::Arm { .. }
            | Step::Disarm
            | Step::Fence { .. } => {}
        }
    }
    Ok(())
}

/// I6: at most one task works on a server. I12: at most one write of the record is under way.
fn one_at_a_time(plan: &Plan, seen: &Seen) -> Result<(), Refusal> {
    let sent = seen.outstanding.as_ref();
    let (mut tasks, mut writes) = (usize::from(seen.task.is_some()), usize::from(sent.is_some()));
    for step in &plan.steps {
        match step {
            Step::Perform(_) => tasks += 1,
            Step::WriteRecord { write, .. } if sent.is_none_or(|sent| sent.write != *write) => {
                writes += 1;
            }
            Step::WriteRecord { .. }
            | Step::Persist(_)
            | Step::Remember(_)
            | Step::Send { .. }
            | Step::ReadRecord
            | Step::Arm { .. }
            | Step::Disarm
            | Step::Fence { .. } => {}
        }
    }
    let started = plan.steps.iter().any(|step| matches!(step, Step::Perform(_)));
    require(tasks <= 1 || !started, "I6", || format!("{tasks} tasks at once"))?;
    require(writes <= 1, "I12", || format!("{writes} writes at once"))
}

/// I1: what was promised, sealed or seen is never lowered.
fn never_forgets(before: &Durable, after: &Durable) -> Result<(), Refusal> {
    let kept = after.known.epoch >= before.known.epoch
        && after.known.promise >= before.known.promise
        && after.seal >= before.seal
        && after.served >= before.served;
    require(kept, "I1", || format!("{before:?} would become {after:?}"))
}

/// I2: epochs and timelines only grow. I3: only the holder changes a record without taking it
/// over. I4: a claim follows a persisted promise. I5: no pair is dropped by a takeover.
fn writes_lawfully(
    seen: &Seen,
    durable: &Durable,
    write: &Write,
    change: Change,
) -> Result<(), Refusal> {
    let next = &write.record;
    let Some(known) = seen.record.value.as_ref() else {
        return require(change == Change::Create, "I3", || format!("{change:?} of no record"));
    };
    let resent = seen.outstanding.as_ref().is_some_and(|sent| sent.write == *write);
    if resent {
        return Ok(());
    }
    require(next.epoch >= known.epoch, "I2", || format!("epoch {} falls", known.epoch))?;
    let takeover = matches!(change, Change::Claim | Change::Retake);
    if takeover {
        let grows = next.epoch > known.epoch && next.timeline > known.timeline;
        require(grows || broken(Rule::ReserveTimeline), "I2", || "a takeover reuses".to_owned())?;
        let promised = durable.known.promise >= next.epoch;
        require(promised, "I4", || format!("epoch {} was not promised", next.epoch))?;
        let keeps = known.quorum.is_subset(&next.quorum) || broken(Rule::KeepOldPairs);
        return require(keeps, "I5", || "a takeover drops a pair".to_owned());
    }
    require(seen.my_office().is_some(), "I3", || format!("{change:?} without office"))?;
    require(next.holder == known.holder, "I3", || "the holder changes".to_owned())
}

fn acts_lawfully(
    intent: &Intent,
    (seen, durable): (&Seen, &Durable),
    task: &Task,
    now: Time,
) -> Result<(), Refusal> {
    match task {
        Task::Promote { epoch, obey, .. } => {
            promotes_lawfully(intent, (seen, durable), *epoch, now)
                .and_then(|()| opens_lawfully(intent, seen, obey.as_ref()))
        }
        Task::Obey { pair, .. } => obeys_lawfully(seen, pair.as_ref()),
        Task::Follow { epoch, .. } => {
            let allowed = *epoch >= durable.seal || broken(Rule::SealBinds);
            require(allowed, "I8", || format!("sealed below {}", durable.seal))?;
            require(!seen.is_writable(), "I8", || "an open server cannot follow".to_owned())
        }
        Task::Start { .. } => {
            let whole = !durable.rewinding || broken(Rule::RewindMarker);
            require(whole, "I9", || "the folder is half-rewound".to_owned())
        }
        Task::Rewind { .. } | Task::Clone { .. } => {
            let still = matches!(seen.server, Server::Down { .. } | Server::Absent);
            require(still, "I9", || "the folder is in use".to_owned())
        }
        Task::OpenGate { .. } | Task::Checkpoint { .. } => {
            require(seen.my_office().is_some(), "I7", || "no office is held".to_owned())
        }
        Task::Initialise => {
            let fresh = durable.record.is_none()
                && intent.first.as_ref() == Some(seen.name())
                && seen.record.value.is_none();
            require(fresh, "I10", || "the cluster exists already".to_owned())
        }
        Task::Seal { .. }
        | Task::Stop { .. }
        | Task::Reload { .. }
        | Task::ScanEnd
        | Task::FetchTail { .. } => Ok(()),
    }
}

/// I7: a server is opened only under a confirmed office, once per epoch, with time left.
fn promotes_lawfully(
    intent: &Intent,
    (seen, durable): (&Seen, &Durable),
    epoch: Epoch,
    now: Time,
) -> Result<(), Refusal> {
    let office = seen.my_office().map(|record| record.epoch);
    require(office == Some(epoch), "I7", || format!("office {office:?}, not {epoch}"))?;
    require(seen.durable.served < epoch, "I7", || format!("epoch {epoch} was open already"))?;
    require(durable.served == epoch, "I7", || "the opening is not on disk".to_owned())?;
    let until = lease::writable_until(intent, seen);
    require(now < until, "I7", || "the proof of office is over".to_owned())
}

/// I11, for a server that is about to open. In asynchronous mode nothing is promised, so old pairs
/// may stay in the record until its holder clears them.
fn opens_lawfully(intent: &Intent, seen: &Seen, obey: Option<&Pair>) -> Result<(), Refusal> {
    match (obey, intent.durability) {
        (None, Durability::Asynchronous { .. }) => Ok(()),
        (Some(_), Durability::Asynchronous { .. })
        | (_, Durability::Required { .. } | Durability::Preferred { .. }) => {
            obeys_lawfully(seen, obey)
        }
    }
}

/// I11: the rule that commits obey is always one that the record has.
fn obeys_lawfully(seen: &Seen, pair: Option<&Pair>) -> Result<(), Refusal> {
    let recorded = |record: &Record| match pair {
        None => record.quorum.is_empty() || broken(Rule::ObeyBeforePromote),
        Some(pair) => record.quorum.contains(pair),
    };
    // A write whose fate is not known may be the record already.
    let outstanding = seen.outstanding.as_ref().map(|outstanding| &outstanding.write.record);
    let in_both = |record| recorded(record) && outstanding.is_none_or(recorded);
    let lawful = seen.my_office().is_some_and(in_both) || broken(Rule::RecordBeforeObey);
    require(lawful, "I11", || format!("the record has no pair {pair:?}"))
}

#[expect(clippy::fn_params_excessive_bools, reason = "an assertion is a truth value")]
fn require(
    holds: bool,
    invariant: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal { invariant, what: what() }) }
}
