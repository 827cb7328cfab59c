//! Decides until when the holder may write: rules R1 and R2 of ADR-0001.
//!
//! Never extends a right on the strength of an answer's arrival: everything counts from sending.

use crate::intent::Intent;
use crate::names::InstanceName;
use crate::record::{Record, grants_needed};
use crate::rules::{Rule, broken};
use crate::seen::Seen;
use crate::units::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// The instant before which the server of this instance may write; zero when it may not at all.
pub fn writable_until(intent: &Intent, seen: &Seen) -> Time {
    let Some(record) = seen.my_office() else { return Time::ZERO };
    if seen.release_sent.is_some() {
        return Time::ZERO;
    }
    let in_force = || records_in_force(seen, record);
    let by_record = in_force().map(|record| until_by_record(intent, seen, record)).min();
    let by_members = in_force().map(|record| until_by_members(intent, seen, &record.members)).min();
    by_record.max(by_members).unwrap_or(Time::ZERO)
}

/// R2 alone: every other member grants, so nobody can take over whatever the record says.
pub fn members_agree_until(intent: &Intent, seen: &Seen) -> Time {
    let Some(record) = seen.my_office() else { return Time::ZERO };
    let in_force = records_in_force(seen, record);
    let until = in_force.map(|record| until_by_members(intent, seen, &record.members)).min();
    until.unwrap_or(Time::ZERO)
}

/// While a change of G or M is in flight nobody knows which one holds: obey both.
fn records_in_force<'a>(seen: &'a Seen, record: &'a Record) -> impl Iterator<Item = &'a Record> {
    let next = seen.outstanding.as_ref().map(|outstanding| &outstanding.write.record);
    let replaced = next.is_some() && broken(Rule::ObeyBothSets);
    Some(record).filter(|_| !replaced).into_iter().chain(next)
}

/// R1: the term that the record proves, and enough of the grantors.
fn until_by_record(intent: &Intent, seen: &Seen, record: &Record) -> Time {
    let term = seen
        .office
        .confirmed
        .map_or(Time::ZERO, |sent| sent.after(reliable(intent, intent.timers.term)));
    if record.grantors.is_empty() || broken(Rule::GrantsNeeded) {
        return term;
    }
    let mut ends: Vec<Time> =
        record.grantors.iter().map(|name| grant_end(intent, seen, name)).collect();
    ends.sort_unstable_by(|left, right| right.cmp(left));
    let last_needed = ends.get(grants_needed(ends.len()) - 1).copied().unwrap_or(Time::ZERO);
    term.min(last_needed)
}

/// R2: the grants of all other members, however long the record has been silent.
fn until_by_members(intent: &Intent, seen: &Seen, members: &BTreeSet<InstanceName>) -> Time {
    let ends = seen.others(members).map(|name| grant_end(intent, seen, name));
    if broken(Rule::UnanimousWithoutRecord) {
        // The mutant: a majority of all members, counting the holder itself.
        let mut ends: Vec<Time> = ends.collect();
        ends.sort_unstable();
        return ends.get(ends.len() / 2).copied().unwrap_or(Time::NEVER);
    }
    ends.min().unwrap_or(Time::NEVER)
}

fn grant_end(intent: &Intent, seen: &Seen, name: &InstanceName) -> Time {
    let sent = seen.office.grants.get(name);
    sent.map_or(Time::ZERO, |sent| sent.after(reliable(intent, intent.timers.grant)))
}

fn reliable(intent: &Intent, promised: Duration) -> Duration {
    if broken(Rule::Margin) { promised } else { intent.timers.usable(promised) }
}
