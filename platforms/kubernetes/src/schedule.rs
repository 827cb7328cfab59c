//! Makes objects, such as Backups, when the objects that schedule them say that one is due.
//!
//! Never two of the same moment: the name of what is made is that of its moment.

use crate::cluster::events::{Event, Kind, publish};
use crate::cluster::manifests::labels;
use crate::errand::Work;
use crate::run::Context;
use crate::stores::Namespaced;
use k8s_openapi::Resource as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::WriterDropped;
use kube::{Api, Resource};
use pgherd_api::errand::Errand;
use pgherd_api::kind::Kind as _;
use pgherd_api::schedule::{Owner, Schedule, ScheduleStatus, Scheduled, made_name, moment};
use pgherd_api::scheduled_backup::ScheduledBackup;
use pgherd_api::scheduled_dump::ScheduledDump;
use pgherd_core::backup::schedule::{self, Last, Sight, Step, Why};
use pgherd_core::units::Moment;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::info;

/// One kind of schedule: by what that which it makes is known, and the reasons of its events.
pub(crate) trait Maker: Scheduled<Made: Work> + Namespaced {
    /// The label with the name of the schedule.
    const OF: &'static str;
    /// The label that says whether it was made at once.
    const AT_ONCE: &'static str;
    const DUE: &'static str;
    const REFUSED: &'static str;
}

impl Maker for ScheduledBackup {
    const OF: &'static str = "cnpg.io/scheduled-backup";
    const AT_ONCE: &'static str = "cnpg.io/immediateBackup";
    const DUE: &'static str = "BackupSchedule";
    const REFUSED: &'static str = "BackupAdoptionRefused";
}

impl Maker for ScheduledDump {
    const OF: &'static str = "pgherd.dev/scheduled-dump";
    const AT_ONCE: &'static str = "pgherd.dev/immediate-dump";
    const DUE: &'static str = "DumpSchedule";
    const REFUSED: &'static str = "DumpAdoptionRefused";
}

/// A clock may jump.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// While the last one has to end, or the cluster has to come.
const LOOK_SOON: Duration = Duration::from_secs(30);
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("knowing what exists")]
    Wait(#[source] WriterDropped),
    #[error("making {name}")]
    Make { name: String, source: kube::Error },
    #[error("reading {name}, which is there already")]
    Read { name: String, source: kube::Error },
    #[error("writing what is scheduled")]
    Write(#[source] kube::Error),
    #[error("{attempt}: the API server did not answer within {WITHIN:?}")]
    Late { attempt: &'static str },
}

/// Makes what is due, if anything is.
pub(crate) async fn reconcile<S: Maker>(
    scheduled: &S,
    context: &Context,
) -> Result<Action, ScheduleError> {
    if scheduled.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    S::Made::store(context).wait_until_ready().await.map_err(ScheduleError::Wait)?;
    context.clusters.wait_until_ready().await.map_err(ScheduleError::Wait)?;
    let before = scheduled.status().cloned().unwrap_or_default();
    let (now, written) = (Timestamp::now(), scheduled.timing().schedule);
    let told = match Schedule::parse(written) {
        Ok(known) => schedule::next(&sight(scheduled, context, &known, now)).map(|it| (known, it)),
        Err(error) => return refuse(scheduled, context, (before, error.to_string())).await,
    };
    let Some((known, step)) = told else {
        let why = format!("{written:?} does not come again");
        return refuse(scheduled, context, (before, why)).await;
    };
    let next = known.after(now);
    match step {
        Step::Rest => Ok(Action::await_change()),
        Step::WaitForLast => Ok(Action::requeue(LOOK_SOON)),
        Step::Wait { until } => Ok(wait(until, now)),
        Step::Note { until } => {
            let said = format!("Scheduled first {} by {}", S::Made::SINGULAR, shown(next));
            note(scheduled, context, (before, said), (now, next)).await?;
            Ok(wait(until, now))
        }
        Step::NoteAnew { until } => {
            let ahead = before.last_check_time.as_ref().map(|checked| checked.0);
            let said = format!(
                "A clock was ahead when the schedule was looked at last, at {}: next {} scheduled \
                 by {}",
                shown(ahead),
                S::Made::SINGULAR,
                shown(next)
            );
            note(scheduled, context, (before, said), (now, next)).await?;
            Ok(wait(until, now))
        }
        Step::Take { due, why } => take(scheduled, context, (before, due, why), (now, next)).await,
    }
}

/// From now on the schedule counts.
async fn note<S: Maker>(
    scheduled: &S,
    context: &Context,
    (before, said): (ScheduleStatus, String),
    (now, next): (Timestamp, Option<Timestamp>),
) -> Result<(), ScheduleError> {
    let noted = ScheduleStatus {
        last_check_time: Some(second(now)),
        next_schedule_time: next.map(second),
        error: None,
        ..before
    };
    tell(scheduled, context, (noted, vec![normal::<S>(said)])).await
}

fn sight<S: Maker>(scheduled: &S, context: &Context, schedule: &Schedule, now: Timestamp) -> Sight {
    let checked = scheduled.status().and_then(|status| status.last_check_time.as_ref());
    let own = S::Made::store(context).state();
    let mut own = own.iter().filter(|made| is_of(&***made, scheduled)).peekable();
    let any = own.peek().is_some();
    let goes = own.any(|made| !made.going().is_over());
    let last = match (any, goes) {
        (_, true) => Last::Goes,
        // How it ended counts only for what is wanted once, and no object says that.
        (true, false) => Last::Succeeded,
        (false, false) => Last::None,
    };
    schedule.sight(scheduled.timing().begins, (checked.map(|checked| checked.0), now), last)
}

fn is_of<S: Maker>(made: &S::Made, scheduled: &S) -> bool {
    let labels = made.meta().labels.as_ref();
    let of = labels.and_then(|labels| labels.get(S::OF));
    made.meta().namespace == scheduled.meta().namespace
        && of.is_some()
        && of == scheduled.meta().name.as_ref()
}

async fn take<S: Maker>(
    scheduled: &S,
    context: &Context,
    (before, due, why): (ScheduleStatus, Moment, Why),
    (now, next): (Timestamp, Option<Timestamp>),
) -> Result<Action, ScheduleError> {
    // The first one is named by the moment at which its schedule was made: it stays the same.
    let made = scheduled.meta().creation_timestamp.as_ref().map(|made| made.0);
    let due = Timestamp::from_microsecond(due.0).unwrap_or(now);
    let at = match why {
        Why::AtOnce => made.unwrap_or(due),
        Why::Due => due,
    };
    let Some(owners) = owners(scheduled, context) else {
        let (cluster, noun) = (scheduled.timing().cluster, S::Made::SINGULAR);
        let why = format!("there is no cluster {cluster} to own {noun}s");
        let waits = ScheduleStatus { error: Some(why), ..before };
        tell(scheduled, context, (waits, vec![])).await?;
        return Ok(Action::requeue(LOOK_SOON));
    };
    let due = scheduled.made(metadata(scheduled, (at, why), owners));
    let mut events = Vec::new();
    let is_ours = make(context, scheduled, &due).await?;
    let (kind, noun) = (S::Made::KIND, S::Made::SINGULAR);
    let name = due.meta().name.clone().unwrap_or_default();
    if is_ours {
        info!(kind, name, "it is due");
        if why == Why::AtOnce {
            events.push(normal::<S>(format!("Scheduled immediate {noun} now: {at}")));
        }
        events.push(normal::<S>(format!("Next {noun} scheduled by {}", shown(next))));
    } else {
        events.push(Event {
            kind: Kind::Warning,
            reason: S::REFUSED,
            note: format!(
                "{kind} {name} is there already and not of this schedule: none is taken for {at}"
            ),
            mark: String::new(),
        });
    }
    let last = before.last_schedule_time.clone();
    let taken = ScheduleStatus {
        last_check_time: Some(second(now)),
        last_schedule_time: if is_ours { Some(second(at)) } else { last },
        next_schedule_time: next.map(second),
        error: None,
    };
    tell(scheduled, context, (taken, events)).await?;
    Ok(next.map_or_else(Action::await_change, |next| wait(moment(next), now)))
}

/// None: it is to be the cluster, and that does not exist.
fn owners<S: Maker>(scheduled: &S, context: &Context) -> Option<Vec<OwnerReference>> {
    let timing = scheduled.timing();
    match timing.owner {
        Owner::None => Some(Vec::new()),
        Owner::Schedule => Some(vec![scheduled.controller_owner_ref(&())?]),
        Owner::Cluster => {
            let namespace = scheduled.meta().namespace.as_deref().unwrap_or_default();
            let named = ObjectRef::new(timing.cluster).within(namespace);
            let owner = context.clusters.get(&named)?.controller_owner_ref(&())?;
            // Who deletes the cluster and waits, waits for it as for all that is the cluster's.
            Some(vec![OwnerReference { block_owner_deletion: Some(true), ..owner }])
        }
    }
}

fn metadata<S: Maker>(
    scheduled: &S,
    (at, why): (Timestamp, Why),
    owners: Vec<OwnerReference>,
) -> ObjectMeta {
    let schedule = scheduled.meta().name.clone().unwrap_or_default();
    let at_once = match why {
        Why::AtOnce => "true",
        Why::Due => "false",
    };
    let labels = [
        (labels::CLUSTER, scheduled.timing().cluster.to_owned()),
        (S::AT_ONCE, at_once.to_owned()),
        (S::OF, schedule.clone()),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value));
    ObjectMeta {
        name: Some(made_name(&schedule, at)),
        namespace: scheduled.meta().namespace.clone(),
        labels: Some(BTreeMap::from(labels)),
        owner_references: (!owners.is_empty()).then_some(owners),
        ..ObjectMeta::default()
    }
}

/// Whether it exists now and is of this schedule.
async fn make<S: Maker>(
    context: &Context,
    scheduled: &S,
    due: &S::Made,
) -> Result<bool, ScheduleError> {
    let namespace = scheduled.meta().namespace.as_deref().unwrap_or_default();
    let all: Api<S::Made> = Api::namespaced(context.client.clone(), namespace);
    let name = due.meta().name.clone().unwrap_or_default();
    let post = PostParams::default();
    let made = tokio::time::timeout(WITHIN, all.create(&post, due)).await;
    match made.map_err(|_late| ScheduleError::Late { attempt: "making what is due" })? {
        Ok(_made) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let found = tokio::time::timeout(WITHIN, all.get(&name)).await;
            let found =
                found.map_err(|_late| ScheduleError::Late { attempt: "reading what is due" })?;
            found
                .map(|found| is_of(&found, scheduled))
                .map_err(|source| ScheduleError::Read { name, source })
        }
        Err(source) => Err(ScheduleError::Make { name, source }),
    }
}

async fn refuse<S: Maker>(
    scheduled: &S,
    context: &Context,
    (before, why): (ScheduleStatus, String),
) -> Result<Action, ScheduleError> {
    let event =
        Event { kind: Kind::Warning, reason: "NoSchedule", note: why.clone(), mark: String::new() };
    let refused = ScheduleStatus { error: Some(why), next_schedule_time: None, ..before };
    tell(scheduled, context, (refused, vec![event])).await?;
    Ok(Action::await_change())
}

async fn tell<S: Maker>(
    scheduled: &S,
    context: &Context,
    (status, events): (ScheduleStatus, Vec<Event>),
) -> Result<(), ScheduleError> {
    if scheduled.status() != Some(&status) {
        let namespace = scheduled.meta().namespace.as_deref().unwrap_or_default();
        let name = scheduled.meta().name.as_deref().unwrap_or_default();
        let all: Api<S> = Api::namespaced(context.client.clone(), namespace);
        let version = &scheduled.meta().resource_version;
        let whole = json!({
            "apiVersion": S::API_VERSION, "kind": S::KIND,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
            "status": status,
        });
        let (by, patch) = (PatchParams::apply("pgherd-status").force(), Patch::Apply(&whole));
        let written = tokio::time::timeout(WITHIN, all.patch_status(name, &by, &patch)).await;
        let written = written
            .map_err(|_late| ScheduleError::Late { attempt: "writing what is scheduled" })?;
        written.map(drop).map_err(ScheduleError::Write)?;
    }
    publish(context, scheduled, &events).await;
    Ok(())
}

fn normal<S: Maker>(note: String) -> Event {
    Event { kind: Kind::Normal, reason: S::DUE, note, mark: String::new() }
}

/// As Kubernetes keeps it.
fn second(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn shown(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "nothing".to_owned(), |at| at.to_string())
}

fn wait(until: Moment, now: Timestamp) -> Action {
    let left = SignedDuration::from_micros(until.0.saturating_sub(now.as_microsecond()));
    let left = Duration::try_from(left).unwrap_or_default();
    // Not a moment before it is due.
    Action::requeue((left + Duration::from_millis(1)).min(LOOK_AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_backup_is_named_by_its_moment_and_knows_its_schedule() {
        let scheduled: ScheduledBackup = serde_json::from_value(json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "ScheduledBackup",
            "metadata": {
                "name": "nightly", "namespace": "shop", "uid": "5f2c",
                "annotations": {"pgherd.dev/backupMode": "incremental", "other": "no"},
            },
            "spec": {
                "schedule": "0 0 3 * * *", "cluster": {"name": "db"}, "target": "primary",
                "backupOwnerReference": "self",
            },
        }))
        .unwrap();
        let at = "2026-11-29T03:00:00Z".parse().unwrap();
        let owner = scheduled.controller_owner_ref(&()).unwrap();
        let made = scheduled.made(metadata(&scheduled, (at, Why::Due), vec![owner]));
        assert!(is_of(&made, &scheduled));
        expect![[r#"
            {
              "apiVersion": "postgresql.cnpg.io/v1",
              "kind": "Backup",
              "metadata": {
                "annotations": {
                  "pgherd.dev/backupMode": "incremental"
                },
                "labels": {
                  "cnpg.io/cluster": "db",
                  "cnpg.io/immediateBackup": "false",
                  "cnpg.io/scheduled-backup": "nightly"
                },
                "name": "nightly-20261129030000",
                "namespace": "shop",
                "ownerReferences": [
                  {
                    "apiVersion": "postgresql.cnpg.io/v1",
                    "controller": true,
                    "kind": "ScheduledBackup",
                    "name": "nightly",
                    "uid": "5f2c"
                  }
                ]
              },
              "spec": {
                "cluster": {
                  "name": "db"
                },
                "method": "barmanObjectStore",
                "target": "primary"
              }
            }
        "#]]
        .assert_eq(&(serde_json::to_string_pretty(&made).unwrap() + "\n"));
    }

    #[test]
    fn a_scheduled_dump_is_of_the_databases_that_its_schedule_names() {
        let scheduled: ScheduledDump = serde_json::from_value(json!({
            "apiVersion": "pgherd.dev/v1alpha1", "kind": "ScheduledDump",
            "metadata": {"name": "weekly", "namespace": "shop", "uid": "5f2c"},
            "spec": {
                "schedule": "0 0 4 * * 0", "cluster": {"name": "db"}, "databases": ["app"],
                "format": "directory", "jobs": 4, "retentionPolicy": "8",
            },
        }))
        .unwrap();
        let at = "2026-11-29T04:00:00Z".parse().unwrap();
        let made = scheduled.made(metadata(&scheduled, (at, Why::AtOnce), vec![]));
        assert!(is_of(&made, &scheduled));
        expect![[r#"
            {
              "apiVersion": "pgherd.dev/v1alpha1",
              "kind": "Dump",
              "metadata": {
                "labels": {
                  "cnpg.io/cluster": "db",
                  "pgherd.dev/immediate-dump": "true",
                  "pgherd.dev/scheduled-dump": "weekly"
                },
                "name": "weekly-20261129040000",
                "namespace": "shop"
              },
              "spec": {
                "cluster": {
                  "name": "db"
                },
                "databases": [
                  "app"
                ],
                "format": "directory",
                "jobs": 4,
                "rolePasswords": "kept",
                "retentionPolicy": "8"
              }
            }
        "#]]
        .assert_eq(&(serde_json::to_string_pretty(&made).unwrap() + "\n"));
    }
}
