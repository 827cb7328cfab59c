//! Says near to what, and away from what, the pod of an instance is placed.
//!
//! Never picks a node.

use super::super::Blueprint;
use super::super::labels::{CLUSTER, INSTANCE_POD, POD_ROLE};
use k8s_openapi::api::core::v1::{self, PodAffinityTerm, PodAntiAffinity, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use pgherd_api::cluster::scheduling::Affinity;

const HOST: &str = "kubernetes.io/hostname";
/// The greatest weight there is: nothing is preferred over instances that are apart.
const WEIGHT: i32 = 100;

pub(super) fn affinity(blueprint: &Blueprint<'_>, wanted: &Affinity) -> Option<v1::Affinity> {
    let affinity = v1::Affinity {
        node_affinity: wanted.node_affinity.clone(),
        pod_affinity: wanted.additional_pod_affinity.clone(),
        pod_anti_affinity: apart(blueprint, wanted),
    };
    (affinity != v1::Affinity::default()).then_some(affinity)
}

/// The rule that keeps instances apart, before further ones.
fn apart(blueprint: &Blueprint<'_>, wanted: &Affinity) -> Option<PodAntiAffinity> {
    let further = wanted.additional_pod_anti_affinity.clone();
    if wanted.enable_pod_anti_affinity == Some(false) {
        return further;
    }
    let term = instances(blueprint, wanted.topology_key.as_deref().unwrap_or(HOST));
    let mut rules = PodAntiAffinity::default();
    if wanted.pod_anti_affinity_type.as_deref() == Some("required") {
        rules.required_during_scheduling_ignored_during_execution = Some(vec![term]);
    } else {
        let weighted = WeightedPodAffinityTerm { pod_affinity_term: term, weight: WEIGHT };
        rules.preferred_during_scheduling_ignored_during_execution = Some(vec![weighted]);
    }
    let further = further.unwrap_or_default();
    append(
        &mut rules.required_during_scheduling_ignored_during_execution,
        further.required_during_scheduling_ignored_during_execution,
    );
    append(
        &mut rules.preferred_during_scheduling_ignored_during_execution,
        further.preferred_during_scheduling_ignored_during_execution,
    );
    Some(rules)
}

fn append<T>(rules: &mut Option<Vec<T>>, further: Option<Vec<T>>) {
    if let Some(further) = further.filter(|further| !further.is_empty()) {
        rules.get_or_insert_default().extend(further);
    }
}

fn instances(blueprint: &Blueprint<'_>, topology_key: &str) -> PodAffinityTerm {
    let requirement = |key: &str, value: &str| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![value.to_owned()]),
    };
    let expressions =
        vec![requirement(CLUSTER, blueprint.name()), requirement(POD_ROLE, INSTANCE_POD)];
    PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_expressions: Some(expressions),
            match_labels: None,
        }),
        topology_key: topology_key.to_owned(),
        ..PodAffinityTerm::default()
    }
}
