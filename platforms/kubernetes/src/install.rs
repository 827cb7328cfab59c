//! Makes what a Kubernetes needs before it can have clusters: our kinds and what is refused of them, the operator and its
//! rights, and room at the API server for the agents' few requests.
//!
//! Never gives a right that nothing here uses.

mod people;

use crate::{leader, rights};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, EnvVar, EnvVarSource, Namespace, ObjectFieldSelector,
    PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccount, WeightedPodAffinityTerm,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use pgherd_api::{crd, policy};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where the operator lives unless it is said otherwise.
pub const NAMESPACE: &str = "pgherd-system";
/// What the operator and everything of its own is called.
pub const OPERATOR: &str = "pgherd-operator";
/// One works; another takes over within seconds.
const OPERATORS: i32 = 2;
/// The priority level of the agents' requests.
const AGENTS: &str = "pgherd-agents";

/// What is installed.
#[derive(Debug, Clone)]
pub struct Installation {
    pub namespace: String,
    /// The image of this program.
    pub image: String,
    /// The image of PostgreSQL for clusters that name none; the built-in one if absent.
    pub postgres_image: Option<String>,
}

/// Every object, in an order in which they can be applied.
pub fn objects(installation: &Installation) -> Vec<Value> {
    let own = [
        value(&namespace(installation)),
        value(&account(installation)),
        value(&role()),
        value(&binding(installation)),
        priority(),
        flow(),
        value(&deployment(installation)),
    ];
    let definitions = crd::definitions();
    let people = people::roles(&definitions).map(|role| value(&role));
    definitions.into_iter().chain(policy::objects()).chain(own).chain(people).collect()
}

fn value(object: &impl Serialize) -> Value {
    // Such types always become JSON.
    serde_json::to_value(object).unwrap_or_default()
}

fn metadata(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(labels()),
        ..ObjectMeta::default()
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), OPERATOR.to_owned())])
}

fn namespace(installation: &Installation) -> Namespace {
    Namespace { metadata: metadata(&installation.namespace, None), ..Namespace::default() }
}

fn account(installation: &Installation) -> ServiceAccount {
    let metadata = metadata(OPERATOR, Some(&installation.namespace));
    ServiceAccount { metadata, ..ServiceAccount::default() }
}

fn binding(installation: &Installation) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: metadata(OPERATOR, None),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: OPERATOR.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: None,
            kind: "ServiceAccount".to_owned(),
            name: OPERATOR.to_owned(),
            namespace: Some(installation.namespace.clone()),
        }]),
    }
}

fn role() -> ClusterRole {
    let rules = Some(rights::operator());
    ClusterRole { metadata: metadata(OPERATOR, None), rules, aggregation_rule: None }
}

/// A cluster's life must not wait behind a job that lists everything: the agents' requests, a few
/// a minute each, have a lane of their own.
fn priority() -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration",
        "metadata": metadata(AGENTS, None),
        "spec": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 30,
                "lendablePercent": 50,
                "limitResponse": {
                    "type": "Queue",
                    "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50},
                },
            },
        },
    })
}

fn flow() -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": metadata(AGENTS, None),
        "spec": {
            "priorityLevelConfiguration": {"name": AGENTS},
            "matchingPrecedence": 800,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "Group", "group": {"name": "system:serviceaccounts"}}],
                "resourceRules": [{
                    "apiGroups": ["coordination.k8s.io"],
                    "resources": ["leases"],
                    "verbs": ["get", "update"],
                    "namespaces": ["*"],
                    "clusterScope": false,
                }],
            }],
        },
    })
}

fn deployment(installation: &Installation) -> Deployment {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels()), ..ObjectMeta::default() }),
        spec: Some(PodSpec {
            containers: vec![container(installation)],
            service_account_name: Some(OPERATOR.to_owned()),
            affinity: Some(apart()),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(10001),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        }),
    };
    Deployment {
        metadata: metadata(OPERATOR, Some(&installation.namespace)),
        spec: Some(DeploymentSpec {
            replicas: Some(OPERATORS),
            selector: LabelSelector { match_labels: Some(labels()), ..LabelSelector::default() },
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// On two nodes if there are two.
fn apart() -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(labels()),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm { pod_affinity_term: term, weight: 100 },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// A variable that says something of the pod it is in.
fn of_the_pod(name: &str, field: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: field.to_owned(), api_version: None };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    }
}

fn container(installation: &Installation) -> Container {
    let variable = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    };
    let postgres = installation.postgres_image.as_deref();
    let postgres = postgres.map(|image| variable("POSTGRES_IMAGE_NAME", image));
    let of = |quantity: &str, memory: &str| {
        let pairs = [("cpu", quantity), ("memory", memory)];
        pairs.map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).into()
    };
    Container {
        name: "operator".to_owned(),
        image: Some(installation.image.clone()),
        command: Some(vec!["/pgherd".to_owned(), "operator".to_owned()]),
        env: Some(
            [
                variable("OPERATOR_IMAGE_NAME", &installation.image),
                of_the_pod(leader::NAME, "metadata.name"),
                of_the_pod(leader::NAMESPACE, "metadata.namespace"),
            ]
            .into_iter()
            .chain(postgres)
            .collect(),
        ),
        resources: Some(ResourceRequirements {
            requests: Some(of("20m", "64Mi")),
            limits: Some([("memory".to_owned(), Quantity("256Mi".to_owned()))].into()),
            claims: None,
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn what_others_need_comes_first() {
        let installation = Installation {
            namespace: NAMESPACE.to_owned(),
            image: "pgherd:1".to_owned(),
            postgres_image: None,
        };
        let named = |object: Value| {
            let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
            format!("{} {}\n", text("/kind").unwrap(), text("/metadata/name").unwrap())
        };
        let shown: String = objects(&installation).into_iter().map(named).collect();
        expect![[r#"
            CustomResourceDefinition backups.postgresql.cnpg.io
            CustomResourceDefinition clusters.postgresql.cnpg.io
            CustomResourceDefinition clusterimagecatalogs.postgresql.cnpg.io
            CustomResourceDefinition databases.postgresql.cnpg.io
            CustomResourceDefinition databaseroles.postgresql.cnpg.io
            CustomResourceDefinition dumps.pgherd.dev
            CustomResourceDefinition failoverquorums.postgresql.cnpg.io
            CustomResourceDefinition imagecatalogs.postgresql.cnpg.io
            CustomResourceDefinition poolers.postgresql.cnpg.io
            CustomResourceDefinition publications.postgresql.cnpg.io
            CustomResourceDefinition scheduledbackups.postgresql.cnpg.io
            CustomResourceDefinition scheduleddumps.pgherd.dev
            CustomResourceDefinition subscriptions.postgresql.cnpg.io
            ValidatingAdmissionPolicy pgherd-clusters
            ValidatingAdmissionPolicyBinding pgherd-clusters
            ValidatingAdmissionPolicy pgherd-clusters-warned
            ValidatingAdmissionPolicyBinding pgherd-clusters-warned
            ValidatingAdmissionPolicy pgherd-poolers
            ValidatingAdmissionPolicyBinding pgherd-poolers
            ValidatingAdmissionPolicy pgherd-databases
            ValidatingAdmissionPolicyBinding pgherd-databases
            ValidatingAdmissionPolicy pgherd-scheduledbackups
            ValidatingAdmissionPolicyBinding pgherd-scheduledbackups
            ValidatingAdmissionPolicy pgherd-scheduledbackups-warned
            ValidatingAdmissionPolicyBinding pgherd-scheduledbackups-warned
            ValidatingAdmissionPolicy pgherd-scheduleddumps
            ValidatingAdmissionPolicyBinding pgherd-scheduleddumps
            ValidatingAdmissionPolicy pgherd-scheduleddumps-warned
            ValidatingAdmissionPolicyBinding pgherd-scheduleddumps-warned
            Namespace pgherd-system
            ServiceAccount pgherd-operator
            ClusterRole pgherd-operator
            ClusterRoleBinding pgherd-operator
            PriorityLevelConfiguration pgherd-agents
            FlowSchema pgherd-agents
            Deployment pgherd-operator
            ClusterRole pgherd-view
            ClusterRole pgherd-edit
        "#]]
        .assert_eq(&shown);
    }
}
