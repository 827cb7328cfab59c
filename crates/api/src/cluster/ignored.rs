//! Lists what a manifest asks for and nothing acts upon yet.
//!
//! Never leaves out a field because nobody thought of it: the list of what *is* acted upon is short,
//! and everything else that was written is reported.

use super::annotations::{
    FENCED_INSTANCES, HIBERNATION, MAX_LAG, RECONCILIATION_LOOP, RELOAD, REPOSITORY_KEY, RESTART,
    SOURCE_REPOSITORY_KEY, STREAM, SWITCHOVER,
};
use super::monitoring::Monitoring;
use super::spec::ClusterSpec;
use super::{Cluster, annotations};
use crate::backup::rate::BACKUP_RATE;
use crate::field::FieldPath;
use serde_json::Value;
use std::collections::BTreeSet;

/// The fields that are acted upon, each with everything within it.
pub const ACTED_UPON: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata.name",
    "spec.backup.barmanObjectStore.azureCredentials",
    "spec.backup.barmanObjectStore.data.compression",
    "spec.backup.barmanObjectStore.data.encryption",
    "spec.backup.barmanObjectStore.data.immediateCheckpoint",
    "spec.backup.barmanObjectStore.data.jobs",
    "spec.backup.barmanObjectStore.destinationPath",
    "spec.backup.barmanObjectStore.endpointCA",
    "spec.backup.barmanObjectStore.endpointURL",
    "spec.backup.barmanObjectStore.googleCredentials",
    "spec.backup.barmanObjectStore.s3Credentials",
    "spec.backup.barmanObjectStore.serverName",
    "spec.backup.barmanObjectStore.wal.compression",
    "spec.backup.barmanObjectStore.wal.encryption",
    "spec.backup.barmanObjectStore.wal.maxParallel",
    "spec.backup.retentionPolicy",
    "spec.backup.target",
    "spec.bootstrap.initdb.builtinLocale",
    "spec.bootstrap.initdb.dataChecksums",
    "spec.bootstrap.initdb.database",
    "spec.bootstrap.initdb.encoding",
    "spec.bootstrap.initdb.icuLocale",
    "spec.bootstrap.initdb.icuRules",
    "spec.bootstrap.initdb.import",
    "spec.bootstrap.initdb.locale",
    "spec.bootstrap.initdb.localeCType",
    "spec.bootstrap.initdb.localeCollate",
    "spec.bootstrap.initdb.localeProvider",
    "spec.bootstrap.initdb.options",
    "spec.bootstrap.initdb.owner",
    "spec.bootstrap.initdb.postInitApplicationSQL",
    "spec.bootstrap.initdb.postInitSQL",
    "spec.bootstrap.initdb.postInitTemplateSQL",
    "spec.bootstrap.initdb.walSegmentSize",
    "spec.bootstrap.pg_basebackup.database",
    "spec.bootstrap.pg_basebackup.owner",
    "spec.bootstrap.pg_basebackup.source",
    "spec.bootstrap.recovery.database",
    "spec.bootstrap.recovery.owner",
    "spec.bootstrap.recovery.recoveryTarget",
    "spec.bootstrap.recovery.source",
    "spec.enableSuperuserAccess",
    "spec.failoverDelay",
    "spec.instances",
    "spec.maxSyncReplicas",
    "spec.minSyncReplicas",
    "spec.monitoring.tls.enabled",
    "spec.postgresql.parameters",
    "spec.postgresql.pg_hba",
    "spec.postgresql.pg_ident",
    "spec.postgresql.shared_preload_libraries",
    "spec.postgresql.synchronous.dataDurability",
    "spec.postgresql.synchronous.failoverQuorum",
    "spec.postgresql.synchronous.method",
    "spec.postgresql.synchronous.number",
    "spec.stopDelay",
];

/// Fields that ask for nothing: remarks, and what Kubernetes writes itself.
const NO_WISH: &[&str] = &[
    "metadata.creationTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.selfLink",
    "metadata.uid",
    "spec.description",
];

/// Of the entry of `spec.externalClusters` that the cluster begins as a copy of or with databases of.
const OF_COPIED: [&str; 2] = ["name", "connectionParameters"];

/// Of the entry that the cluster begins with a backup of.
const OF_RECOVERED: [&str; 8] = [
    "name",
    "barmanObjectStore.azureCredentials",
    "barmanObjectStore.destinationPath",
    "barmanObjectStore.endpointCA",
    "barmanObjectStore.endpointURL",
    "barmanObjectStore.googleCredentials",
    "barmanObjectStore.s3Credentials",
    "barmanObjectStore.serverName",
];

const ANNOTATIONS_ACTED_UPON: [&str; 11] = [
    BACKUP_RATE,
    FENCED_INSTANCES,
    HIBERNATION,
    MAX_LAG,
    RECONCILIATION_LOOP,
    RELOAD,
    REPOSITORY_KEY,
    RESTART,
    SOURCE_REPOSITORY_KEY,
    STREAM,
    SWITCHOVER,
];

impl Cluster {
    /// What it asks for and nothing acts upon, on a platform that also acts upon these fields.
    pub fn ignored_beside(&self, acted_upon: &[FieldPath]) -> Vec<FieldPath> {
        ignored(self, acted_upon)
    }
}

/// What the cluster asks for and nothing acts upon, as few places as possible.
pub(super) fn ignored(cluster: &Cluster, beside: &[FieldPath]) -> Vec<FieldPath> {
    let written = cluster.written.clone().unwrap_or_else(|| differing(cluster));
    let known = ACTED_UPON.iter().chain(NO_WISH).map(|path| FieldPath::of(path));
    let known_annotations = ANNOTATIONS_ACTED_UPON.map(annotations::place);
    let copied = cluster.copied().map(|(place, _)| place);
    let copied = copied.iter().flat_map(|of| OF_COPIED.iter().map(|field| of.name(field)));
    let recovered = cluster.recovered().map(|(place, _)| place);
    let recovered = recovered.iter().flat_map(|of| {
        let within = |field: &&str| field.split('.').fold(of.clone(), |at, name| at.name(name));
        OF_RECOVERED.iter().map(within).collect::<Vec<_>>()
    });
    let known = known.chain(known_annotations).chain(copied).chain(recovered);
    let known = known.chain(beside.iter().cloned());
    let known: Vec<_> = known.collect();
    let annotations = FieldPath::of("metadata.annotations");
    let foreign = cluster.metadata.annotations.iter().flatten().map(|(name, _)| name);
    let foreign: BTreeSet<_> = foreign
        .filter(|name| !is_of_this_product(name))
        .map(|name| annotations.name(name))
        .collect();
    let is_done = |leaf: &FieldPath| {
        foreign.contains(leaf) || known.iter().any(|k| leaf.is_within(k) || k.is_within(leaf))
    };
    let holds_nothing_known =
        |place: &FieldPath| !known.iter().chain(&foreign).any(|known| known.is_within(place));
    let outermost = |leaf: &FieldPath| leaf.way().find(holds_nothing_known);
    let ignored = written.iter().filter(|leaf| !is_done(leaf)).filter_map(outermost);
    ignored.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Annotations of other tools ask for nothing here.
fn is_of_this_product(annotation: &str) -> bool {
    let domain = annotation.split_once('/').map_or("", |(domain, _)| domain);
    matches!(domain, "cnpg.io" | "alpha.cnpg.io" | "pgherd.dev")
}

/// The places where a cluster that was not read from text differs from one without wishes.
fn differing(cluster: &Cluster) -> BTreeSet<FieldPath> {
    let value = |value: serde_json::Result<Value>| value.unwrap_or(Value::Null);
    let mut places = BTreeSet::new();
    let metadata = value(serde_json::to_value(&cluster.metadata));
    collect(&metadata, None, &FieldPath::of("metadata"), &mut places);
    let spec = value(serde_json::to_value(&cluster.spec));
    // The API server fills in what is left out of it.
    let monitoring = Some(Monitoring::default());
    let without = ClusterSpec { monitoring, ..ClusterSpec::default() };
    let without = value(serde_json::to_value(without));
    collect(&spec, Some(&without), &FieldPath::of("spec"), &mut places);
    places
}

fn collect(
    value: &Value,
    without: Option<&Value>,
    path: &FieldPath,
    places: &mut BTreeSet<FieldPath>,
) {
    match value {
        Value::Null => {}
        _ if Some(value) == without => {}
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let without = without.and_then(|without| without.get(name));
                collect(value, without, &path.name(name), places);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                collect(item, None, &path.item(index), places);
            }
        }
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            places.insert(path.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn read(rest: &str) -> Cluster {
        let text = format!("{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, {rest}}}");
        Cluster::from_yaml(&text).unwrap().0
    }

    fn shown(cluster: &Cluster) -> String {
        let places = ignored(cluster, &[]).into_iter().map(|place| place.to_string());
        places.collect::<Vec<_>>().join(" ") + "\n"
    }

    fn of_spec(spec: &str) -> String {
        shown(&read(&format!("metadata: {{name: db}}, spec: {{{spec}}}")))
    }

    #[test]
    fn what_is_acted_upon_is_not_reported() {
        let places = of_spec(
            "description: for tests, instances: 3, postgresql: {parameters: {work_mem: 8MB}, \
             pg_hba: [local all all peer], synchronous: {method: any, number: 1}}, \
             bootstrap: {initdb: {database: app}}, enableSuperuserAccess: true, failoverDelay: 1, \
             stopDelay: 60",
        );
        assert_eq!(places, "\n");
    }

    #[test]
    fn what_is_not_acted_upon_is_reported_as_few_places() {
        expect![[r#"
            spec.storage
            spec.backup.volumeSnapshot
            spec.enablePDB spec.primaryUpdateStrategy
            spec.affinity spec.env

            spec.postgresql.ldap spec.postgresql.synchronous.standbyNamesPre
            spec.externalClusters[1]
            spec.bootstrap.pg_basebackup.secret spec.externalClusters[0] spec.externalClusters[1].password
            spec.bootstrap.initdb.postInitSQLRefs spec.bootstrap.initdb.secret
            spec.smartShutdownTimeout spec.startDelay spec.switchoverDelay
            spec.env spec.resources
        "#]].assert_eq(
            &[
                "storage: {size: 1Gi, storageClass: fast}",
                "backup: {target: primary, volumeSnapshot: {className: a, labels: {b: c}}}",
                "primaryUpdateStrategy: unsupervised, enablePDB: true",
                "affinity: {}, env: []",
                "postgresql: {}, bootstrap: {initdb: {}}",
                "postgresql: {ldap: {server: a}, synchronous: {method: any, number: 1, standbyNamesPre: [x]}}",
                "bootstrap: {recovery: {source: a}}, externalClusters: [{name: a}, {name: b}]",
                "bootstrap: {pg_basebackup: {source: b, secret: {name: c}}}, externalClusters: \
                 [{name: a}, {name: b, connectionParameters: {host: c}, password: {name: a, key: b}}]",
                "bootstrap: {initdb: {secret: {name: a}, postInitSQLRefs: {secretRefs: [{name: a, key: b}]}}}",
                "smartShutdownTimeout: 1, switchoverDelay: 1, startDelay: 1",
                "env: [{name: A, value: b}], resources: {limits: {cpu: 1, memory: 1Gi}}",
            ]
            .map(of_spec)
            .concat(),
        );
    }

    #[test]
    fn metadata_is_a_wish_unless_others_wrote_it() {
        expect![[r#"
            metadata.annotations["alpha.cnpg.io/unrecoverable"] metadata.annotations["cnpg.io/skipWalArchiving"] metadata.labels metadata.namespace
        "#]].assert_eq(&shown(&read(
            "metadata: {name: db, namespace: prod, uid: x, generation: 7, labels: {a: b}, \
             annotations: {cnpg.io/hibernation: 'off', pgherd.dev/maxLag: 1Mi, pgherd.dev/walStream: 'off', pgherd.dev/repositoryKey: a/b, \
             cnpg.io/skipWalArchiving: enabled, alpha.cnpg.io/unrecoverable: 'true', \
             kubectl.kubernetes.io/restartedAt: now, argocd.argoproj.io/sync-wave: '1'}}, \
             spec: {}",
        )));
    }

    #[test]
    fn a_cluster_that_was_not_read_from_text_is_compared_with_one_without_wishes() {
        let mut cluster = read(
            "metadata: {name: db, namespace: prod}, spec: {instances: 3, startDelay: 1, \
             enablePDB: true, replicationSlots: {highAvailability: {enabled: false}}, \
             storage: {storageClass: fast}, externalClusters: [{name: a}], \
             monitoring: {tls: {enabled: true}}}",
        );
        cluster.written = None;
        expect![[r#"
            metadata.namespace spec.externalClusters spec.replicationSlots spec.startDelay spec.storage
        "#]].assert_eq(&shown(&cluster));
    }

    #[test]
    fn every_listed_place_exists() {
        for path in ACTED_UPON.iter().chain(NO_WISH).filter(|path| path.starts_with("spec.")) {
            let mut names: Vec<_> = path.split('.').collect();
            let misspelt = format!("{}x", names.pop().unwrap());
            let close = "}".repeat(names.len());
            let open: Vec<_> = names.iter().map(|name| format!("{name}: {{")).collect();
            let text = format!(
                "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
                 {}{misspelt}: 1{close}}}",
                open.concat()
            );
            let error = Cluster::from_yaml(&text).unwrap_err();
            let crate::manifest::ManifestError::Unknown { known, .. } = error else {
                panic!("{path}: {error}");
            };
            assert!(known.contains(&misspelt.trim_end_matches('x')), "{path}");
        }
    }
}
