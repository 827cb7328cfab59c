//! Creates the cluster and its record: once, and by one instance only.
//!
//! Never initialises anything when the platform, the disk or a peer knows of an earlier record.

use super::{View, next_write, perform, write};
use crate::plan::{Step, Task, Verdict};
use crate::reason::Reason;
use crate::record::Record;
use crate::seen::{Change, End, Server};
use crate::units::{Epoch, Timeline};

pub(super) fn plan(view: View<'_>, steps: &mut Vec<Step>) -> Verdict {
    let seen = view.seen;
    if seen.record.read.is_none() {
        return waiting(Reason::RecordUnread);
    }
    let was_in_it = seen.durable.served > Epoch(0) || seen.durable.record.is_some();
    let first = view.intent.first.as_ref();
    let Some(first) = first.filter(|_| !was_in_it && seen.highest_known() == Epoch(0)) else {
        // Who has nothing of the cluster was only too early to read the record, for all it knows.
        let is_new = !was_in_it && matches!(seen.server, Server::Absent);
        return waiting(if is_new {
            Reason::RecordUnread
        } else {
            Reason::RecordLost { missing: Vec::new() }
        });
    };
    if first != seen.name() {
        return waiting(Reason::NoCluster { first: first.clone() });
    }
    match &seen.server {
        Server::Absent => {
            let reason = perform(view, steps, Task::Initialise).unwrap_or(Reason::NothingToDo);
            Verdict::Rejoining { because: reason }
        }
        Server::Down { system_id, end } => {
            let (made, written) = (timeline(end), next_write(view));
            let record = Record::first(seen.me.clone(), *system_id, made, written);
            write(view, steps, record, Change::Create);
            waiting(Reason::Writing { change: Change::Create })
        }
        Server::Unknown | Server::Starting | Server::Standby(_) | Server::Primary(_) => {
            waiting(Reason::ServerNotSeen)
        }
    }
}

/// The one that the data was made on.
fn timeline(end: &End) -> Timeline {
    match end {
        End::Clean { position } | End::CleanStandby { position } => position.timeline,
        End::Crashed { timeline, .. } => *timeline,
    }
}

fn waiting(because: Reason) -> Verdict {
    Verdict::Waiting { because }
}
