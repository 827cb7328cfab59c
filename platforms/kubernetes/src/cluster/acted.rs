//! Which fields are acted upon on a Kubernetes beside those that every platform acts upon.
//!
//! Never lists a field that nothing here reads.

use super::manifests::Blueprint;
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
    let backup = blueprint.cluster.spec.backup.as_ref();
    let archive = backup.map(|_| FieldPath::of("spec.backup").to_string());
    let ignored = of(blueprint.cluster);
    let is_besides = |path: &String| !archive.as_ref().is_some_and(|it| is_within(path, it));
    let besides: Vec<_> = ignored.into_iter().filter(is_besides).collect();
    archive.into_iter().chain(besides).collect()
}

/// Nobody brings what opens the source's archive into a pod yet.
pub(crate) fn refuse(
    (checked, warnings): (Checked, Vec<Warning>),
) -> Result<(Checked, Vec<Warning>), Vec<Problem>> {
    if checked.postgres.recovery.is_none() {
        return Ok((checked, warnings));
    }
    let path = FieldPath::of("spec.bootstrap.recovery");
    Err(vec![Problem { path, refusal: Refusal::WithoutItsData }])
}

/// Agents in pods are not told of an archive: nobody puts there yet what opens it, and log that is
/// not archived would fill their disks.
pub(super) fn without_archive(mut checked: Checked) -> Checked {
    checked.postgres.archive = None;
    checked
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

    #[test]
    fn what_pods_and_volumes_are_made_from_is_acted_upon() {
        let told = of(&cluster(
            "storage: {size: 1Gi}, env: [{name: a, value: b}], monitoring: {enablePodMonitor: true}, \
             managed: {services: {disabledDefaultServices: [r]}, roles: [{name: eve}]}",
        ));
        assert_eq!(told, ["spec.managed.roles", "spec.monitoring"]);
    }

    #[test]
    fn agents_in_pods_are_not_told_of_an_archive() {
        let cluster = cluster("backup: {barmanObjectStore: {destinationPath: /a}}");
        let (checked, _) = cluster.checked().unwrap();
        assert!(checked.postgres.archive.is_some());
        assert_eq!(without_archive(checked).postgres.archive, None);
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
