//! Makes what agents write: the Lease with the record, and the addresses that lead to the primary.
//!
//! Never a record or an address. Both objects are to be created once and never applied again: that
//! would take back what an agent wrote.

use super::labels::{SERVICE_NAME, SLICE_WRITER, add_labels, texts};
use super::{Blueprint, POSTGRES_PORT, POSTGRES_PORT_NAME};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};

/// Which addresses pods have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// Version 4 of the Internet Protocol.
    V4,
    /// Version 6 of the Internet Protocol.
    V6,
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
    let name = blueprint.named("rw");
    let mut metadata = blueprint.metadata(name.clone());
    add_labels(&mut metadata, texts([(SERVICE_NAME, &name), (SLICE_WRITER, "pgherd.dev")]));
    let port = EndpointPort {
        name: Some(POSTGRES_PORT_NAME.to_owned()),
        port: Some(POSTGRES_PORT),
        protocol: Some("TCP".to_owned()),
        ..EndpointPort::default()
    };
    let address_type = match family {
        AddressFamily::V4 => "IPv4",
        AddressFamily::V6 => "IPv6",
    };
    EndpointSlice {
        address_type: address_type.to_owned(),
        endpoints: Some(Vec::new()),
        metadata,
        ports: Some(vec![port]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

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
