//! Makes Backup objects when ScheduledBackup objects say that one is due.
//!
//! Never two of the same moment: a Backup's name is that of its moment.

use crate::cluster::events::{Event, Kind, publish};
use crate::cluster::manifests::labels;
use crate::run::Context;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::WriterDropped;
use kube::{Api, Resource};
use pgherd_api::backup::{Backup, BackupSpec, mode};
use pgherd_api::scheduled_backup::{BackupOwner, Schedule, ScheduledBackup, ScheduledBackupStatus};
use pgherd_core::backup::schedule::{self, Last, Sight, Step, Why, Wish};
use pgherd_core::units::Moment;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::info;

/// The label with the name of the ScheduledBackup.
const OF: &str = "cnpg.io/scheduled-backup";
/// The label that says whether it was taken at once.
const AT_ONCE: &str = "cnpg.io/immediateBackup";
/// A clock may jump.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// While the last one has to end, or the cluster has to come.
const LOOK_SOON: Duration = Duration::from_secs(30);
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("knowing what exists")]
    Wait(#[source] WriterDropped),
    #[error("making backup {name}")]
    Make { name: String, source: kube::Error },
    #[error("reading backup {name}, which is there already")]
    Read { name: String, source: kube::Error },
    #[error("writing what is scheduled")]
    Write(#[source] kube::Error),
    #[error("{attempt}: the API server did not answer within {WITHIN:?}")]
    Late { attempt: &'static str },
}

/// Makes the backup that is due, if one is.
pub async fn reconcile(
    scheduled: &ScheduledBackup,
    context: &Context,
) -> Result<Action, ScheduleError> {
    if scheduled.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    context.backups.wait_until_ready().await.map_err(ScheduleError::Wait)?;
    context.clusters.wait_until_ready().await.map_err(ScheduleError::Wait)?;
    let before = scheduled.status.clone().unwrap_or_default();
    let now = Timestamp::now();
    let told = match scheduled.schedule() {
        Ok(known) => schedule::next(&sight(scheduled, context, &known, now)).map(|it| (known, it)),
        Err(error) => return refuse(scheduled, context, (before, error.to_string())).await,
    };
    let Some((known, step)) = told else {
        let why = format!("{:?} does not come again", scheduled.spec.schedule);
        return refuse(scheduled, context, (before, why)).await;
    };
    let next = known.after(now);
    match step {
        Step::Rest => Ok(Action::await_change()),
        Step::WaitForLast => Ok(Action::requeue(LOOK_SOON)),
        Step::Wait { until } => Ok(wait(until, now)),
        Step::Note { until } => {
            let note = format!("Scheduled first backup by {}", shown(next));
            let noted = ScheduledBackupStatus {
                last_check_time: Some(second(now)),
                next_schedule_time: next.map(second),
                error: None,
                ..before
            };
            tell(scheduled, context, (noted, vec![normal(note)])).await?;
            Ok(wait(until, now))
        }
        Step::Take { due, why } => take(scheduled, context, (before, due, why), (now, next)).await,
    }
}

fn sight(
    scheduled: &ScheduledBackup,
    context: &Context,
    schedule: &Schedule,
    now: Timestamp,
) -> Sight {
    let spec = &scheduled.spec;
    let checked = scheduled.status.as_ref().and_then(|status| status.last_check_time.as_ref());
    let is = |flag: Option<bool>| flag.unwrap_or_default();
    let own = context.backups.state();
    let mut own = own.iter().filter(|backup| is_of(backup, scheduled)).peekable();
    let any = own.peek().is_some();
    let goes = own.any(|backup| !backup.status.as_ref().is_some_and(crate::backup::is_over));
    Sight {
        now: moment(now),
        wish: match (is(spec.suspend), is(spec.immediate)) {
            (true, _) => Wish::Suspended,
            (false, true) => Wish::AtOnceAndScheduled,
            (false, false) => Wish::Scheduled,
        },
        checked: checked.map(|checked| moment(checked.0)),
        due: checked.and_then(|checked| schedule.after(checked.0)).map(moment),
        next: schedule.after(now).map(moment),
        last: match (any, goes) {
            (_, true) => Last::Goes,
            (true, false) => Last::Over,
            (false, false) => Last::None,
        },
    }
}

fn is_of(backup: &Backup, scheduled: &ScheduledBackup) -> bool {
    let labels = backup.metadata.labels.as_ref();
    let of = labels.and_then(|labels| labels.get(OF));
    backup.metadata.namespace == scheduled.metadata.namespace
        && of.is_some()
        && of == scheduled.metadata.name.as_ref()
}

async fn take(
    scheduled: &ScheduledBackup,
    context: &Context,
    (before, due, why): (ScheduledBackupStatus, Moment, Why),
    (now, next): (Timestamp, Option<Timestamp>),
) -> Result<Action, ScheduleError> {
    // The first one is named by the moment at which its schedule was made: it stays the same.
    let made = scheduled.metadata.creation_timestamp.as_ref().map(|made| made.0);
    let due = Timestamp::from_microsecond(due.0).unwrap_or(now);
    let at = match why {
        Why::AtOnce => made.unwrap_or(due),
        Why::Due => due,
    };
    let Some(owners) = owners(scheduled, context) else {
        let why = format!("there is no cluster {} to own backups", scheduled.spec.cluster.name);
        let waits = ScheduledBackupStatus { error: Some(why), ..before };
        tell(scheduled, context, (waits, vec![])).await?;
        return Ok(Action::requeue(LOOK_SOON));
    };
    let backup = backup(scheduled, (at, why), owners);
    let mut events = Vec::new();
    let is_ours = make(context, scheduled, &backup).await?;
    let name = backup.metadata.name.clone().unwrap_or_default();
    if is_ours {
        info!(backup = name, "a backup is due");
        if why == Why::AtOnce {
            events.push(normal(format!("Scheduled immediate backup now: {at}")));
        }
        events.push(normal(format!("Next backup scheduled by {}", shown(next))));
    } else {
        events.push(Event {
            kind: Kind::Warning,
            reason: "BackupAdoptionRefused",
            note: format!(
                "Backup {name} is there already and not of this schedule: none is taken for {at}"
            ),
            mark: String::new(),
        });
    }
    let last = before.last_schedule_time.clone();
    let taken = ScheduledBackupStatus {
        last_check_time: Some(second(now)),
        last_schedule_time: if is_ours { Some(second(at)) } else { last },
        next_schedule_time: next.map(second),
        error: None,
    };
    tell(scheduled, context, (taken, events)).await?;
    Ok(next.map_or_else(Action::await_change, |next| wait(moment(next), now)))
}

/// None: it is to be the cluster, and that does not exist.
fn owners(scheduled: &ScheduledBackup, context: &Context) -> Option<Vec<OwnerReference>> {
    match scheduled.spec.backup_owner_reference {
        BackupOwner::None => Some(Vec::new()),
        BackupOwner::ScheduledBackup => Some(vec![scheduled.controller_owner_ref(&())?]),
        BackupOwner::Cluster => {
            let namespace = scheduled.metadata.namespace.as_deref().unwrap_or_default();
            let named = ObjectRef::new(&scheduled.spec.cluster.name).within(namespace);
            Some(vec![context.clusters.get(&named)?.controller_owner_ref(&())?])
        }
    }
}

fn backup(
    scheduled: &ScheduledBackup,
    (at, why): (Timestamp, Why),
    owners: Vec<OwnerReference>,
) -> Backup {
    let (spec, metadata) = (&scheduled.spec, &scheduled.metadata);
    let schedule = metadata.name.clone().unwrap_or_default();
    let at_once = match why {
        Why::AtOnce => "true",
        Why::Due => "false",
    };
    let labels = [
        (labels::CLUSTER, spec.cluster.name.clone()),
        (AT_ONCE, at_once.to_owned()),
        (OF, schedule.clone()),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value));
    Backup {
        api_version: Backup::api_version(&()).into_owned(),
        kind: Backup::kind(&()).into_owned(),
        metadata: ObjectMeta {
            name: Some(format!("{schedule}-{}", at.strftime("%Y%m%d%H%M%S"))),
            namespace: metadata.namespace.clone(),
            labels: Some(BTreeMap::from(labels)),
            annotations: handed_on(metadata),
            owner_references: (!owners.is_empty()).then_some(owners),
            ..ObjectMeta::default()
        },
        spec: BackupSpec {
            cluster: spec.cluster.clone(),
            method: spec.method,
            target: spec.target,
            online: spec.online,
            online_configuration: spec.online_configuration.clone(),
            plugin_configuration: spec.plugin_configuration.clone(),
        },
        status: None,
    }
}

/// What the schedule says of how its backups are taken.
fn handed_on(schedule: &ObjectMeta) -> Option<BTreeMap<String, String>> {
    let said = |name: &str| {
        let value = schedule.annotations.as_ref()?.get(name)?;
        Some((name.to_owned(), value.clone()))
    };
    let all: BTreeMap<_, _> =
        [mode::BACKUP_MODE, mode::FULL_EVERY].into_iter().filter_map(said).collect();
    (!all.is_empty()).then_some(all)
}

/// Whether it exists now and is of this schedule.
async fn make(
    context: &Context,
    scheduled: &ScheduledBackup,
    backup: &Backup,
) -> Result<bool, ScheduleError> {
    let namespace = scheduled.metadata.namespace.as_deref().unwrap_or_default();
    let backups: Api<Backup> = Api::namespaced(context.client.clone(), namespace);
    let name = backup.metadata.name.clone().unwrap_or_default();
    let post = PostParams::default();
    let made = tokio::time::timeout(WITHIN, backups.create(&post, backup)).await;
    match made.map_err(|_late| ScheduleError::Late { attempt: "making a backup" })? {
        Ok(_made) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let found = tokio::time::timeout(WITHIN, backups.get(&name)).await;
            let found =
                found.map_err(|_late| ScheduleError::Late { attempt: "reading a backup" })?;
            found
                .map(|found| is_of(&found, scheduled))
                .map_err(|source| ScheduleError::Read { name, source })
        }
        Err(source) => Err(ScheduleError::Make { name, source }),
    }
}

async fn refuse(
    scheduled: &ScheduledBackup,
    context: &Context,
    (before, why): (ScheduledBackupStatus, String),
) -> Result<Action, ScheduleError> {
    let event =
        Event { kind: Kind::Warning, reason: "NoSchedule", note: why.clone(), mark: String::new() };
    let refused = ScheduledBackupStatus { error: Some(why), next_schedule_time: None, ..before };
    tell(scheduled, context, (refused, vec![event])).await?;
    Ok(Action::await_change())
}

async fn tell(
    scheduled: &ScheduledBackup,
    context: &Context,
    (status, events): (ScheduledBackupStatus, Vec<Event>),
) -> Result<(), ScheduleError> {
    if scheduled.status.as_ref() != Some(&status) {
        let namespace = scheduled.metadata.namespace.as_deref().unwrap_or_default();
        let name = scheduled.metadata.name.as_deref().unwrap_or_default();
        let all: Api<ScheduledBackup> = Api::namespaced(context.client.clone(), namespace);
        let version = &scheduled.metadata.resource_version;
        let whole = json!({
            "apiVersion": scheduled.api_version, "kind": scheduled.kind,
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

fn normal(note: String) -> Event {
    Event { kind: Kind::Normal, reason: "BackupSchedule", note, mark: String::new() }
}

fn moment(at: Timestamp) -> Moment {
    Moment(at.as_microsecond())
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
        let made = backup(&scheduled, (at, Why::Due), vec![owner]);
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
}
