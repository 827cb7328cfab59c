//! Has a first base backup taken of a cluster that began with the data of another one.
//!
//! Never beside one that somebody asked for, and never another one once there was one.

use super::events::{Event, Kind, publish};
use super::manifests::{Blueprint, labels};
use super::report::ARCHIVING;
use crate::run::Context;
use k8s_openapi::Resource as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use pgherd_api::backup::{Backup, BackupSpec};
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_api::errand::{COMPLETED, Errand as _};
use pgherd_api::schedule::made_name;
use pgherd_api::schedule::planned::Planned;
use pgherd_core::backup::schedule::{self, Last, Step, Why};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum FirstBackupError {
    #[error("knowing which backups there are")]
    Wait(#[source] kube::runtime::reflector::store::WriterDropped),
    #[error("making Backup {name}")]
    Make { name: String, source: kube::Error },
    #[error("making Backup {name}: the API server did not answer within {WITHIN:?}")]
    Late { name: String },
}

/// Makes the object that asks for it, if it is time.
pub(super) async fn keep(
    context: &Context,
    blueprint: &Blueprint<'_>,
    status: &ClusterStatus,
) -> Result<(), FirstBackupError> {
    if !blueprint.checked.is_backed_up_first() {
        return Ok(());
    }
    context.backups.wait_until_ready().await.map_err(FirstBackupError::Wait)?;
    let (cluster, backups) = (blueprint.cluster, context.backups_of(blueprint.cluster));
    let Some(name) = due(cluster, status, &backups, Timestamp::now()) else { return Ok(()) };
    let all: Api<Backup> = Api::namespaced(context.client.clone(), blueprint.namespace);
    let (backup, post) = (backup(cluster, name.clone()), PostParams::default());
    let made = tokio::time::timeout(WITHIN, all.create(&post, &backup)).await;
    match made {
        // What is of this name is of this cluster and this moment.
        Err(_late) => return Err(FirstBackupError::Late { name }),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => return Ok(()),
        Ok(Err(source)) => return Err(FirstBackupError::Make { name, source }),
        Ok(Ok(_made)) => {}
    }
    let note = format!("Taking the first base backup, {name}: without one nothing can be restored");
    let event = Event { kind: Kind::Normal, reason: "FirstBackup", note, mark: String::new() };
    publish(context, cluster, &[event]).await;
    Ok(())
}

/// The name of the one that is due. It is waited for until log is archived.
fn due(
    cluster: &Cluster,
    status: &ClusterStatus,
    backups: &[Arc<Backup>],
    now: Timestamp,
) -> Option<String> {
    let archives = |it: &Condition| it.type_ == ARCHIVING && it.status == "True";
    if !status.conditions.iter().any(archives) {
        return None;
    }
    let born = cluster.metadata.creation_timestamp.as_ref()?.0;
    let made = |backup: &Backup| backup.metadata.creation_timestamp.as_ref().map(|made| made.0);
    // Those of a cluster that had the same name say nothing of this one.
    let own = || backups.iter().filter(|backup| made(backup).is_some_and(|made| made >= born));
    let was_taken = status.first_recoverability_point.is_some()
        || status.last_successful_backup.is_some()
        || own().any(|backup| backup.going().phase.as_deref() == Some(COMPLETED));
    let last = match own().map(|backup| backup.going().is_over()).reduce(|a, b| a && b) {
        _ if was_taken => Last::Succeeded,
        None => Last::None,
        Some(false) => Last::Goes,
        Some(true) => Last::Failed,
    };
    let (plan, newest) = (Planned::first(), own().filter_map(|backup| made(backup)).max());
    let step = schedule::next(&plan.schedule.sight(plan.begins, (newest, now), last))?;
    let Step::Take { due, why } = step else { return None };
    let at = match why {
        // The same for whoever looks again.
        Why::AtOnce => born,
        Why::Due => Timestamp::from_microsecond(due.0).ok()?,
    };
    let cluster = cluster.metadata.name.as_deref().unwrap_or_default();
    Some(made_name(&format!("{cluster}-first"), at))
}

fn backup(cluster: &Cluster, name: String) -> Backup {
    let of = cluster.metadata.name.clone().unwrap_or_default();
    Backup {
        api_version: Backup::API_VERSION.to_owned(),
        kind: Backup::KIND.to_owned(),
        metadata: ObjectMeta {
            name: Some(name),
            namespace: cluster.metadata.namespace.clone(),
            labels: Some(BTreeMap::from([(labels::CLUSTER.to_owned(), of.clone())])),
            ..ObjectMeta::default()
        },
        spec: BackupSpec::of(&of),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures;
    use pgherd_api::errand::FAILED;
    use serde_json::json;

    /// Of a cluster that was made at 11:00:05.
    fn told(status: serde_json::Value, backups: &[(u32, &str)], now: &str) -> Option<String> {
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
            "metadata": {"name": "db", "creationTimestamp": "2026-11-22T11:00:05Z"}, "spec": {},
        }))
        .unwrap();
        let backup = |(second, phase): &(u32, &str)| {
            let mut backup = fixtures::backup("a", *second);
            backup.status = serde_json::from_value(json!({ "phase": phase })).unwrap();
            Arc::new(backup)
        };
        let backups: Vec<_> = backups.iter().map(backup).collect();
        let status = serde_json::from_value(status).unwrap();
        due(&cluster, &status, &backups, now.parse().unwrap())
    }

    fn archives(status: &str) -> serde_json::Value {
        let at = "2026-11-22T11:00:30Z";
        json!({"conditions": [{
            "type": "ContinuousArchiving", "status": status, "reason": "a", "message": "",
            "lastTransitionTime": at,
        }]})
    }

    const SOON: &str = "2026-11-22T11:01:00Z";

    #[test]
    fn it_is_taken_as_soon_as_log_is_archived_and_not_again() {
        let name = || Some("db-first-20261122110005".to_owned());
        assert_eq!(told(archives("True"), &[], SOON), name());
        assert_eq!(told(archives("False"), &[], SOON), None);
        assert_eq!(told(json!({}), &[], SOON), None);
        assert_eq!(told(archives("True"), &[(4, COMPLETED)], SOON), name());
        assert_eq!(told(archives("True"), &[(6, COMPLETED)], SOON), None);
        assert_eq!(told(archives("True"), &[(6, "running")], SOON), None);
        let mut taken = archives("True");
        taken["firstRecoverabilityPoint"] = json!("2026-11-22T11:00:50Z");
        assert_eq!(told(taken, &[], SOON), None);
    }

    #[test]
    fn after_one_that_failed_it_is_tried_again_an_hour_later() {
        let failed = &[(10, FAILED)];
        assert_eq!(told(archives("True"), failed, SOON), None);
        let later = told(archives("True"), failed, "2026-11-22T12:00:10Z");
        assert_eq!(later.as_deref(), Some("db-first-20261122120010"));
        assert_eq!(told(archives("True"), &[(10, FAILED), (20, COMPLETED)], SOON), None);
    }
}
