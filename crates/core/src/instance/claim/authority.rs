//! Whether the holder's right to write is over: its own word, the grantors', or the term's.
//!
//! Never takes silence for an answer.

use super::super::View;
use crate::message::{Released, Stance};
use crate::names::InstanceName;
use crate::reason::Reason;
use crate::record::{Phase, Record, grants_needed};
use crate::rules::{Rule, broken};
use crate::seen::Ballot;
use crate::units::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// The holder's own word that its office is free, directly or by the record.
pub(super) fn release_of(view: View<'_>, record: &Record) -> Option<Released> {
    if let Phase::Vacant { end } = &record.phase {
        let (epoch, by) = (record.epoch, record.holder.instance.clone());
        return Some(Released { epoch, by, end: Some(*end), target: None });
    }
    let heard = view.seen.released.as_ref()?;
    let newest = heard.release.epoch == record.epoch && view.seen.highest_known() <= record.epoch;
    newest.then(|| heard.release.clone())
}

/// Whether the holder's right to write is over: released, revoked by its grantors, or run out.
pub(super) fn authority(
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
pub(super) fn grantors_have_left(record: &Record, revoked: &BTreeSet<InstanceName>) -> bool {
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

/// |G| - q(G) + 1: with so many revoked, too few are left to support the holder.
pub(super) fn needed(record: &Record) -> usize {
    record.grantors.len() + 1 - grants_needed(record.grantors.len())
}

pub(super) fn revoked(view: View<'_>, ballot: &Ballot) -> BTreeSet<InstanceName> {
    let said = ballot.votes.iter().filter(|(_, vote)| vote.stance != Stance::Refused);
    let mut revoked: BTreeSet<InstanceName> = said.map(|(name, _)| name.clone()).collect();
    revoked.insert(view.seen.name().clone());
    revoked
}
