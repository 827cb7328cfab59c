//! Which fields are acted upon on a Kubernetes beside those that every platform acts upon.
//!
//! Never lists a field that nothing here reads.

use pgherd_api::field::FieldPath;

/// Each with all that is below it.
const HERE: [&str; 35] = [
    "metadata.namespace",
    "metadata.labels",
    "spec.affinity",
    "spec.bootstrap.initdb.secret",
    "spec.certificates",
    "spec.enablePDB",
    "spec.env",
    "spec.envFrom",
    "spec.ephemeralVolumeSource",
    "spec.ephemeralVolumesSizeLimit",
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
pub(super) fn ignored(elsewhere: &[FieldPath]) -> Vec<String> {
    let paths = elsewhere.iter().map(ToString::to_string);
    paths.filter(|path| !is_acted_upon(path)).collect()
}

fn is_acted_upon(path: &str) -> bool {
    HERE.iter().any(|known| {
        let rest = path.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_and_volumes_are_made_from_is_acted_upon() {
        let paths =
            ["spec.storage", "spec.backup", "spec.env", "spec.environment", "spec.monitoring"];
        let told = ignored(&paths.map(FieldPath::of));
        assert_eq!(told, ["spec.backup", "spec.environment", "spec.monitoring"]);
    }
}
