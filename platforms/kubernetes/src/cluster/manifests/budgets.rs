//! Makes the disruption budgets, which keep evictions from taking too many instances at once.
//!
//! Never one that makes the node of a single instance undrainable, nor that of a primary which can
//! hand over.

use super::Blueprint;
use super::labels::{PRIMARY, REPLICA};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Whether somebody can take over at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// Every instance is there and ready, and none of them on the primary's node.
    Certain,
    Doubtful,
}

/// The budgets that a cluster shall have now; any other is to be removed.
///
/// A primary that is evicted hands over, which takes less time than a switchover before it would:
/// it is only held where nobody may be there to hand over to.
pub fn budgets(blueprint: &Blueprint<'_>, succession: Succession) -> Vec<PodDisruptionBudget> {
    let wanted = blueprint.spec();
    let instances = i32::try_from(blueprint.checked.instances).unwrap_or(i32::MAX);
    if !wanted.enable_pdb || instances < 2 {
        return Vec::new();
    }
    // Whoever works on the nodes and brings them back may take standbys away meanwhile.
    let window = wanted.node_maintenance_window.as_ref();
    let is_open = window.is_some_and(|window| window.in_progress && window.reuse_pvc);
    let standbys = (instances >= 3 && !is_open)
        .then(|| budget(blueprint, blueprint.name().to_owned(), REPLICA, instances - 2));
    let held = match succession {
        Succession::Certain => 0,
        Succession::Doubtful => 1,
    };
    let primary = budget(blueprint, blueprint.named("primary"), PRIMARY, held);
    standbys.into_iter().chain([primary]).collect()
}

fn budget(
    blueprint: &Blueprint<'_>,
    name: String,
    role: &str,
    available: i32,
) -> PodDisruptionBudget {
    let selector = blueprint.instances_as(role);
    let spec = PodDisruptionBudgetSpec {
        min_available: Some(IntOrString::Int(available)),
        selector: Some(LabelSelector { match_expressions: None, match_labels: Some(selector) }),
        ..PodDisruptionBudgetSpec::default()
    };
    PodDisruptionBudget { metadata: blueprint.metadata(name), spec: Some(spec), status: None }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    fn available(spec: &str) -> String {
        let sample = Sample::spec(&format!("storage: {{size: 1Gi}}\n{spec}"));
        let made = sample.made(|it| budgets(it, Succession::Doubtful));
        let lines = made.into_iter().map(|it| {
            let (name, available) = (it.metadata.name, it.spec.and_then(|it| it.min_available));
            format!("  {} {available:?}\n", name.unwrap_or_default())
        });
        format!("{spec}\n{}", lines.collect::<Vec<_>>().concat())
    }

    #[test]
    fn a_budget_selects_by_role() {
        expect![[r#"
            - apiVersion: policy/v1
              kind: PodDisruptionBudget
              metadata: {name: db}
              spec:
                minAvailable: 1
                selector: {matchLabels: {cnpg.io/cluster: db, cnpg.io/instanceRole: replica}}
            - apiVersion: policy/v1
              kind: PodDisruptionBudget
              metadata: {name: db-primary}
              spec:
                minAvailable: 1
                selector: {matchLabels: {cnpg.io/cluster: db, cnpg.io/instanceRole: primary}}
        "#]]
        .assert_eq(&Sample::minimal().shown(|it| budgets(it, Succession::Doubtful)));
    }

    #[test]
    fn a_primary_that_can_hand_over_may_be_evicted() {
        let made = Sample::minimal().made(|it| budgets(it, Succession::Certain));
        let available = made.into_iter().map(|it| it.spec.and_then(|it| it.min_available));
        let expected = [1, 0].map(|number| Some(IntOrString::Int(number)));
        assert_eq!(available.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn budgets_follow_the_number_of_instances_and_the_wish() {
        let window = |reuse| {
            format!("instances: 3\nnodeMaintenanceWindow: {{inProgress: true, reusePVC: {reuse}}}")
        };
        expect![[r#"
            instances: 1
            instances: 2
              db-primary Some(Int(1))
            instances: 5
              db Some(Int(3))
              db-primary Some(Int(1))
            instances: 3
            enablePDB: false
            instances: 3
            nodeMaintenanceWindow: {inProgress: true, reusePVC: true}
              db-primary Some(Int(1))
            instances: 3
            nodeMaintenanceWindow: {inProgress: true, reusePVC: false}
              db Some(Int(1))
              db-primary Some(Int(1))
        "#]]
        .assert_eq(
            &[
                available("instances: 1"),
                available("instances: 2"),
                available("instances: 5"),
                available("instances: 3\nenablePDB: false"),
                available(&window("true")),
                available(&window("false")),
            ]
            .concat(),
        );
    }
}
