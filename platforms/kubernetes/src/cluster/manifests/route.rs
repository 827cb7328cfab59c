//! Makes what agents write: the Lease with the record, and the addresses that lead to the primary.
//!
//! Never a record or an address. Both objects are to be created once and never applied again: that
//! would take back what an agent wrote.

use super::Blueprint;
use super::labels::{add_labels, texts};
use super::services;
use crate::pod::peers::SERVICE;
use crate::pod::route::{MANAGED_BY, OURSELVES, port};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Which addresses a service leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// Version 4 of the Internet Protocol.
    V4,
    /// Version 6 of the Internet Protocol.
    V6,
}

/// The family that a service got when it was made: the cluster's own preference, unless somebody
/// chose another one.
pub fn family(service: &Service) -> AddressFamily {
    let spec = service.spec.as_ref();
    let told = spec.and_then(|spec| spec.ip_families.as_ref()?.first()).map(String::as_str);
    let address = spec.and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    match told {
        Some("IPv6") => AddressFamily::V6,
        None if address.contains(':') => AddressFamily::V6,
        Some(_) | None => AddressFamily::V4,
    }
}

/// The Lease, before there is a record.
pub fn lease(blueprint: &Blueprint<'_>) -> Lease {
    let metadata = blueprint.metadata(blueprint.name().to_owned());
    Lease { metadata, spec: Some(LeaseSpec::default()) }
}

/// The addresses of the service for reading and writing, before there is a primary.
///
/// The family cannot be changed later: it is that of the service, which is that of the pods.
pub fn slice(blueprint: &Blueprint<'_>, family: AddressFamily) -> EndpointSlice {
    let name = services::of_primary(&blueprint.checked.name);
    let mut metadata = blueprint.metadata(name.clone());
    add_labels(&mut metadata, texts([(SERVICE, &name), (MANAGED_BY, OURSELVES)]));
    let address_type = match family {
        AddressFamily::V4 => "IPv4",
        AddressFamily::V6 => "IPv6",
    };
    EndpointSlice {
        address_type: address_type.to_owned(),
        endpoints: Some(Vec::new()),
        metadata,
        ports: Some(vec![port()]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;
    use k8s_openapi::api::core::v1::ServiceSpec;

    #[test]
    fn the_family_is_that_of_the_service() {
        let with = |families: Option<&[&str]>, address: &str| {
            let ip_families = families.map(|all| all.iter().map(ToString::to_string).collect());
            let cluster_ip = Some(address.to_owned());
            let spec = Some(ServiceSpec { ip_families, cluster_ip, ..ServiceSpec::default() });
            family(&Service { spec, ..Service::default() })
        };
        assert_eq!(family(&Service::default()), AddressFamily::V4);
        assert_eq!(with(Some(&["IPv4", "IPv6"]), "10.0.0.1"), AddressFamily::V4);
        assert_eq!(with(Some(&["IPv6", "IPv4"]), "fd00::1"), AddressFamily::V6);
        assert_eq!(with(None, "fd00::1"), AddressFamily::V6);
        assert_eq!(with(None, "10.0.0.1"), AddressFamily::V4);
    }

    #[test]
    fn a_new_cluster_has_neither_a_record_nor_a_route() {
        let made = |it: &Blueprint<'_>| (lease(it), slice(it, AddressFamily::V4));
        expect![[r#"
            - {apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: db}, spec: {}}
            - addressType: IPv4
              apiVersion: discovery.k8s.io/v1
              endpoints: []
              kind: EndpointSlice
              metadata:
                labels:
                  endpointslice.kubernetes.io/managed-by: pgherd.dev
                  kubernetes.io/service-name: db-rw
                name: db-rw
              ports: [{name: postgres, port: 5432, protocol: TCP}]
        "#]]
        .assert_eq(&Sample::minimal().shown(made));
    }
}
