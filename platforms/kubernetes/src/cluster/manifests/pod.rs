//! Makes the pod of an instance.
//!
//! Never puts a secret into it: those are files of a volume.

mod probes;
mod scheduling;
mod security;

use super::labels::{self, add_annotations, add_labels, texts};
use super::{Blueprint, services, unless_empty, volumes};
use crate::pod::{AGENT_PORT, METRICS_PORT, POSTGRES_PORT, STATUS_PORT};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, LocalObjectReference, ObjectFieldSelector, Pod,
    PodSpec,
};
use pgherd_core::names::InstanceName;

/// The container that PostgreSQL runs in.
pub const POSTGRES_CONTAINER: &str = "postgres";
/// The container that brings the agent.
pub const BOOTSTRAP_CONTAINER: &str = "bootstrap-controller";

/// The pod of an instance.
pub fn pod(blueprint: &Blueprint<'_>, instance: &InstanceName) -> Pod {
    let name = instance.to_string();
    let mut metadata = blueprint.remembered_metadata(name.clone());
    add_labels(&mut metadata, blueprint.instances());
    add_labels(&mut metadata, texts([(labels::INSTANCE, &name)]));
    let mut pod = Pod { metadata, spec: Some(spec(blueprint, instance)), status: None };
    let (serial, fingerprint) = (instance.serial().to_string(), fingerprint(&pod));
    let annotations = [(labels::SERIAL, &*serial), (labels::POD_SPEC, &*fingerprint)];
    add_annotations(&mut pod.metadata, texts(annotations));
    pod
}

/// A short text that is the same if and only if the specification of two pods is.
///
/// It is only of use for pods as they are made here: Kubernetes adds defaults to those that it is
/// given. So the text is kept as an annotation, and a pod whose annotation is not that of the pod
/// that would be made now has to be replaced. Labels and annotations do not count: those can be
/// changed on a pod that runs. Nor does the image that brings the agent: an agent that runs is given
/// another program. Nor does what opens the place that the cluster begins with: that is over once
/// there is one.
pub fn fingerprint(pod: &Pod) -> String {
    let mut spec = pod.spec.clone();
    if let Some(bootstrap) = spec.as_mut().and_then(bringer_mut) {
        bootstrap.image = None;
    }
    volumes::without_origins(spec.iter_mut().filter_map(|it| it.volumes.as_mut()).flatten());
    super::digest(&spec)
}

/// The image that brought the agent into a pod.
pub fn agent_image(pod: &Pod) -> Option<&str> {
    let containers = pod.spec.as_ref()?.init_containers.as_ref()?;
    let bootstrap = containers.iter().find(|container| container.name == BOOTSTRAP_CONTAINER)?;
    bootstrap.image.as_deref()
}

fn bringer_mut(spec: &mut PodSpec) -> Option<&mut Container> {
    let mut containers = spec.init_containers.iter_mut().flatten();
    containers.find(|container| container.name == BOOTSTRAP_CONTAINER)
}

/// The name of the cluster's copy of the Secret that images are pulled with.
pub(super) fn pull_secret(blueprint: &Blueprint<'_>) -> String {
    blueprint.named("pull-secret")
}

fn spec(blueprint: &Blueprint<'_>, instance: &InstanceName) -> PodSpec {
    let wanted = blueprint.spec();
    let affinity = wanted.affinity.clone().unwrap_or_default();
    let node_selector = affinity.node_selector.clone();
    PodSpec {
        affinity: scheduling::affinity(blueprint, &affinity),
        automount_service_account_token: Some(true),
        containers: vec![postgres(blueprint)],
        enable_service_links: Some(false),
        hostname: Some(instance.to_string()),
        image_pull_secrets: unless_empty(pull_secrets(blueprint)),
        init_containers: Some(vec![bootstrap(blueprint)]),
        node_selector: (!node_selector.is_empty()).then_some(node_selector),
        priority_class_name: wanted.priority_class_name.clone(),
        restart_policy: Some("Always".to_owned()),
        scheduler_name: wanted.scheduler_name.clone(),
        security_context: Some(security::of_pod(blueprint)),
        service_account_name: Some(blueprint.service_account()),
        subdomain: Some(services::of_pods(&blueprint.checked.name)),
        termination_grace_period_seconds: Some(i64::from(wanted.stop_delay)),
        tolerations: unless_empty(affinity.tolerations),
        topology_spread_constraints: unless_empty(wanted.topology_spread_constraints.clone()),
        volumes: Some(volumes::volumes(blueprint, instance)),
        ..PodSpec::default()
    }
}

fn pull_secrets(blueprint: &Blueprint<'_>) -> Vec<LocalObjectReference> {
    let written = blueprint.spec().image_pull_secrets.iter().map(|secret| secret.name.clone());
    let copied = blueprint.settings.pull_secret.as_ref().map(|_| pull_secret(blueprint));
    written.chain(copied).map(|name| LocalObjectReference { name }).collect()
}

/// Copies the agent to where the operand's image has none.
fn bootstrap(blueprint: &Blueprint<'_>) -> Container {
    let wanted = blueprint.spec();
    let command = ["/pgherd", "bootstrap", volumes::CONTROLLER];
    Container {
        name: BOOTSTRAP_CONTAINER.to_owned(),
        image: Some(blueprint.settings.operator_image.clone()),
        image_pull_policy: wanted.image_pull_policy.clone(),
        command: Some(command.map(ToOwned::to_owned).to_vec()),
        // A pod is of the class Guaranteed only if all its containers are.
        resources: wanted.resources.clone(),
        security_context: Some(security::of_container(blueprint)),
        volume_mounts: Some(vec![volumes::scratch_mount()]),
        ..Container::default()
    }
}

fn postgres(blueprint: &Blueprint<'_>) -> Container {
    let wanted = blueprint.spec();
    let command = ["/controller/pgherd", "agent", "--in-pod"];
    Container {
        name: POSTGRES_CONTAINER.to_owned(),
        image: Some(blueprint.image().to_owned()),
        image_pull_policy: wanted.image_pull_policy.clone(),
        command: Some(command.map(ToOwned::to_owned).to_vec()),
        env: Some(environment(blueprint)),
        env_from: unless_empty(wanted.env_from.clone()),
        ports: Some(ports()),
        resources: wanted.resources.clone(),
        security_context: Some(security::of_container(blueprint)),
        // What an agent says at its end is why it cannot begin.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        startup_probe: Some(probes::startup(wanted)),
        liveness_probe: Some(probes::liveness(wanted)),
        readiness_probe: Some(probes::readiness(wanted)),
        volume_mounts: Some(volumes::mounts(blueprint)),
        ..Container::default()
    }
}

fn ports() -> Vec<ContainerPort> {
    let ports = [
        ("postgresql", POSTGRES_PORT),
        ("metrics", METRICS_PORT),
        ("status", STATUS_PORT),
        ("agent", AGENT_PORT),
    ];
    let port = |(name, number): (&str, u16)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    ports.map(port).to_vec()
}

/// Ours, then those of the user that are not ours. (What `envFrom` brings loses against both.)
fn environment(blueprint: &Blueprint<'_>) -> Vec<EnvVar> {
    let port = POSTGRES_PORT.to_string();
    let mut variables = vec![
        said("PGDATA", volumes::DATA_FOLDER),
        field("POD_NAME", "metadata.name"),
        field("NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        said("CLUSTER_NAME", blueprint.name()),
        said("PGPORT", &port),
        said("PGHOST", "/controller/run"),
        said("PSQL_HISTORY", "/controller/tmp/.psql_history"),
        said("TMPDIR", "/controller/tmp"),
    ];
    let is_ours = |given: &EnvVar| variables.iter().any(|our| our.name == given.name);
    let others = blueprint.spec().env.iter().filter(|given| !is_ours(given));
    let others: Vec<_> = others.cloned().collect();
    variables.extend(others);
    variables
}

fn said(name: &str, value: &str) -> EnvVar {
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    EnvVar { name, value, value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: None, field_path: path.to_owned() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

#[cfg(test)]
mod tests;
