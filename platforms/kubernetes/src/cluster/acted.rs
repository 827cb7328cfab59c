//! Which fields are acted upon on a Kubernetes beside those that every platform acts upon.
//!
//! Never lists a field that nothing here reads.

use super::manifests::Blueprint;
use pgherd_agent::archive;
use pgherd_agent::chain::chain;
use pgherd_api::cluster::annotations::{
    AnnotationRefusal, KeyPlace, REPOSITORY_KEY, SOURCE_REPOSITORY_KEY,
};
use pgherd_api::cluster::archive::ArchiveRefusal;
use pgherd_api::cluster::{Checked, Cluster, Problem, Refusal};
use pgherd_api::field::FieldPath;
use pgherd_api::warning::Warning;

/// Where the archive is told that a new cluster begins with.
const SOURCE: &str = "spec.bootstrap.recovery.source";

/// Each with all that is below it.
const HERE: [&str; 42] = [
    "metadata.namespace",
    "metadata.labels",
    "spec.affinity",
    "spec.bootstrap.initdb.postInitApplicationSQLRefs",
    "spec.bootstrap.initdb.postInitSQLRefs",
    "spec.bootstrap.initdb.postInitTemplateSQLRefs",
    "spec.bootstrap.initdb.secret",
    "spec.bootstrap.pg_basebackup.secret",
    "spec.bootstrap.recovery.backup",
    "spec.bootstrap.recovery.secret",
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
    let (archive, recovery) = (&checked.postgres.archive, &checked.postgres.recovery);
    let source = recovery.as_ref().map(|recovery| &recovery.source);
    let places = [("spec.backup.barmanObjectStore", archive.as_ref()), (SOURCE, source)];
    let wrong = places.into_iter().filter_map(|(place, archive)| {
        let error = archive::check(archive?).err()?;
        let refusal = ArchiveRefusal::Place { why: chain(&error).to_string() };
        Some(Problem { path: FieldPath::of(place), refusal: Refusal::Archive(refusal) })
    });
    let annotations = &checked.annotations;
    let named = [
        (REPOSITORY_KEY, &annotations.repository_key),
        (SOURCE_REPOSITORY_KEY, &annotations.source_repository_key),
    ];
    let files = named.into_iter().filter_map(|(annotation, place)| match place {
        Some(KeyPlace::File(path)) => {
            let given = path.display().to_string();
            let refusal = Refusal::Annotation(AnnotationRefusal::KeyFile { given });
            Some(Problem { path: FieldPath::of("metadata.annotations").name(annotation), refusal })
        }
        Some(KeyPlace::Secret(_)) | None => None,
    });
    let problems: Vec<_> = wrong.chain(files).collect();
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
        assert_eq!(told, ["spec.managed.roles", "spec.monitoring.enablePodMonitor"]);
    }

    #[test]
    fn a_key_in_a_file_is_refused_where_pods_would_have_to_see_it() {
        let text = "{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: db, \
                    annotations: {pgherd.dev/repositoryKey: /etc/key}}, spec: {}}";
        let cluster = Cluster::from_yaml(text).unwrap().0;
        let problems = cluster.checked().and_then(refuse).unwrap_err();
        expect![[r#"metadata.annotations["pgherd.dev/repositoryKey"] is "/etc/key", a file, and pods are shown Secrets: write SECRET/KEY, the name of a Secret and of its entry"#]]
        .assert_eq(&problems[0].to_string());
    }

    #[test]
    fn a_place_where_nothing_can_be_archived_is_refused() {
        let problems = |archive: &str| {
            let cluster = cluster(&format!("backup: {{barmanObjectStore: {{{archive}}}}}"));
            let problems = cluster.checked().and_then(refuse).err().unwrap_or_default();
            let mut lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            lines.push(String::new());
            lines.join("\n")
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
    fn a_cluster_in_pods_begins_with_a_backup_if_it_can_be_found() {
        let refused = |server: &str| {
            let spec = format!(
                "bootstrap: {{recovery: {{source: a, secret: {{name: s}}}}}}, externalClusters: \
                 [{{name: a, barmanObjectStore: {{destinationPath: /b, serverName: {server}}}}}]"
            );
            let cluster = cluster(&spec);
            let problems = cluster.checked().and_then(refuse).err();
            assert_eq!(of(&cluster), Vec::<String>::new());
            problems.map(|problems| problems.iter().map(ToString::to_string).collect::<String>())
        };
        assert_eq!(refused("a"), None);
        let told = refused("a/b").unwrap();
        assert!(told.starts_with("spec.bootstrap.recovery.source is refused"), "{told}");
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
