//! Finds the archive behind the Backup object that a new cluster is to begin with.
//!
//! Never forgets it once the cluster has begun: the Backup may be deleted then, and no pod is made
//! otherwise for it.

use super::manifests::specification;
use crate::run::Context;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::ObjectRef;
use pgherd_api::backup::{Backup, BackupMethod, BackupStatus};
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::external::ExternalCluster;
use pgherd_api::cluster::object_store::BarmanObjectStore;
use pgherd_api::errand::{COMPLETED, Told};
use pgherd_core::names::ClusterName;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Before the name of a Backup it is a name that no entry of `externalClusters` has.
const PREFIX: &str = "backup/";

/// What is kept of a Backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Origin {
    /// The name of the Backup.
    backup: String,
    /// Its id in the archive.
    id: Option<String>,
    store: BarmanObjectStore,
}

/// The cluster as if it named the archive itself, or why it cannot begin yet.
pub(super) fn resolved<'a>(
    context: &Context,
    cluster: &'a Cluster,
) -> Result<Cow<'a, Cluster>, String> {
    let Some(name) = named(cluster) else { return Ok(Cow::Borrowed(cluster)) };
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(kept) = kept(context, cluster, namespace).filter(|kept| kept.backup == name) {
        return Ok(Cow::Owned(with(cluster, &kept)));
    }
    let found = context.backups.get(&ObjectRef::new(name).within(namespace));
    match origin(name, found.as_deref()) {
        Ok(origin) => Ok(Cow::Owned(with(cluster, &origin))),
        // It has begun, and how is over.
        Err(_) if has_begun(cluster) => Ok(Cow::Owned(without(cluster))),
        Err(why) => {
            Err(format!("Backup {name}, which spec.bootstrap.recovery.backup names, {why}"))
        }
    }
}

/// Whether a Backup is named.
pub(super) fn is_named(cluster: &Cluster) -> bool {
    named(cluster).is_some()
}

/// The same for who is not concerned with how it begins.
pub(crate) fn ignored(cluster: &Cluster) -> Cow<'_, Cluster> {
    match named(cluster) {
        Some(_) => Cow::Owned(without(cluster)),
        None => Cow::Borrowed(cluster),
    }
}

/// What is to be kept, if the cluster begins with a Backup.
pub(super) fn to_keep(resolved: &Cluster) -> Option<Origin> {
    let recovery = resolved.spec.bootstrap.as_ref()?.recovery.as_ref()?;
    let backup = recovery.source.as_ref()?.strip_prefix(PREFIX)?.to_owned();
    let (_, store) = resolved.recovered_archive()?;
    let id = recovery.recovery_target.as_ref().and_then(|target| target.backup_id.clone());
    Some(Origin { backup, id, store: store.clone() })
}

fn named(cluster: &Cluster) -> Option<&str> {
    let recovery = cluster.spec.bootstrap.as_ref()?.recovery.as_ref()?;
    Some(&recovery.backup.as_ref()?.name)
}

fn has_begun(cluster: &Cluster) -> bool {
    cluster.status.as_ref().is_some_and(|status| status.system_id.is_some())
}

fn kept(context: &Context, cluster: &Cluster, namespace: &str) -> Option<Origin> {
    let name = ClusterName::parse(cluster.metadata.name.as_deref()?).ok()?;
    let map = context.stores.get::<ConfigMap>(namespace, &specification::name(&name))?;
    specification::origin(&map)
}

fn origin(name: &str, backup: Option<&Backup>) -> Result<Origin, String> {
    let goes_on = "and the cluster goes on by itself";
    let Some(backup) = backup else {
        return Err(format!("does not exist: create or name another one, {goes_on}"));
    };
    let nothing = BackupStatus::default();
    let status = backup.status.as_ref().unwrap_or(&nothing);
    if backup.spec.method != BackupMethod::BarmanObjectStore {
        return Err("is not in an object store, and nothing else is restored yet".to_owned());
    }
    if status.phase.as_deref() != Some(COMPLETED) {
        return Err(if status.going().is_over() {
            format!("has failed: name one that is completed, {goes_on}")
        } else {
            "is not completed yet: when it is, the cluster goes on by itself".to_owned()
        });
    }
    let Some(destination_path) = status.destination_path.clone() else {
        return Err("does not say where it lies: name its archive in externalClusters".to_owned());
    };
    let store = BarmanObjectStore {
        destination_path,
        endpoint_url: status.endpoint_url.clone(),
        endpoint_ca: status.endpoint_ca.clone(),
        s3_credentials: status.s3_credentials.clone(),
        azure_credentials: status.azure_credentials.clone(),
        google_credentials: status.google_credentials.clone(),
        server_name: Some(
            status.server_name.clone().unwrap_or_else(|| backup.spec.cluster.name.clone()),
        ),
        data: None,
        wal: None,
        tags: BTreeMap::new(),
        history_tags: BTreeMap::new(),
    };
    Ok(Origin { backup: name.to_owned(), id: status.backup_id.clone(), store })
}

fn with(cluster: &Cluster, origin: &Origin) -> Cluster {
    let mut cluster = cluster.clone();
    let name = format!("{PREFIX}{}", origin.backup);
    if let Some(recovery) = cluster.spec.bootstrap.as_mut().and_then(|it| it.recovery.as_mut()) {
        let given = recovery.backup.take();
        recovery.source = Some(name.clone());
        let target = recovery.recovery_target.get_or_insert_default();
        if target.backup_id.as_ref().is_none_or(String::is_empty) {
            target.backup_id.clone_from(&origin.id);
        }
        let mut store = origin.store.clone();
        store.endpoint_ca = given.and_then(|given| given.endpoint_ca).or(store.endpoint_ca);
        cluster.spec.external_clusters.push(ExternalCluster::of_archive(name, store));
    }
    cluster
}

fn without(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.spec.bootstrap = None;
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::backup;
    use crate::cluster::acted;
    use expect_test::expect;
    use serde_json::json;

    fn cluster(target: &str) -> Cluster {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: new}}, spec: \
             {{bootstrap: {{recovery: {{backup: {{name: a}}, recoveryTarget: {{{target}}}}}}}}}}}"
        );
        Cluster::from_yaml(&text).unwrap().0
    }

    fn completed() -> Backup {
        let mut backup = backup("a", 1);
        let key = |key: &str| json!({"name": "store", "key": key});
        backup.status = serde_json::from_value(json!({
            "phase": "completed", "backupId": "20261122T112233", "destinationPath": "s3://b",
            "serverName": "db", "endpointURL": "https://s3.example",
            "s3Credentials": {"accessKeyId": key("id"), "secretAccessKey": key("key")},
        }))
        .unwrap();
        backup
    }

    #[test]
    fn a_backup_stands_for_its_archive_and_is_begun_with() {
        let known = origin("a", Some(&completed())).unwrap();
        let resolved = with(&cluster("targetTime: '2026-11-22T14:31:00Z'"), &known);
        assert_eq!(to_keep(&resolved), Some(known));
        let (checked, _) = resolved.checked().and_then(acted::refuse).unwrap();
        let told = checked.postgres.recovery.unwrap();
        expect![[r#"
            {
              "name": "backup/a",
              "source": {
                "destination": "s3://b",
                "endpoint": "https://s3.example",
                "server": "db",
                "identity": "s3Keys",
                "files": [
                  "accessKeyId",
                  "secretAccessKey"
                ],
                "compression": null,
                "encryption": null,
                "atOnce": 1,
                "stream": null,
                "data": {
                  "compression": null,
                  "encryption": null,
                  "atOnce": 2,
                  "immediateCheckpoint": false
                },
                "retention": null
              },
              "target": {
                "time": "2026-11-22T14:31:00Z"
              },
              "exclusive": false,
              "timeline": null,
              "backup": "20261122T112233"
            }
        "#]]
        .assert_eq(&(serde_json::to_string_pretty(&told).unwrap() + "\n"));
    }

    #[test]
    fn a_backup_that_is_named_by_hand_stays() {
        let known = origin("a", Some(&completed())).unwrap();
        let resolved = with(&cluster("backupID: 20250101T000000"), &known);
        let (checked, _) = resolved.checked().unwrap();
        assert_eq!(checked.postgres.recovery.unwrap().backup.as_deref(), Some("20250101T000000"));
    }

    #[test]
    fn why_a_backup_cannot_be_begun_with_is_told() {
        let (mut failed, mut snapshot) = (backup("a", 1), backup("a", 1));
        failed.status.get_or_insert_default().phase = Some("failed".to_owned());
        snapshot.spec.method = BackupMethod::VolumeSnapshot;
        let told = [None, Some(&backup("a", 1)), Some(&failed), Some(&snapshot)]
            .map(|backup| origin("a", backup).unwrap_err() + "\n");
        expect![[r#"
            does not exist: create or name another one, and the cluster goes on by itself
            is not completed yet: when it is, the cluster goes on by itself
            has failed: name one that is completed, and the cluster goes on by itself
            is not in an object store, and nothing else is restored yet
        "#]]
        .assert_eq(&told.concat());
    }
}
