//! Which fields are acted upon on a Kubernetes beside those that every platform acts upon.
//!
//! Never lists a field that nothing here reads.

use super::manifests::Blueprint;
use pgherd_agent::archive;
use pgherd_agent::chain::chain;
use pgherd_api::cluster::archive::ArchiveRefusal;
use pgherd_api::cluster::{Checked, Cluster, Problem, Refusal};
use pgherd_api::field::FieldPath;
use pgherd_api::warning::Warning;

/// Each with all that is below it.
const HERE: [&str; 37] = [
    "metadata.namespace",
    "metadata.labels",
    "spec.affinity",
    "spec.bootstrap.initdb.secret",
    "spec.bootstrap.pg_basebackup.secret",
    "spec.certificates",
    "spec.enablePDB",
    "spec.env",
    "spec.envFrom",
    "spec.ephemeralVolumeSource",
    "spec.ephemeralVolumesSizeLimit",
    "spec.imageCatalogRef",
    "spec.imageName",
    "spec.imagePullPolicy",
    "spec.imagePullSecrets",
    "spec.inheritedMetadata",
    "spec.managed.services",
    "spec.nodeMaintenanceWindow",
    "spec.podSecurityContext",
    "spec.postgresGID",
    "spec.postgresUID",
    "spec.primaryUpdateStrategy",
    "spec.priorityClassName",
    "spec.probes",
    "spec.livenessProbeTimeout",
    "spec.projectedVolumeTemplate",
    "spec.resources",
    "spec.schedulerName",
    "spec.seccompProfile",
    "spec.securityContext",
    "spec.serviceAccountName",
    "spec.serviceAccountTemplate",
    "spec.startDelay",
    "spec.storage",
    "spec.superuserSecret",
    "spec.topologySpreadConstraints",
    "spec.walStorage",
];

/// Those of the fields that are ignored here, too.
pub(super) fn ignored(blueprint: &Blueprint<'_>) -> Vec<String> {
    of(blueprint.cluster)
}

/// What can be found wrong here without connecting to anybody.
pub(crate) fn refuse(
    (checked, warnings): (Checked, Vec<Warning>),
) -> Result<(Checked, Vec<Warning>), Vec<Problem>> {
    let mut problems = Vec::new();
    // Nobody brings what opens the source's archive into a pod yet.
    if checked.postgres.recovery.is_some() {
        let path = FieldPath::of("spec.bootstrap.recovery");
        problems.push(Problem { path, refusal: Refusal::WithoutItsData });
    }
    let archive = checked.postgres.archive.as_ref().map(archive::check);
    if let Some(Err(error)) = archive {
        let path = FieldPath::of("spec.backup.barmanObjectStore");
        let refusal = ArchiveRefusal::Place { why: chain(&error).to_string() };
        problems.push(Problem { path, refusal: Refusal::Archive(refusal) });
    }
    if problems.is_empty() { Ok((checked, warnings)) } else { Err(problems) }
}

fn of(cluster: &Cluster) -> Vec<String> {
    // What opens the server that the cluster begins as a copy of.
    let keys = cluster.copied().into_iter().flat_map(|(place, entry)| {
        let keys = entry.keys().into_iter();
        keys.map(move |(field, ..)| place.name(field))
    });
    let known: Vec<FieldPath> = HERE.iter().map(|path| FieldPath::of(path)).chain(keys).collect();
    cluster.ignored_beside(&known).iter().map(ToString::to_string).collect()
}

fn is_within(path: &str, known: &str) -> bool {
    let rest = path.strip_prefix(known);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_pods_and_volumes_are_made_from_is_acted_upon() {
        let told = of(&cluster(
            "storage: {size: 1Gi}, env: [{name: a, value: b}], monitoring: {enablePodMonitor: true}, \
             managed: {services: {disabledDefaultServices: [r]}, roles: [{name: eve}]}",
        ));
        assert_eq!(told, ["spec.managed.roles", "spec.monitoring"]);
    }

    #[test]
    fn a_place_where_nothing_can_be_archived_is_refused() {
        let problems = |archive: &str| {
            let cluster = cluster(&format!("backup: {{barmanObjectStore: {{{archive}}}}}"));
            let problems = cluster.checked().and_then(refuse).err().unwrap_or_default();
            problems.iter().map(|problem| format!("{problem}\n")).collect::<String>()
        };
        expect![[r#"
            spec.backup.barmanObjectStore is refused: reading where the archive lies: "ftp://b" is no place for backups: use s3://BUCKET/PATH, gs://BUCKET/PATH, https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, or an absolute folder
            spec.backup.barmanObjectStore is refused: reading the name of the cluster in the archive: "a/b" is not the name of a server in a repository: use letters, digits, '.', '-' and '_', at most 200 of them, and not a '.' first
            spec.backup.barmanObjectStore is refused: reading where the archive lies: "here" is no endpoint: use the form https://HOST:PORT
        "#]]
        .assert_eq(
            &[
                "destinationPath: s3://b, s3Credentials: {inheritFromIAMRole: true}",
                "destinationPath: ftp://b, s3Credentials: {inheritFromIAMRole: true}",
                "destinationPath: /a, serverName: a/b",
                "destinationPath: s3://b, endpointURL: here, s3Credentials: {inheritFromIAMRole: true}",
            ]
            .map(problems)
            .concat(),
        );
    }

    #[test]
    fn of_backups_only_snapshots_are_not_acted_upon() {
        let cluster = cluster(
            "backup: {target: primary, retentionPolicy: 30d, volumeSnapshot: {className: a}, \
             barmanObjectStore: {destinationPath: /a, tags: {b: c}, data: {jobs: 2}}}",
        );
        let left = ["spec.backup.barmanObjectStore.tags", "spec.backup.volumeSnapshot"];
        assert_eq!(of(&cluster), left);
    }

    #[test]
    fn a_cluster_in_pods_does_not_begin_with_a_backup_yet() {
        let refused = |spec: &str| cluster(spec).checked().and_then(refuse).err();
        let source = "externalClusters: [{name: a, barmanObjectStore: {destinationPath: /b}}]";
        let problems = refused(&format!("bootstrap: {{recovery: {{source: a}}}}, {source}"));
        assert_eq!(problems.unwrap().len(), 1);
        assert_eq!(refused(source), None);
    }

    #[test]
    fn what_opens_the_server_that_is_copied_is_acted_upon_and_no_other() {
        let cluster = cluster(
            "bootstrap: {pg_basebackup: {source: b, secret: {name: c}}}, externalClusters: [\
             {name: a, connectionParameters: {host: x}, password: {name: s, key: p}}, \
             {name: b, connectionParameters: {host: x}, password: {name: s, key: p}, \
             barmanObjectStore: {destinationPath: y}}]",
        );
        let told = of(&cluster);
        let left = ["spec.externalClusters[0]", "spec.externalClusters[1].barmanObjectStore"];
        assert_eq!(told, left);
    }

    fn cluster(spec: &str) -> Cluster {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{{spec}}}}}"
        );
        Cluster::from_yaml(&text).unwrap().0
    }
}
