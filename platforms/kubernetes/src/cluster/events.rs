//! Decides which events are told of a cluster: of what was done, and of what changed in its status.
//!
//! Never two of the same occurrence: each has a mark, and a second one of its name is refused.

mod asked;
mod publish;

pub(super) use asked::asked;
pub(crate) use publish::publish;

use super::certificates::Complaint;
use super::realise::{EnsureError, RealiseError};
use k8s_openapi::Resource as _;
use k8s_openapi::api::coordination::v1::Lease;
use pgherd_agent::chain::chain;
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_core::fleet::{Because, Verdict};
use pgherd_core::names::InstanceName;
use pgherd_core::record::{Cause, Record, Term};
use pgherd_core::units::Timeline;

/// What people are told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) reason: &'static str,
    pub(crate) note: String,
    /// Tells one occurrence from another one with the same note.
    pub(crate) mark: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

/// What was done or found just now, and would not be so again by repeating it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// Volumes of an instance that had none.
    MadeVolumes {
        instance: InstanceName,
        with: Data,
        uid: String,
    },
    /// With them all data of an instance.
    RemovedVolumes {
        instance: InstanceName,
        uid: String,
    },
    EndedPod {
        instance: InstanceName,
        because: Because,
        uid: String,
    },
    /// Its PostgreSQL shall stay down, since the specification of this number.
    Fenced {
        instance: InstanceName,
        specification: u64,
    },
    Unfenced {
        instance: InstanceName,
        specification: u64,
    },
    /// Its PostgreSQL is to start again where it is, by the request of this number.
    AskedToRestart {
        instance: InstanceName,
        request: u64,
    },
    /// Its agent has become the operator's program.
    BecameOurs {
        instance: InstanceName,
        from: String,
        to: String,
        /// The pod's.
        uid: String,
    },
    /// A certificate that the user has given ends soon.
    FoundEnding(Complaint),
}

/// Where the data of a new instance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// It is a new cluster's.
    Initdb,
    /// It is that of a server elsewhere.
    PhysicalBackup,
    /// It is that of a backup.
    Backup,
    /// It is the primary's.
    Copy,
}

/// What the events of one round are made from.
pub(super) struct Round<'a> {
    pub(super) before: &'a ClusterStatus,
    pub(super) after: &'a ClusterStatus,
    pub(super) record: Option<&'a Record>,
    pub(super) done: &'a [Done],
    pub(super) realised: &'a Result<(), RealiseError>,
    pub(super) verdict: &'a Verdict,
    /// The manifest's.
    pub(super) generation: Option<i64>,
}

/// The phase of a cluster whose primary may be replaced.
pub(super) const FAILING_OVER: &str = "Failing over";
/// That of a cluster in which somebody is to be replaced, and not yet.
pub(super) const UPGRADE_DELAYED: &str = "Cluster upgrade delayed";

/// Everything that is worth telling, in the order in which it happened.
pub(super) fn events(round: &Round<'_>) -> Vec<Event> {
    let mut events = Vec::new();
    let timeline = round.before.timeline_id;
    let phase = |status: &ClusterStatus| status.phase.as_deref() == Some(FAILING_OVER);
    if let Some(record) = round.record {
        // Before the status knew a timeline there was nobody to take over from.
        events.extend(timeline.into_iter().flat_map(|known| takeovers(known, record)));
        if phase(round.after) && !phase(round.before) {
            events.push(failing_over(&record.holder.instance, record.timeline));
        }
    }
    events.extend(round.done.iter().map(of_done));
    // What goes on failing is in the status.
    let is_news = round.before.phase_reason != round.after.phase_reason;
    let failure = round.realised.as_ref().err().filter(|_| is_news);
    events.extend(failure.map(|error| of_failure(error, round)));
    events.extend(delayed(round).filter(|_| is_news));
    events
}

/// As long as nothing graver is told.
fn delayed(round: &Round<'_>) -> Option<Event> {
    let is_told = round.after.phase.as_deref() == Some(UPGRADE_DELAYED);
    let Verdict::Delayed { instance, left } = round.verdict else { return None };
    let left = left.as_secs_f64().ceil();
    let note = format!("Replacing pod {instance} is delayed for {left}s");
    is_told.then(|| normal("RolloutDelayed", note, number(round.generation)))
}

/// Why nothing is done with a cluster at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Its manifest cannot be carried out.
    Refused,
    /// There is no Backup such as it is to begin with.
    WithoutOrigin,
    /// The catalog has no image for it.
    WithoutImage,
}

/// That nothing is done with it, unless that was told.
pub(super) fn left(cluster: &Cluster, after: &ClusterStatus, left: Left) -> Option<Event> {
    let known = cluster.status.as_ref().and_then(|before| before.phase_reason.as_ref());
    let why = after.phase_reason.as_ref().filter(|why| known != Some(why))?;
    let phase = after.phase.as_deref().unwrap_or_default();
    let (reason, note) = match left {
        Left::Refused => ("InvalidClusterDefinition", why.clone()),
        Left::WithoutOrigin => ("BootstrapFailed", format!("{phase}: {why}")),
        Left::WithoutImage => ("DiscoverImage", format!("{phase}: {why}")),
    };
    let mark = number(cluster.metadata.generation);
    Some(Event { kind: Kind::Warning, reason, note, mark })
}

/// The office may have changed hands more than once since the status was written.
fn takeovers(known: i64, record: &Record) -> impl Iterator<Item = Event> {
    let pairs = record.terms.iter().zip(record.terms.iter().skip(1));
    let news = pairs.filter(move |(_, term)| i64::from(term.timeline.0) > known);
    news.flat_map(|(last, term)| takeover(last, term))
}

fn takeover(last: &Term, term: &Term) -> Vec<Event> {
    let (from, to) = (&last.holder, &term.holder);
    let mark = term.timeline.to_string();
    match term.cause {
        Cause::Initialised | Cause::Retaken => Vec::new(),
        // It lost its office and got it again: nobody was promoted.
        Cause::GrantsLost | Cause::TermOver | Cause::Released | Cause::HandedOver if from == to => {
            Vec::new()
        }
        Cause::HandedOver => {
            vec![normal("SwitchingOver", format!("Switching over from {from} to {to}"), mark)]
        }
        Cause::GrantsLost | Cause::TermOver | Cause::Released => vec![
            failing_over(from, last.timeline),
            normal("FailoverTarget", format!("Failing over from {from} to {to}"), mark),
        ],
    }
}

/// Marked by the office that is lost: it is told when that is noticed, or else afterwards.
fn failing_over(from: &InstanceName, timeline: Timeline) -> Event {
    let note = format!("Current primary isn't healthy, initiating a failover from {from}");
    normal("FailingOver", note, timeline.to_string())
}

fn of_done(done: &Done) -> Event {
    let told = |reason, note: String, mark: &dyn ToString| normal(reason, note, mark.to_string());
    match done {
        Done::MadeVolumes { instance, with, uid } => {
            let note = match with {
                Data::Initdb => "Primary instance (initdb)".to_owned(),
                Data::PhysicalBackup => "Primary instance (from physical backup)".to_owned(),
                Data::Backup => "Primary instance (from backup)".to_owned(),
                Data::Copy => format!("Creating instance {instance}"),
            };
            told("CreatingInstance", note, uid)
        }
        Done::RemovedVolumes { instance, uid } => {
            told("DeletePVCs", format!("Deleted PVCs of instance {instance}"), uid)
        }
        Done::EndedPod { instance, because, uid } => {
            let (reason, note) = of_end(instance, *because);
            told(reason, note, uid)
        }
        Done::Fenced { instance, specification } => {
            told("FencePod", format!("Fencing Pod {instance}"), specification)
        }
        Done::Unfenced { instance, specification } => {
            told("UnfencePod", format!("Unfencing Pod {instance}"), specification)
        }
        Done::AskedToRestart { instance, request } => {
            told("RestartingInstance", format!("Restarting instance {instance}"), request)
        }
        Done::BecameOurs { instance, from, to, uid } => {
            let (from, to) = (shortened(from), shortened(to));
            let note = format!("Instance manager of {instance} upgraded from {from} to {to}");
            told("InstanceManagerUpgraded", note, uid)
        }
        Done::FoundEnding(complaint) => {
            let (kind, note) = (Kind::Warning, complaint.to_string());
            Event { kind, reason: "SecretIsExpiring", note, mark: String::new() }
        }
    }
}

fn of_end(instance: &InstanceName, because: Because) -> (&'static str, String) {
    match because {
        Because::Outdated => ("UpgradingInstance", format!("Upgrading instance {instance}")),
        Because::Leaving => ("ScaleDown", format!("Scaling down - removing instance: {instance}")),
        Because::Ended => ("DeletePod", format!("Deleted ended pod {instance}")),
        Because::Stopped => ("DeletePod", format!("Deleted pod {instance} to hibernate")),
    }
}

/// As much of a digest as people compare.
fn shortened(digest: &str) -> &str {
    digest.get(..6).unwrap_or(digest)
}

fn of_failure(error: &RealiseError, round: &Round<'_>) -> Event {
    let reason = match error {
        RealiseError::Lack(_) => "SecretNotFound",
        RealiseError::Supplied(_) => "InvalidCertificate",
        // Nobody writes into a record that may be another cluster's.
        RealiseError::Ensure(EnsureError::Foreign { kind, .. }) if *kind == Lease::KIND => {
            "PrimaryLeaseConflict"
        }
        RealiseError::Tell(_) | RealiseError::Ensure(_) | RealiseError::Certify(_) => {
            "UnableToCreateObjects"
        }
        RealiseError::First { .. } => "BootstrapFailed",
        RealiseError::Catalog(_) => "DiscoverImage",
        RealiseError::Major(_) => "InvalidClusterDefinition",
    };
    let note = format!("{}: {}", error.phase(), chain(error));
    Event { kind: Kind::Warning, reason, note, mark: number(round.generation) }
}

fn number(generation: Option<i64>) -> String {
    generation.unwrap_or_default().to_string()
}

fn normal(reason: &'static str, note: String, mark: String) -> Event {
    Event { kind: Kind::Normal, reason, note, mark }
}

#[cfg(test)]
mod tests;
