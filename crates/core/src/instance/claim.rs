//! Decides whether this standby may take the office over: fast, slow, or because it was released.
//!
//! Never claims while its own grant runs, without having sealed itself, or behind anybody who
//! answered.

use super::{View, free_epoch, is_leaving, next_write, office, perform, persist, quorum, write};
use crate::intent::Durability;
use crate::message::{Basis, Purpose, Released, Request, Revoke, Stance, Standing, Vote};
use crate::names::InstanceName;
use crate::plan::{Note, Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Cause, Phase, Record, Takeover, grants_needed};
use crate::rules::{Rule, broken};
use crate::seen::{Ballot, Change, Standby};
use crate::units::{Bytes, Time, WalPosition};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long those who were not named by a handover leave the office to its target.
const TARGET_FIRST: Duration = Duration::from_secs(2);
/// How long a sealing candidate waits for those who have not answered or are still sealing.
const ANSWERS: Duration = Duration::from_millis(100);
const SEALS: Duration = Duration::from_millis(400);

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
    if view.intent.paused {
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
    } else if let Some(target) = other_target(view, record) {
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
fn may_retake(view: View<'_>, record: &Record) -> bool {
    is_own_log(view, record)
        && view.seen.record.regressed.is_none()
        && !view.intent.stopped
        && !is_leaving(view)
}

/// The newest record names this very volume: its log has everything that was ever acknowledged.
fn is_own_log(view: View<'_>, record: &Record) -> bool {
    let seen = view.seen;
    let same_volume = record.holder.volume == seen.me.volume || broken(Rule::RetakeOnlySameVolume);
    record.holder.instance == seen.me.instance
        && same_volume
        && (seen.durable.known.promise >= record.epoch || broken(Rule::RetakeOnlySameVolume))
        && seen.highest_known() <= record.epoch
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

/// The holder's own word that its office is free, directly or by the record.
fn release_of(view: View<'_>, record: &Record) -> Option<Released> {
    if let Phase::Vacant { end } = &record.phase {
        let (epoch, by) = (record.epoch, record.holder.instance.clone());
        return Some(Released { epoch, by, end: Some(*end) });
    }
    let heard = view.seen.released.as_ref()?;
    let newest = heard.release.epoch == record.epoch && view.seen.highest_known() <= record.epoch;
    newest.then(|| heard.release.clone())
}

/// The target of a handover that is still being left alone by the others.
fn other_target(view: View<'_>, record: &Record) -> Option<InstanceName> {
    let Phase::HandingOver { target } = &record.phase else { return None };
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
            let takeover = Takeover {
                holder: view.seen.me.clone(),
                epoch: ballot.proposed,
                parent: standby.position.timeline,
                parent_began: standby.began,
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

enum Refused {
    Because(Reason),
    /// The released holder's log goes on, and its agent can still hand it over.
    TailElsewhere {
        from: InstanceName,
        until: WalPosition,
    },
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
    not_behind(standby, ballot).map_err(Refused::Because)?;
    let own = is_own_log(view, record);
    if seen.record.regressed.is_some() && !own && !sealed.contains(&record.holder.instance) {
        // What the holder has shows what was acknowledged; nothing else does any more.
        return because(Reason::RecordLost { missing: vec![record.holder.instance.clone()] });
    }
    let end = release_of(view, record).and_then(|released| released.end);
    let has_all = end.is_some_and(|end| standby.position >= end) || own;
    if !has_all {
        has_quorum(record, &sealed).map_err(|short| tail_instead(record, standby, end, short))?;
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

/// Whether the holder's right to write is over: released, revoked by its grantors, or run out.
fn authority(
    view: View<'_>,
    record: &Record,
    revoked: &BTreeSet<InstanceName>,
) -> Result<(), Reason> {
    if let Some(regression) = &view.seen.record.regressed {
        return everybody_agrees(view, record, (revoked, regression.since));
    }
    if view.seen.highest_known() > record.epoch && !broken(Rule::NeverLowerEpoch) {
        // Somebody held a later office: the record was set back, or is about to be read anew.
        return Err(Reason::RecordLost { missing: Vec::new() });
    }
    if release_of(view, record).is_some() {
        return Ok(());
    }
    if grantors_have_left(record, revoked) {
        return Ok(());
    }
    let over = view.seen.record.first_seen.after(term_over(view));
    if view.seen.record.read.is_some_and(|read| read >= over) {
        return Ok(());
    }
    if record.grantors.is_empty() {
        return Err(Reason::TermRuns { left: over.since(view.now) });
    }
    let revoked = record.grantors.intersection(revoked).count();
    Err(Reason::Surveying { revoked, needed: needed(record) })
}

/// Whether too few grantors are left to support the holder. Whoever claims need not be one of them:
/// its own consent counts only where that of all members does.
fn grantors_have_left(record: &Record, revoked: &BTreeSet<InstanceName>) -> bool {
    let left = record.grantors.intersection(revoked).count();
    let enough = left >= needed(record) || broken(Rule::EnoughRevoked);
    enough && !record.grantors.is_empty()
}

fn term_over(view: View<'_>) -> Duration {
    if broken(Rule::WholeTermUnchanged) {
        return view.intent.timers.term / 2;
    }
    view.intent.timers.outlasts(view.intent.timers.term)
}

/// The record was set back, so what it and this instance know of grantors and of the rule for
/// commits may be old: all members, also its holder, whose log has everything, and a whole term.
fn everybody_agrees(
    view: View<'_>,
    record: &Record,
    (revoked, since): (&BTreeSet<InstanceName>, Time),
) -> Result<(), Reason> {
    let mut missing: Vec<InstanceName> = record.members.difference(revoked).cloned().collect();
    missing.retain(|name| name != view.seen.name());
    let over = since.after(term_over(view));
    if missing.is_empty() && view.now >= over {
        return Ok(());
    }
    Err(Reason::RecordLost { missing })
}

/// One that has no running server has nothing to seal: waiting for it would only cost time.
fn may_still_seal(vote: &Vote) -> bool {
    let has_server = match vote.standing {
        Standing::Streaming { .. } | Standing::Waiting { .. } => true,
        Standing::Unready | Standing::Fenced | Standing::Primary => false,
    };
    vote.stance == Stance::Revoked && has_server
}

/// |G| - q(G) + 1: with so many revoked, too few are left to support the holder.
fn needed(record: &Record) -> usize {
    record.grantors.len() + 1 - grants_needed(record.grantors.len())
}

fn revoked(view: View<'_>, ballot: &Ballot) -> BTreeSet<InstanceName> {
    let said = ballot.votes.iter().filter(|(_, vote)| vote.stance != Stance::Refused);
    let mut revoked: BTreeSet<InstanceName> = said.map(|(name, _)| name.clone()).collect();
    revoked.insert(view.seen.name().clone());
    revoked
}

fn sealed(view: View<'_>, ballot: &Ballot) -> BTreeSet<InstanceName> {
    let counts = |stance| match stance {
        Stance::Sealed { .. } => true,
        Stance::Revoked => broken(Rule::SealBeforeVote),
        Stance::Refused => false,
    };
    let said = ballot.votes.iter().filter(|(_, vote)| counts(vote.stance));
    let mut sealed: BTreeSet<InstanceName> = said.map(|(name, _)| name.clone()).collect();
    sealed.insert(view.seen.name().clone());
    sealed
}

fn not_behind(standby: &Standby, ballot: &Ballot) -> Result<(), Reason> {
    if broken(Rule::NotBehind) {
        return Ok(());
    }
    for (other, vote) in &ballot.votes {
        let Stance::Sealed { position } = vote.stance else { continue };
        let ahead = if broken(Rule::TimelineFirst) {
            position.lsn > standby.position.lsn
        } else {
            position > standby.position
        };
        if ahead {
            return Err(Reason::Behind { other: other.clone(), position });
        }
    }
    Ok(())
}

fn has_quorum(record: &Record, sealed: &BTreeSet<InstanceName>) -> Result<(), Reason> {
    let newest_only = broken(Rule::EveryPair);
    for pair in record.quorum.iter().take(if newest_only { 1 } else { usize::MAX }) {
        if pair.acks == 0 && broken(Rule::SoloElectsNobody) {
            continue;
        }
        let fewer = usize::from(broken(Rule::EnoughVoters));
        let voters = pair.voters.intersection(sealed).count();
        if voters + fewer < pair.election_size() {
            return Err(if pair.acks == 0 {
                Reason::AloneQuorum
            } else {
                Reason::QuorumShort { pair: pair.clone(), sealed: voters }
            });
        }
    }
    Ok(())
}

/// Too few votes to know that nothing is missing, but the holder has told where its log ends: its
/// agent can still hand over what this one lacks.
fn tail_instead(
    record: &Record,
    standby: &Standby,
    end: Option<WalPosition>,
    short: Reason,
) -> Refused {
    match end.filter(|end| end.timeline == standby.position.timeline) {
        Some(until) => Refused::TailElsewhere { from: record.holder.instance.clone(), until },
        None => Refused::Because(short),
    }
}

/// In asynchronous mode: fetch what the dead holder's agent still has, else keep to the limit.
fn near_enough(
    view: View<'_>,
    record: &Record,
    standby: &Standby,
    end: Option<WalPosition>,
) -> Result<(), Refused> {
    if !record.quorum.is_empty() {
        return Ok(());
    }
    let Durability::Asynchronous { max_lag } = view.intent.durability else { return Ok(()) };
    if let Some(until) = end.filter(|end| end.timeline == standby.position.timeline) {
        let failed = view.seen.failed.as_ref();
        let tried = failed.is_some_and(|failed| failed.task.kind() == "fetch tail");
        if !tried {
            let from = record.holder.instance.clone();
            return Err(Refused::TailElsewhere { from, until });
        }
    }
    let told = view.seen.grant.heard.as_ref().and_then(|heard| heard.position);
    let last = end.or(told).map_or(standby.position.lsn, |position| position.lsn);
    let lag: Bytes = last.ahead_of(standby.position.lsn);
    if lag > max_lag && !broken(Rule::MaxLag) {
        return Err(Refused::Because(Reason::TooFarBehind { lag, limit: max_lag }));
    }
    Ok(())
}
