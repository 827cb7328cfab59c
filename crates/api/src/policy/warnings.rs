//! Warns of what a `Cluster` may say, but not with the effect that its author may expect.
//!
//! Never refuses anything.

use super::{Check, Effect, GROUP, Policy, VERSION, cluster, list};
use crate::cluster::parameters::WRITTEN;
use crate::warning::OF_CLOUDNATIVEPG;

const PARAMETER: &str = "spec.postgresql.parameters.";

pub(super) fn policy() -> Policy {
    let written: Vec<_> = WRITTEN.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let written: Vec<_> = written.iter().map(String::as_str).collect();
    let written = Check {
        name: "cluster-parameter-of-cloudnativepg".into(),
        place: PARAMETER.into(),
        offenders: format!(
            "variables.parameters.filter(name, (name + '=' + variables.parameters[name]) in {})",
            list(&written)
        )
        .into(),
        refusal: OF_CLOUDNATIVEPG.into(),
    };
    Policy {
        group: GROUP,
        version: VERSION,
        kind: "Cluster",
        plural: "clusters",
        effect: Effect::Warned,
        parts: cluster::PARTS,
        checks: CHECKS.iter().cloned().chain([written]).collect(),
    }
}

const CHECKS: &[Check] = &[
    Check::new(
        "cluster-shared-buffers-with-a-unit",
        PARAMETER,
        r"['shared_buffers'].filter(name, name in variables.parameters && variables.parameters[name].matches(r'^\s*[0-9]+\s*$'))",
        "has no unit, which means blocks of 8 kB: write one, for example 256MB",
    ),
    Check::new(
        "cluster-retention-of-an-archive",
        "spec.backup.",
        "['retentionPolicy'].filter(field, object.spec.?backup[?field].hasValue() && !has(object.spec.backup.barmanObjectStore))",
        "is about barmanObjectStore, and has no effect without it: add that, or remove this",
    ),
    Check::new(
        "cluster-volume-said-once",
        "spec.",
        "['storage', 'walStorage'].filter(field, object.spec[?field].?pvcTemplate.hasValue()).filter(field, (has(object.spec[field].size) && object.spec[field].pvcTemplate.?resources.?requests.?storage.hasValue()) || (has(object.spec[field].storageClass) && has(object.spec[field].pvcTemplate.storageClassName)))",
        "says its size or storageClass twice: those of pvcTemplate are not used",
    ),
    Check::new(
        "cluster-is-waved-through",
        "metadata.annotations: ",
        "['cnpg.io/validation'].filter(name, variables.annotations[?name].orValue('') == 'disabled')",
        "switches all checks off: what cannot work is only found when it fails",
    ),
    Check::new(
        "cluster-validation-or-not",
        "metadata.annotations: ",
        "['cnpg.io/validation'].filter(name, !(variables.annotations[?name].orValue('') in ['', 'enabled', 'disabled']))",
        "is neither enabled nor disabled, and means nothing: write one of them",
    ),
];
