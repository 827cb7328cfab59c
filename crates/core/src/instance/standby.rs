//! What an instance does that holds no office: follow, rejoin, or claim.
//!
//! Never starts a folder that belongs to another cluster or that was left half-rewound.

use super::{
    View, bootstrap, claim, crash, follow, is_leaving, perform, resend, server_is_running,
};
use crate::plan::{Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::{Phase, Record};
use crate::rules::{Rule, broken};
use crate::seen::{Server, Standby};
use crate::units::SystemId;

pub(super) fn plan(view: View<'_>, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    resend(view, steps);
    if let Some(outstanding) = &seen.outstanding {
        return Verdict::Claiming { because: Reason::Outstanding { change: outstanding.change } };
    }
    let Some(record) = &seen.record.value else { return bootstrap::plan(view, steps) };
    if is_foreign(&seen.server, record.system_id) {
        return Verdict::Waiting { because: Reason::OtherCluster };
    }
    if let Some(reason) = shall_be_down(view, record) {
        if server_is_running(&seen.server) {
            let epoch = seen.highest_known();
            let busy = perform(view, steps, Task::Stop { epoch });
            return Verdict::Leaving { because: busy.unwrap_or(reason) };
        }
        return Verdict::Waiting { because: reason };
    }
    match &seen.server {
        Server::Unknown | Server::Starting | Server::Primary(_) => {
            Verdict::Waiting { because: Reason::ServerNotSeen }
        }
        Server::Absent => follow::copy(view, steps),
        Server::Down { end, .. } if claim::may_retake(view, record) => {
            crash::come_back(view, record, *end, steps)
        }
        Server::Down { end, .. } => follow::start(view, record, *end, steps),
        Server::Standby(standby) => running(view, record, standby, steps),
    }
}

fn running(view: View<'_>, record: &Record, standby: &Standby, steps: &mut Vec<Step>) -> Verdict {
    let seal = view.seen.durable.seal;
    let receives_below = standby.follows.as_ref().is_some_and(|follows| follows.epoch < seal);
    if receives_below && !broken(Rule::SealBinds) {
        let busy = perform(view, steps, Task::Seal { epoch: seal });
        if let Some(verdict) = claim::plan(view, record, standby, steps) {
            return verdict;
        }
        let below = seal;
        return Verdict::Waiting { because: busy.unwrap_or(Reason::Sealed { below }) };
    }
    claim::plan(view, record, standby, steps)
        .unwrap_or_else(|| follow::plan(view, record, standby, steps))
}

/// Why the server of this instance shall not run, if it shall not.
fn shall_be_down(view: View<'_>, record: &Record) -> Option<Reason> {
    let seen = view.seen;
    if view.intent.is_fenced(seen.name()) {
        return Some(Reason::Fenced);
    }
    if is_leaving(view) {
        return Some(Reason::Stopped);
    }
    // The primary stops first, so that every standby receives its shutdown checkpoint.
    let primary_stopped =
        matches!(record.phase, Phase::Vacant { .. }) || view.now >= seen.grant.until;
    (view.intent.stopped && primary_stopped).then_some(Reason::Stopped)
}

fn is_foreign(server: &Server, expected: SystemId) -> bool {
    match server {
        Server::Down { system_id, .. } => *system_id != expected,
        Server::Standby(standby) => standby.system_id != expected,
        Server::Primary(primary) => primary.system_id != expected,
        Server::Unknown | Server::Absent | Server::Starting => false,
    }
}
