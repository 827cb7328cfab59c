//! Decides whether this standby may take the office over: fast, slow, or because it was released.
//!
//! Never claims while its own grant runs, without having sealed itself, or behind anybody who
//! answered.

mod authority;
mod complete;

use super::{View, free_epoch, is_leaving, next_write, office, perform, persist, quorum, write};
use crate::message::{Basis, Purpose, Released, Request, Revoke, Stance};
use crate::names::InstanceName;
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Cause, Phase, Record, Takeover};
use crate::rules::{Rule, broken};
use crate::seen::{Ballot, Change, Standby};
use crate::units::Time;
use authority::{authority, grantors_have_left, needed, release_of, revoked};
use complete::{
    Refused, has_quorum, is_own_log, may_still_seal, near_enough, not_behind, sealed, tail_instead,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long those who were not named by a handover leave the office to its target.
const TARGET_FIRST: Duration = Duration::from_secs(2);
/// How long a sealing candidate waits for those who have not answered or are still sealing.
const ANSWERS: Duration = Duration::from_millis(100);
const SEALS: Duration = Duration::from_millis(400);
/// How long one that refuses is waited for before the rest of a released log is fetched. It may be
/// claiming, and whoever has more of the log than the winner has to be rewound.
const CLAIMS: Duration = Duration::from_secs(1);

/// None: there is nothing to claim, follow instead.
pub(super) fn plan(
    view: View<'_>,
    record: &Record,
    standby: &Standby,
    steps: &mut Vec<Step>,
) -> Option<Verdict> {
    let seen = view.seen;
    let waiting = |because| Some(Verdict::Waiting { because });
    if may_retake(view, record) {
        return Some(retake(view, record, standby, steps));
    }
    let released = release_of(view, record);
    let bound = view.now < seen.grant.until && !broken(Rule::OwnGrantBindsClaim);
    if bound && released.is_none() {
        if seen.ballot.is_some() {
            steps.push(Step::Remember(Note::Ballot(None)));
        }
        return None;
    }
    if !record.members.contains(seen.name()) && !broken(Rule::OnlyMembersClaim) {
        return None;
    }
    // An office that its holder gave up is free: nobody would serve until somebody resumes.
    if view.intent.paused && released.is_none() {
        return waiting(Reason::Paused);
    }
    if is_leaving(view) {
        return waiting(Reason::Stopped);
    }
    if released.is_none() {
        let from = view.intent.failover_from(seen.grant.until);
        if view.now < from {
            return waiting(Reason::FailoverDelay { left: from.since(view.now) });
        }
    } else if let Some(target) = other_target(view, record, released.as_ref()) {
        return waiting(Reason::HandoverToOther { target });
    }
    let proposed = free_epoch(view);
    let ballot = seen.ballot.as_ref().filter(|b| b.epoch == record.epoch && b.proposed == proposed);
    let because = match ballot {
        None => begin(view, record, Purpose::Survey, steps),
        Some(ballot) if ballot.purpose == Purpose::Survey => survey(view, record, ballot, steps),
        Some(ballot) => seal(view, record, (standby, ballot), steps),
    };
    Some(Verdict::Claiming { because })
}

/// An earlier life of this instance held the office: it need not ask anybody.
pub(super) fn may_retake(view: View<'_>, record: &Record) -> bool {
    is_own_log(view, record)
        && view.seen.record.regressed.is_none()
        && !view.intent.stopped
        && !is_leaving(view)
}

fn retake(view: View<'_>, record: &Record, standby: &Standby, steps: &mut Vec<Step>) -> Verdict {
    if view.intent.paused {
        return Verdict::Waiting { because: Reason::Paused };
    }
    if standby.follows.is_some() {
        let busy = perform(view, steps, Task::Seal { epoch: record.epoch });
        return Verdict::Claiming { because: busy.unwrap_or(Reason::Retaking) };
    }
    office::retake(view, record, standby, steps)
}

/// The target of a handover that is still being left alone by the others.
fn other_target(
    view: View<'_>,
    record: &Record,
    released: Option<&Released>,
) -> Option<InstanceName> {
    let target = record.target().or(released?.target.as_ref())?;
    let heard_at = view.seen.released.as_ref().map_or(Time::ZERO, |heard| heard.at);
    let still_its = view.now < heard_at.after(TARGET_FIRST);
    (target != view.seen.name() && still_its).then(|| target.clone())
}

fn begin(view: View<'_>, record: &Record, purpose: Purpose, steps: &mut Vec<Step>) -> Reason {
    let ballot = Ballot {
        began: view.now,
        purpose,
        epoch: record.epoch,
        proposed: free_epoch(view),
        asked: view.now,
        votes: std::collections::BTreeMap::new(),
    };
    ask(view, record, &ballot, steps);
    steps.push(Step::Remember(Note::Ballot(Some(ballot))));
    match purpose {
        Purpose::Survey => Reason::Surveying { revoked: 0, needed: needed(record) },
        Purpose::Seal => Reason::Sealing { revoked: 0, needed: needed(record) },
    }
}

/// Asks everybody who has not yet given the answer that this ballot is after.
fn ask(view: View<'_>, record: &Record, ballot: &Ballot, steps: &mut Vec<Step>) {
    let set_back = view.seen.record.regressed.is_some();
    let basis = if set_back { Basis::Remembered } else { Basis::Stored };
    for to in view.seen.others(&record.members) {
        let done = ballot.votes.get(to).is_some_and(|vote| match ballot.purpose {
            Purpose::Survey => vote.stance != Stance::Refused,
            Purpose::Seal => matches!(vote.stance, Stance::Sealed { .. }),
        });
        if !done {
            let request = Request::Revoke(Revoke {
                epoch: ballot.epoch,
                proposed: ballot.proposed,
                revision: record.revision,
                basis,
                purpose: ballot.purpose,
                released: release_of(view, record),
                ballot: ballot.began,
            });
            steps.push(Step::Send { to: to.clone(), request });
        }
    }
}

fn ask_again(view: View<'_>, record: &Record, ballot: &Ballot, steps: &mut Vec<Step>) {
    // A candidate that gets nowhere for long stays polite.
    let young = view.now < view.seen.grant.until.after(Duration::from_secs(5))
        || view.now < ballot.began.after(Duration::from_secs(1));
    let every = match (young, ballot.purpose) {
        (true, Purpose::Survey) => Duration::from_millis(50),
        (true, Purpose::Seal) => Duration::from_millis(25),
        (false, Purpose::Survey | Purpose::Seal) => Duration::from_millis(500),
    };
    if view.now >= ballot.asked.after(every) {
        ask(view, record, ballot, steps);
    }
}

fn survey(view: View<'_>, record: &Record, ballot: &Ballot, steps: &mut Vec<Step>) -> Reason {
    let revoked = revoked(view, ballot);
    if let Err(reason) = authority(view, record, &revoked) {
        ask_again(view, record, ballot, steps);
        return reason;
    }
    // From here on this instance is bound: it grants to no lower epoch and receives from none.
    persist(view, steps, |durable| {
        durable.known.promise = durable.known.promise.max(ballot.proposed);
        durable.seal = durable.seal.max(ballot.proposed);
    });
    begin(view, record, Purpose::Seal, steps)
}

fn seal(
    view: View<'_>,
    record: &Record,
    (standby, ballot): (&Standby, &Ballot),
    steps: &mut Vec<Step>,
) -> Reason {
    match may_claim(view, record, (standby, ballot)) {
        Err(Refused::Because(reason)) => {
            ask_again(view, record, ballot, steps);
            reason
        }
        Err(Refused::TailElsewhere { from, until }) => {
            let epoch = record.epoch;
            let busy = perform(view, steps, Task::FetchTail { epoch, from: from.clone(), until });
            ask_again(view, record, ballot, steps);
            busy.unwrap_or(Reason::Released { by: from })
        }
        Ok(voted) => {
            let end = release_of(view, record).and_then(|released| released.end);
            let takeover = Takeover {
                holder: view.seen.me.clone(),
                epoch: ballot.proposed,
                parent: standby.position.timeline,
                parent_began: standby.began,
                began: end.filter(|end| *end == standby.position).map(|end| end.lsn),
                cause: cause(view, record, &revoked(view, ballot)),
                pair: quorum::candidate_pair(view, record, &voted),
            };
            let mut next = record.taken_over(next_write(view), takeover);
            if broken(Rule::KeepOldPairs) {
                next.quorum.retain(|pair| !record.quorum.contains(pair));
            }
            if broken(Rule::ReserveTimeline) {
                next.next_timeline = next.timeline;
            }
            write(view, steps, next, Change::Claim);
            Reason::Writing { change: Change::Claim }
        }
    }
}

/// Who voted, when everything that a claim needs is there.
fn may_claim(
    view: View<'_>,
    record: &Record,
    (standby, ballot): (&Standby, &Ballot),
) -> Result<BTreeSet<InstanceName>, Refused> {
    let because = |reason| Err(Refused::Because(reason));
    let seen = view.seen;
    let revoked = revoked(view, ballot);
    let sealed = sealed(view, ballot);
    let bound = seen.durable.known.promise >= ballot.proposed
        && (seen.durable.seal >= ballot.proposed || broken(Rule::SealBinds));
    let still = (standby.follows.is_none() && standby.settled) || broken(Rule::SealBinds);
    if !bound || !still || seen.task.is_some() {
        return because(Reason::Sealing { revoked: revoked.len(), needed: needed(record) });
    }
    authority(view, record, &revoked).map_err(Refused::Because)?;
    let missing = seen
        .others(&record.members)
        .any(|name| !ballot.votes.contains_key(name) && *name != record.holder.instance);
    let sealing = ballot.votes.values().any(may_still_seal);
    if (missing && view.now < ballot.began.after(ANSWERS))
        || (sealing && view.now < ballot.began.after(SEALS))
    {
        return because(Reason::Sealing { revoked: revoked.len(), needed: needed(record) });
    }
    not_behind(view, record, standby, ballot).map_err(Refused::Because)?;
    let own = is_own_log(view, record);
    if seen.record.regressed.is_some() && !own && !sealed.contains(&record.holder.instance) {
        // What the holder has shows what was acknowledged; nothing else does any more.
        return because(Reason::RecordLost { missing: vec![record.holder.instance.clone()] });
    }
    let end = release_of(view, record).and_then(|released| released.end);
    let has_all = end.is_some_and(|end| standby.position >= end) || own;
    if !has_all {
        let refusing = ballot.votes.values().any(|vote| vote.stance == Stance::Refused);
        let tail = end.filter(|_| !refusing || view.now >= ballot.began.after(CLAIMS));
        has_quorum(record, &sealed).map_err(|short| tail_instead(record, standby, tail, short))?;
        near_enough(view, record, standby, end)?;
    }
    Ok(sealed)
}

/// What the history will say of this claim.
fn cause(view: View<'_>, record: &Record, revoked: &BTreeSet<InstanceName>) -> Cause {
    let released = release_of(view, record).is_some();
    match &record.phase {
        Phase::HandingOver { .. } | Phase::Vacant { .. } if released => Cause::HandedOver,
        Phase::Serving if released => Cause::Released,
        _ if grantors_have_left(record, revoked) => Cause::GrantsLost,
        Phase::Serving | Phase::HandingOver { .. } | Phase::Vacant { .. } => Cause::TermOver,
    }
}
