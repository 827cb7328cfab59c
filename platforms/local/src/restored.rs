//! Makes the manifest of a cluster that begins with a backup of another one.
//!
//! Never lets the new one write to where the other one's log lies.

use crate::built_in::{Backups, is_built_in, nightly};
use crate::failure::{Failure, Kind};
use crate::folder::ClusterFolder;
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::annotations::{REPOSITORY_KEY, SOURCE_REPOSITORY_KEY};
use pgherd_api::cluster::bootstrap::{Bootstrap, PgBaseBackup, Recovery, RecoveryTarget};
use pgherd_api::cluster::external::ExternalCluster;
use pgherd_api::cluster::spec::ClusterSpec;
use pgherd_core::names::ClusterName;
use serde_json::Value;

/// The same cluster under another name, from a backup up to this target. Secrets come along.
pub fn manifest(
    source: &str,
    (from, new): (&ClusterFolder, &ClusterFolder),
    target: RecoveryTarget,
    instances: Option<u32>,
) -> Result<String, Failure> {
    let failed = |why: String| Failure::new(Kind::Failed, why);
    let (cluster, _) = Cluster::from_yaml(source).map_err(|error| failed(error.to_string()))?;
    let mut restored = restored(cluster, new.name(), target, instances)?;
    keep_apart(&mut restored, from, new);
    let text = serde_json::to_string_pretty(&trimmed(&restored)?);
    let text = text.map_err(|error| failed(error.to_string()))?;
    let secrets = secrets(source).map(|secret| format!("\n---\n{secret}"));
    Ok(text + &secrets.collect::<String>() + "\n" + &schedule(source, new))
}

/// The same as a copy of a server that runs, with the Secret that opens it.
pub fn copied_manifest(
    source: &str,
    (from, new): (&ClusterFolder, &ClusterFolder),
    (server, secret): (ExternalCluster, &Value),
    instances: Option<u32>,
) -> Result<String, Failure> {
    let failed = |why: String| Failure::new(Kind::Failed, why);
    let (cluster, _) = Cluster::from_yaml(source).map_err(|error| failed(error.to_string()))?;
    let mut copied = copied(cluster, new.name(), server, instances);
    keep_apart(&mut copied, from, new);
    let text = serde_json::to_string_pretty(&trimmed(&copied)?);
    let text = text.map_err(|error| failed(error.to_string()))?;
    let secrets = secrets(source).chain([secret.to_string()]);
    let secrets = secrets.map(|secret| format!("\n---\n{secret}"));
    Ok(text + &secrets.collect::<String>() + "\n" + &schedule(source, new))
}

/// Whoever gave no manifest wrote no schedule, and goes on without one of his own.
fn schedule(source: &str, new: &ClusterFolder) -> String {
    let is_kept = is_built_in(source) && Backups::of(source) == Backups::Kept;
    if is_kept { nightly(new.name()) } else { String::new() }
}

/// What lies in the folder of the old one goes with it: the new one has a folder of its own.
fn keep_apart(cluster: &mut Cluster, from: &ClusterFolder, new: &ClusterFolder) {
    let backup = cluster.spec.backup.as_mut();
    let store = backup.and_then(|backup| backup.barman_object_store.as_mut());
    let own = new.repository();
    if let (Some(store), Some(own)) = (store, own.to_str())
        && from.keeps(&store.destination_path)
    {
        own.clone_into(&mut store.destination_path);
    }
}

/// The same as an object.
pub fn restored(
    mut cluster: Cluster,
    new: &ClusterName,
    target: RecoveryTarget,
    instances: Option<u32>,
) -> Result<Cluster, Failure> {
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let Some((_, store)) = cluster.archive() else {
        return Err(Failure::new(
            Kind::Refused,
            format!("cluster {name} has no archive to restore from"),
        ));
    };
    let mut theirs = store.clone();
    theirs.server_name.get_or_insert_with(|| name.clone());
    // How it is written does not matter to who only reads.
    (theirs.data, theirs.wal) = (None, None);
    theirs.tags.clear();
    theirs.history_tags.clear();
    let (database, owner) = application(&cluster.spec.bootstrap.take().unwrap_or_default());
    cluster.spec.bootstrap = Some(Bootstrap {
        recovery: Some(Recovery {
            source: Some(name.clone()),
            recovery_target: Some(target),
            database,
            owner,
            ..Recovery::default()
        }),
        ..Bootstrap::default()
    });
    cluster.spec.external_clusters = vec![ExternalCluster::of_archive(name, theirs)];
    rename(&mut cluster, new, (instances, &[REPOSITORY_KEY, SOURCE_REPOSITORY_KEY]));
    Ok(cluster)
}

/// The same cluster under another name, as a copy of a server that runs.
pub fn copied(
    mut cluster: Cluster,
    new: &ClusterName,
    source: ExternalCluster,
    instances: Option<u32>,
) -> Cluster {
    let (database, owner) = application(&cluster.spec.bootstrap.take().unwrap_or_default());
    let copy = PgBaseBackup { source: source.name.clone(), database, owner, secret: None };
    cluster.spec.bootstrap = Some(Bootstrap { pg_basebackup: Some(copy), ..Bootstrap::default() });
    cluster.spec.external_clusters = vec![source];
    rename(&mut cluster, new, (instances, &[REPOSITORY_KEY]));
    cluster
}

/// What was asked of the old one by annotations does not concern the new one, but for these that name
/// its key: the copy of what was encrypted is.
fn rename(cluster: &mut Cluster, new: &ClusterName, (instances, keys): (Option<u32>, &[&str])) {
    let backup = cluster.spec.backup.as_mut();
    if let Some(store) = backup.and_then(|backup| backup.barman_object_store.as_mut()) {
        store.server_name = Some(new.to_string());
    }
    if let Some(instances) = instances {
        cluster.spec.instances = instances.into();
    }
    if instances == Some(1) {
        // There is no standby that could confirm commits.
        cluster.spec.postgresql.synchronous = None;
        (cluster.spec.min_sync_replicas, cluster.spec.max_sync_replicas) = (0, 0);
    }
    let before = std::mem::take(&mut cluster.metadata).annotations.unwrap_or_default();
    if let Some(key) = before.get(REPOSITORY_KEY) {
        let kept = keys.iter().map(|name| ((*name).to_owned(), key.clone()));
        cluster.metadata.annotations = Some(kept.collect());
    }
    cluster.metadata.name = Some(new.to_string());
    cluster.status = None;
    leave_out_what_is_named(&mut cluster.spec);
}

/// What is one cluster's by its name: certificates name its services, and no two Services have one
/// name. Nor does a copy follow whom the old one followed.
fn leave_out_what_is_named(spec: &mut ClusterSpec) {
    (spec.certificates, spec.replica) = (None, None);
    if let Some(services) = spec.managed.as_mut().and_then(|managed| managed.services.as_mut()) {
        services.additional.clear();
    }
}

/// Only what differs from a manifest without wishes: who reads it is not told of anything else.
pub fn trimmed(cluster: &Cluster) -> Result<Value, Failure> {
    let value = |value: serde_json::Result<Value>| {
        value.map_err(|error| Failure::from_error(Kind::Failed, &error))
    };
    let mut written = value(serde_json::to_value(cluster))?;
    let usual = value(serde_json::to_value(ClusterSpec::default()))?;
    if let Some(spec) = written.get_mut("spec") {
        without(spec, &usual);
    }
    Ok(written)
}

fn without(written: &mut Value, usual: &Value) {
    let (Value::Object(written), Value::Object(usual)) = (written, usual) else { return };
    written.retain(|name, value| usual.get(name) != Some(value));
    for (name, value) in written.iter_mut() {
        if let Some(usual) = usual.get(name) {
            without(value, usual);
        }
    }
}

/// What applications found there.
fn application(before: &Bootstrap) -> (Option<String>, Option<String>) {
    let initdb = before.initdb.as_ref().map(|it| (it.database.clone(), it.owner.clone()));
    let copy = before.pg_basebackup.as_ref().map(|it| (it.database.clone(), it.owner.clone()));
    let restored = before.recovery.as_ref().map(|it| (it.database.clone(), it.owner.clone()));
    initdb.or(copy).or(restored).unwrap_or_default()
}

/// The documents that are Secrets, as they are.
fn secrets(text: &str) -> impl Iterator<Item = String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let is_secret = |document: &String| {
        let plain = document.replace([' ', '"', '\''], "");
        plain.contains("kind:Secret")
    };
    documents.into_iter().filter(is_secret).map(|document| document.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in::built_in;
    use crate::folder::Home;
    use crate::manifest::understand;
    use pgherd_api::agent::RecoveryTarget as Told;
    use pgherd_api::schedule::planned::Planned;

    const SOURCE: &str = "apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: shop, annotations: {cnpg.io/hibernation: 'on'}}
spec:
  instances: 3
  postgresql: {synchronous: {method: any, number: 1}}
  bootstrap: {initdb: {database: orders, owner: clerk}}
  backup:
    retentionPolicy: 30d
    barmanObjectStore:
      destinationPath: s3://a/b
      s3Credentials: {accessKeyId: {name: s, key: i}, secretAccessKey: {name: s, key: k}}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {i: me, k: mine}
";

    #[test]
    fn the_new_cluster_reads_from_the_old_place_and_writes_to_its_own() {
        let target = RecoveryTarget { target_immediate: Some(true), ..RecoveryTarget::default() };
        let text = manifest(SOURCE, (&at("shop"), &at("shop-1431")), target, Some(1)).unwrap();
        let understood = understand(&text, None).unwrap();
        let checked = &understood.checked;
        assert_eq!((checked.name.as_str(), checked.instances), ("shop-1431", 1));
        let initdb = &checked.postgres.initdb;
        assert_eq!((initdb.database.as_str(), initdb.owner.as_str()), ("orders", "clerk"));
        let recovery = checked.postgres.recovery.as_ref().unwrap();
        assert_eq!((recovery.source.server.as_str(), &recovery.target), ("shop", &Told::Immediate));
        let own = checked.postgres.archive.as_ref().unwrap();
        assert_eq!((own.server.as_str(), own.retention.as_deref()), ("shop-1431", Some("30d")));
        let taken: Vec<_> = understood.schedules.iter().map(Planned::key).collect();
        assert_eq!(
            taken,
            ["backup/first_backup"],
            "nothing can be restored from its own place yet"
        );
        let at_once = "---\napiVersion: postgresql.cnpg.io/v1\nkind: ScheduledBackup\nmetadata: \
                       {name: nightly}\nspec: {cluster: {name: shop-1431}, schedule: '@daily', \
                       immediate: true}\n";
        let declared = understand(&(text + at_once), None).unwrap().schedules;
        assert_eq!(declared.iter().map(Planned::key).collect::<Vec<_>>(), ["backup/nightly"]);
        assert_eq!(understand(SOURCE, None).unwrap().schedules, []);
        assert_eq!(understood.keys.files().count(), 2);
        assert_eq!(understood.recovery_keys.files().count(), 2);
        assert_eq!(understood.warnings, Vec::<String>::new());
    }

    #[test]
    fn the_copy_of_what_is_encrypted_is_encrypted() {
        let source = SOURCE
            .replace("cnpg.io/hibernation: 'on'", "pgherd.dev/repositoryKey: s/key")
            .replace("k: mine", "k: mine, key: AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        let (from, new) = (at("shop"), at("shop-1431"));
        let text = manifest(&source, (&from, &new), RecoveryTarget::default(), Some(1)).unwrap();
        let understood = understand(&text, None).unwrap();
        assert!(understood.checked.postgres.archive.as_ref().unwrap().is_encrypted());
        assert!(understood.checked.postgres.recovery.as_ref().unwrap().source.is_encrypted());
        assert_eq!(understood.keys.files().count(), 3);
        assert_eq!(understood.recovery_keys.files().count(), 3);
        assert_eq!(understood.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_copy_of_a_server_that_runs_finds_it_and_writes_to_a_place_of_its_own() {
        let selector = |key: &str| serde_json::json!({ "name": "source-server", "key": key });
        let server: ExternalCluster = serde_json::from_value(serde_json::json!({
            "name": "shop", "connectionParameters": {"host": "127.0.0.1", "port": "5501"},
            "password": selector("password"), "sslRootCert": selector("ca.crt"),
        }))
        .unwrap();
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source-server"},
            "stringData": {"password": "p", "ca.crt": "c\nd"},
        });
        let (from, new) = (at("shop"), at("copy"));
        let text = copied_manifest(SOURCE, (&from, &new), (server, &secret), Some(2)).unwrap();
        let understood = understand(&text, None).unwrap();
        let checked = &understood.checked;
        assert_eq!((checked.name.as_str(), checked.instances), ("copy", 2));
        let copy = checked.postgres.copy_of.as_ref().unwrap();
        assert_eq!((copy.name.as_str(), copy.files.len()), ("shop", 2));
        let own = checked.postgres.archive.as_ref().unwrap();
        assert_eq!((own.server.as_str(), checked.postgres.recovery.is_none()), ("copy", true));
        let initdb = &checked.postgres.initdb;
        assert_eq!((initdb.database.as_str(), initdb.owner.as_str()), ("orders", "clerk"));
        let kept: Vec<_> = understood.external.files().collect();
        assert_eq!(kept.len(), 2);
        assert!(!format!("{understood:?}").contains("c\\nd"));
        assert_eq!(understood.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_cluster_without_an_archive_cannot_be_restored() {
        let (from, new) = (at("db"), at("db2"));
        let text = built_in(&from, 1, Backups::None);
        let refused = manifest(&text, (&from, &new), RecoveryTarget::default(), None).unwrap_err();
        assert_eq!(refused.what, "cluster db has no archive to restore from");
    }

    #[test]
    fn what_archives_to_its_own_folder_comes_back_with_one_of_its_own() {
        let (from, new) = (at("db"), at("db2"));
        let text = built_in(&from, 1, Backups::Kept);
        let text = manifest(&text, (&from, &new), RecoveryTarget::default(), None).unwrap();
        let understood = understand(&text, None).unwrap();
        let keys: Vec<_> = understood.schedules.iter().map(Planned::key).collect();
        assert_eq!(keys, ["backup/nightly"]);
        let postgres = understood.checked.postgres;
        let own = postgres.archive.unwrap();
        assert_eq!((own.destination.as_str(), own.server.as_str()), ("/srv/db2/repository", "db2"));
        let source = postgres.recovery.unwrap().source;
        assert_eq!(
            (source.destination.as_str(), source.server.as_str()),
            ("/srv/db/repository", "db")
        );
    }

    fn at(name: &str) -> ClusterFolder {
        Home::at("/srv".into()).cluster(&ClusterName::parse(name).unwrap()).unwrap()
    }
}
