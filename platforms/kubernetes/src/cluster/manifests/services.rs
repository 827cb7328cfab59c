//! Makes the services of a cluster.
//!
//! Never lets a selector lead to the primary of the default service: its route is written by the
//! agent that holds the office.

use super::Blueprint;
use super::labels::{
    self, PRIMARY, REPLICA, Texts, add_annotations, add_labels, add_wanted, texts,
};
use crate::pod::route::PORT_NAME;
use crate::pod::{AGENT_PORT, POSTGRES_PORT};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use pgherd_api::cluster::managed::{AdditionalService, ServiceKind, UpdateStrategy};
use pgherd_api::cluster::spec::ClusterSpec;
use pgherd_core::names::ClusterName;

/// The service of a cluster that leads to these instances. The addresses of the one for writing have
/// the same name.
pub fn name(cluster: &ClusterName, kind: ServiceKind) -> String {
    let suffix = match kind {
        ServiceKind::ReadWrite => "rw",
        ServiceKind::ReadOnly => "ro",
        ServiceKind::Read => "r",
    };
    format!("{cluster}-{suffix}")
}

/// The service that leads to the primary.
pub fn of_primary(cluster: &ClusterName) -> String {
    name(cluster, ServiceKind::ReadWrite)
}

/// The service that gives every instance a name of its own.
pub fn of_pods(cluster: &ClusterName) -> String {
    format!("{cluster}-pods")
}

/// Whether the manifest wants this one of the default services; the one for writing is always there.
pub fn is_offered(spec: &ClusterSpec, kind: ServiceKind) -> bool {
    let services = spec.managed.as_ref().and_then(|it| it.services.as_ref());
    let disabled = services.map(|it| it.disabled_default_services.as_slice()).unwrap_or_default();
    kind == ServiceKind::ReadWrite || !disabled.contains(&kind)
}

/// All services of a cluster: those between its instances, the default ones and further ones.
pub fn services(blueprint: &Blueprint<'_>) -> Vec<Service> {
    let managed = blueprint.spec().managed.as_ref().and_then(|it| it.services.as_ref());
    let further = managed.map(|it| it.additional.as_slice()).unwrap_or_default();
    let mut services = vec![pods(blueprint), read_write(blueprint)];
    for kind in [ServiceKind::ReadOnly, ServiceKind::Read] {
        if is_offered(blueprint.spec(), kind) {
            let spec = ServiceSpec { selector: Some(selector(blueprint, kind)), ..default_spec() };
            services.push(service(blueprint, name(&blueprint.checked.name, kind), spec));
        }
    }
    let cluster = &blueprint.checked.name;
    let kinds = [ServiceKind::ReadWrite, ServiceKind::ReadOnly, ServiceKind::Read];
    let mut reserved: Vec<_> = kinds.map(|kind| Some(name(cluster, kind))).into();
    reserved.push(Some(of_pods(cluster)));
    let further = further.iter().map(|wanted| additional(blueprint, wanted));
    // A selector on a service of ours would lead elsewhere than the holder of the office wants.
    services.extend(further.filter(|service| !reserved.contains(&service.metadata.name)));
    services
}

/// Gives every instance a name of its own, also before it is ready: that is how they find each
/// other.
fn pods(blueprint: &Blueprint<'_>) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        ports: Some(vec![port(PORT_NAME, POSTGRES_PORT), port("agent", AGENT_PORT)]),
        publish_not_ready_addresses: Some(true),
        selector: Some(blueprint.instances()),
        ..default_spec()
    };
    service(blueprint, of_pods(&blueprint.checked.name), spec)
}

fn read_write(blueprint: &Blueprint<'_>) -> Service {
    service(blueprint, of_primary(&blueprint.checked.name), default_spec())
}

fn additional(blueprint: &Blueprint<'_>, wanted: &AdditionalService) -> Service {
    let kind = wanted.selector_type;
    let metadata = wanted.service_template.metadata.clone().unwrap_or_default();
    let usual = || name(&blueprint.checked.name, kind) + "-additional";
    let own = metadata.name.unwrap_or_else(usual);
    let mut spec = wanted.service_template.spec.clone().unwrap_or_default();
    spec.type_.get_or_insert_with(|| "ClusterIP".to_owned());
    spec.selector = Some(selector(blueprint, kind));
    let ports = spec.ports.get_or_insert_default();
    // Beside a port without a name no other port may be.
    let is_there = |it: &ServicePort| {
        it.port == i32::from(POSTGRES_PORT) || it.name.as_deref().is_none_or(|it| it == PORT_NAME)
    };
    if !ports.iter().any(is_there) {
        ports.push(port(PORT_NAME, POSTGRES_PORT));
    }
    let mut service = service(blueprint, own, spec);
    add_wanted(&mut service.metadata, &metadata.labels, &metadata.annotations);
    add_labels(&mut service.metadata, texts([(labels::MANAGED, "true")]));
    let strategy = match wanted.update_strategy {
        UpdateStrategy::Patch => "patch",
        UpdateStrategy::Replace => "replace",
    };
    add_annotations(&mut service.metadata, texts([(labels::UPDATE_STRATEGY, strategy)]));
    service
}

fn selector(blueprint: &Blueprint<'_>, kind: ServiceKind) -> Texts {
    match kind {
        ServiceKind::ReadWrite => blueprint.instances_as(PRIMARY),
        ServiceKind::ReadOnly => blueprint.instances_as(REPLICA),
        ServiceKind::Read => blueprint.instances(),
    }
}

fn service(blueprint: &Blueprint<'_>, name: String, spec: ServiceSpec) -> Service {
    Service { metadata: blueprint.metadata(name), spec: Some(spec), status: None }
}

fn default_spec() -> ServiceSpec {
    ServiceSpec {
        ports: Some(vec![port(PORT_NAME, POSTGRES_PORT)]),
        type_: Some("ClusterIP".to_owned()),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    #[test]
    fn there_is_a_service_for_each_purpose() {
        expect![[r#"
            - apiVersion: v1
              kind: Service
              metadata: {name: db-pods}
              spec:
                clusterIP: None
                ports:
                  - {name: postgres, port: 5432, protocol: TCP}
                  - {name: agent, port: 8001, protocol: TCP}
                publishNotReadyAddresses: true
                selector: {cnpg.io/cluster: db, cnpg.io/podRole: instance}
                type: ClusterIP
            - apiVersion: v1
              kind: Service
              metadata: {name: db-rw}
              spec: {ports: [{name: postgres, port: 5432, protocol: TCP}], type: ClusterIP}
            - apiVersion: v1
              kind: Service
              metadata: {name: db-ro}
              spec:
                ports: [{name: postgres, port: 5432, protocol: TCP}]
                selector: {cnpg.io/cluster: db, cnpg.io/instanceRole: replica}
                type: ClusterIP
            - apiVersion: v1
              kind: Service
              metadata: {name: db-r}
              spec:
                ports: [{name: postgres, port: 5432, protocol: TCP}]
                selector: {cnpg.io/cluster: db, cnpg.io/podRole: instance}
                type: ClusterIP
        "#]]
        .assert_eq(&Sample::minimal().shown(services));
    }

    #[test]
    fn services_are_left_out_and_added_as_wanted() {
        let sample = Sample::spec(
            "instances: 3
storage: {size: 1Gi}
managed:
  services:
    disabledDefaultServices: [ro, r]
    additional:
    - selectorType: rw
      updateStrategy: replace
      serviceTemplate:
        metadata: {name: outside, labels: {team: blue, cnpg.io/cluster: x}, annotations: {a: b}}
        spec: {type: LoadBalancer, selector: {app: wrong}}
    - selectorType: ro
      serviceTemplate:
        spec: {ports: [{port: 6432, targetPort: 5432}]}
    - selectorType: r
      serviceTemplate:
        metadata: {name: more}
        spec: {ports: [{name: other, port: 1}]}
    - selectorType: r
      serviceTemplate: {metadata: {name: db-rw}}",
        );
        let further = |it: &Blueprint<'_>| services(it).into_iter().skip(2).collect::<Vec<_>>();
        expect![[r#"
            - apiVersion: v1
              kind: Service
              metadata:
                annotations: {a: b, cnpg.io/updateStrategy: replace}
                labels: {cnpg.io/isManaged: "true", team: blue}
                name: outside
              spec:
                ports: [{name: postgres, port: 5432, protocol: TCP}]
                selector: {cnpg.io/cluster: db, cnpg.io/instanceRole: primary}
                type: LoadBalancer
            - apiVersion: v1
              kind: Service
              metadata:
                annotations: {cnpg.io/updateStrategy: patch}
                labels: {cnpg.io/isManaged: "true"}
                name: db-ro-additional
              spec:
                ports: [{port: 6432, targetPort: 5432}]
                selector: {cnpg.io/cluster: db, cnpg.io/instanceRole: replica}
                type: ClusterIP
            - apiVersion: v1
              kind: Service
              metadata:
                annotations: {cnpg.io/updateStrategy: patch}
                labels: {cnpg.io/isManaged: "true"}
                name: more
              spec:
                ports: [{name: other, port: 1}, {name: postgres, port: 5432, protocol: TCP}]
                selector: {cnpg.io/cluster: db, cnpg.io/podRole: instance}
                type: ClusterIP
        "#]]
        .assert_eq(&sample.shown(further));
    }
}
