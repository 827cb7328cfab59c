//! Decides who belongs: members M and grantors G, as the holder keeps them in the record.
//!
//! Never counts anybody whose grant is not fresh, and never drops a member that a pair still
//! needs.

use super::View;
use crate::message::Standing;
use crate::names::InstanceName;
use crate::record::Record;
use crate::rules::{Rule, broken};
use crate::units::Time;
use std::collections::BTreeSet;

/// The members that shall be: those who are and shall stay, and those who are ready to join.
pub(super) fn wanted_members(view: View<'_>, record: &Record) -> BTreeSet<InstanceName> {
    let mut wanted = record.members.clone();
    let me = view.seen.name();
    wanted
        .extend(view.intent.instances.iter().filter(|name| is_ready_to_join(view, name)).cloned());
    wanted.retain(|name| {
        name == me || view.intent.instances.contains(name) || is_needed(record, name)
    });
    wanted
}

/// The grantors that shall be: members that granted just now, and present ones whose silence is
/// not yet long.
pub(super) fn wanted_grantors(
    view: View<'_>,
    record: &Record,
    members: &BTreeSet<InstanceName>,
) -> BTreeSet<InstanceName> {
    let timers = &view.intent.timers;
    let dropped_before = view.now.before(timers.grantor_silence());
    let added_after = view.now.before(timers.heartbeat * 3 / 2);
    let granted = |name: &InstanceName| view.seen.office.grants.get(name).copied();
    let stays = |name: &InstanceName| {
        broken(Rule::DropDeadGrantor) || granted(name).is_some_and(|sent| sent >= dropped_before)
    };
    members
        .iter()
        .filter(|name| view.intent.instances.contains(*name) && **name != *view.seen.name())
        .filter(|name| {
            if record.grantors.contains(*name) {
                stays(name)
            } else {
                granted(name).is_some_and(|sent| sent >= added_after)
            }
        })
        .cloned()
        .collect()
}

/// Whether a member answered lately and says that it receives our log.
pub(super) fn is_streaming(view: View<'_>, name: &InstanceName, oldest: Time) -> bool {
    let answer = view.seen.fresh_answer(name, oldest);
    answer.is_some_and(|answer| matches!(answer.standing, Standing::Streaming { .. }))
}

fn is_ready_to_join(view: View<'_>, name: &InstanceName) -> bool {
    let oldest = view.now.before(view.intent.timers.grantor_silence());
    view.seen.office.grants.get(name).is_some_and(|sent| *sent >= oldest)
        && is_streaming(view, name, oldest)
}

/// A member that a pair or the grantors name goes only after them.
fn is_needed(record: &Record, name: &InstanceName) -> bool {
    record.grantors.contains(name) || record.quorum.iter().any(|pair| pair.voters.contains(name))
}
