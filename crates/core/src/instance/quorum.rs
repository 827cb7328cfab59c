//! Decides the rule for commits and moves it: recorded first, then obeyed, then confirmed.
//!
//! Invariant: whoever can acknowledge a commit shares a member with whoever can be elected.

use super::View;
use crate::intent::Durability;
use crate::names::InstanceName;
use crate::plan::Task;
use crate::record::{Pair, Record};
use crate::rules::{Rule, broken};
use crate::seen::Primary;
use crate::units::Lsn;
use std::collections::BTreeSet;

/// With so many pairs the present move is finished first, if it can be. The number of sets of
/// voters bounds them anyway.
const PAIRS_AT_ONCE: usize = 6;

/// The rule that shall hold while `primary` serves; none in asynchronous mode.
pub(super) fn wanted(view: View<'_>, record: &Record, primary: &Primary) -> Option<Pair> {
    let live = live_standbys(view, record, primary);
    let present = primary.obeys.as_ref().and_then(|obeyed| obeyed.pair.clone());
    match view.intent.durability {
        Durability::Asynchronous { .. } => None,
        Durability::Required { acks } => {
            if live.len() >= acks {
                return Some(Pair { voters: live, acks });
            }
            // Too few to acknowledge: commits wait. The voters stay, so that an election still
            // needs those who may have acknowledged.
            let stays = present.filter(|pair| pair.acks == acks);
            stays.or_else(|| Some(Pair { voters: others(view, record), acks }))
        }
        Durability::Preferred { acks } => {
            if !live.is_empty() {
                let acks = acks.min(live.len());
                return Some(Pair { voters: live, acks });
            }
            let patience = view.intent.timers.grant;
            let alone =
                view.seen.office.alone_since.is_some_and(|at| view.now >= at.after(patience));
            let alone = alone || others(view, record).is_empty();
            if alone { Some(Pair::solo()) } else { present.or_else(|| first_pair(view, record)) }
        }
    }
}

/// Whether no standby can acknowledge at the moment.
pub(super) fn is_alone(view: View<'_>, record: &Record, primary: &Primary) -> bool {
    live_standbys(view, record, primary).is_empty()
}

/// The rule a new holder starts with: before it has a single sender.
pub(super) fn first_pair(view: View<'_>, record: &Record) -> Option<Pair> {
    let others = others(view, record);
    match view.intent.durability {
        Durability::Asynchronous { .. } => None,
        Durability::Required { acks } => Some(Pair { voters: others, acks }),
        Durability::Preferred { acks } => {
            let acks = acks.min(others.len());
            Some(Pair { voters: others, acks })
        }
    }
}

/// The rule of a candidate: those who voted for it are those who will acknowledge first.
pub(super) fn candidate_pair(
    view: View<'_>,
    record: &Record,
    voted: &BTreeSet<InstanceName>,
) -> Option<Pair> {
    let pair = first_pair(view, record)?;
    let voters: BTreeSet<InstanceName> = pair.voters.intersection(voted).cloned().collect();
    if voters.len() >= pair.acks.max(1) {
        Some(Pair { voters, acks: pair.acks })
    } else {
        Some(pair)
    }
}

/// The recorded quorum's next state on the way to `wanted`.
pub(super) fn next_quorum(
    record: &Record,
    primary: &Primary,
    wanted: Option<&Pair>,
) -> BTreeSet<Pair> {
    let mut quorum = record.quorum.clone();
    let Some(wanted) = wanted else { return BTreeSet::new() };
    if !quorum.contains(wanted) {
        let obeyed = primary.obeys.as_ref().and_then(|obeyed| obeyed.pair.as_ref());
        let done = obeyed.filter(|pair| quorum.contains(pair) && is_confirmed(primary, pair));
        if let Some(pair) = done.filter(|_| quorum.len() >= PAIRS_AT_ONCE) {
            return BTreeSet::from([pair.clone()]);
        }
        quorum.insert(wanted.clone());
        return quorum;
    }
    if quorum.len() > 1 && is_confirmed(primary, wanted) {
        quorum = BTreeSet::from([wanted.clone()]);
    }
    quorum
}

/// The order that makes the server obey `wanted`, once the record has it; none when it does.
/// A write whose fate is not known may drop the pair again: both records must have it.
pub(super) fn order(
    view: View<'_>,
    record: &Record,
    (primary, wanted): (&Primary, Option<&Pair>),
) -> Option<Task> {
    let obeyed = primary.obeys.as_ref();
    if obeyed.is_some_and(|obeyed| obeyed.pair.as_ref() == wanted) {
        return None;
    }
    let outstanding = view.seen.outstanding.as_ref().map(|outstanding| &outstanding.write.record);
    let recorded = [Some(record), outstanding].into_iter().flatten().all(|record| match wanted {
        None => record.quorum.is_empty(),
        Some(pair) => record.quorum.contains(pair),
    });
    let pair = wanted.cloned();
    (recorded || broken(Rule::RecordBeforeObey)).then_some(Task::Obey { epoch: record.epoch, pair })
}

/// The rule to open with: a recorded one that this instance is not a voter of itself.
pub(super) fn opening_pair(view: View<'_>, record: &Record) -> Option<Pair> {
    let mine = record.quorum.iter().filter(|pair| !pair.voters.contains(view.seen.name()));
    mine.max_by_key(|pair| (pair.acks > 0, pair.voters.len())).cloned()
}

/// Whether enough voters have everything that was written before the rule was in force.
pub(super) fn is_confirmed(primary: &Primary, pair: &Pair) -> bool {
    if broken(Rule::ConfirmBeforeNarrow) {
        return true;
    }
    let obeyed = primary.obeys.as_ref().filter(|obeyed| obeyed.pair.as_ref() == Some(pair));
    obeyed.is_some_and(|obeyed| pair.acknowledges(&flushed_to(primary, obeyed.since)))
}

fn flushed_to(primary: &Primary, lsn: Lsn) -> BTreeSet<InstanceName> {
    let senders = primary.senders.iter();
    senders.filter(|(_, sender)| sender.flushed >= lsn).map(|(name, _)| name.clone()).collect()
}

fn others(view: View<'_>, record: &Record) -> BTreeSet<InstanceName> {
    let others = view.seen.others(&record.members);
    others.filter(|name| view.intent.instances.contains(*name)).cloned().collect()
}

/// Members that stream and grant: they can acknowledge, and they are heard.
fn live_standbys(view: View<'_>, record: &Record, primary: &Primary) -> BTreeSet<InstanceName> {
    let oldest = view.now.before(view.intent.timers.grantor_silence());
    let mut live = others(view, record);
    live.retain(|name| {
        primary.senders.get(name).is_some_and(|sender| sender.streaming)
            && view.seen.office.grants.get(name).is_some_and(|sent| *sent >= oldest)
    });
    live
}
