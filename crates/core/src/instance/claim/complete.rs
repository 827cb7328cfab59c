//! Whether this standby's log has everything that may have been acknowledged.
//!
//! Never counts a position that is not final.

use super::super::View;
use crate::intent::Durability;
use crate::message::{Stance, Standing, Vote};
use crate::names::InstanceName;
use crate::plan::Task;
use crate::reason::Reason;
use crate::record::Record;
use crate::rules::{Rule, broken};
use crate::seen::{Ballot, Standby};
use crate::units::{Bytes, WalPosition};
use std::collections::BTreeSet;

pub(super) enum Refused {
    Because(Reason),
    /// The released holder's log goes on, and its agent can still hand it over.
    TailElsewhere {
        from: InstanceName,
        until: WalPosition,
    },
}

/// The newest record names this very volume: its log has everything that was ever acknowledged.
pub(super) fn is_own_log(view: View<'_>, record: &Record) -> bool {
    let seen = view.seen;
    let same_volume = record.holder.volume == seen.me.volume || broken(Rule::RetakeOnlySameVolume);
    record.holder.instance == seen.me.instance
        && same_volume
        && (seen.durable.known.promise >= record.epoch || broken(Rule::RetakeOnlySameVolume))
        && seen.highest_known() <= record.epoch
}

/// One that has no running server has nothing to seal: waiting for it would only cost time.
pub(super) fn may_still_seal(vote: &Vote) -> bool {
    let has_server = match vote.standing {
        Standing::Streaming { .. } | Standing::Waiting { .. } => true,
        Standing::Unready | Standing::Fenced | Standing::Primary => false,
    };
    vote.stance == Stance::Revoked && has_server
}

pub(super) fn sealed(view: View<'_>, ballot: &Ballot) -> BTreeSet<InstanceName> {
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

/// The log of the last holder has everything that was ever acknowledged: what another has beyond it
/// on the same timeline is what nobody was told of.
pub(super) fn not_behind(
    view: View<'_>,
    record: &Record,
    standby: &Standby,
    ballot: &Ballot,
) -> Result<(), Reason> {
    if broken(Rule::NotBehind) {
        return Ok(());
    }
    let own = is_own_log(view, record);
    for (other, vote) in &ballot.votes {
        let Stance::Sealed { position } = vote.stance else { continue };
        let ahead = if own {
            position.timeline > standby.position.timeline
        } else if broken(Rule::TimelineFirst) {
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

pub(super) fn has_quorum(record: &Record, sealed: &BTreeSet<InstanceName>) -> Result<(), Reason> {
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
pub(super) fn tail_instead(
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
pub(super) fn near_enough(
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
        let tried = failed.is_some_and(|failed| matches!(failed.task, Task::FetchTail { .. }));
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
