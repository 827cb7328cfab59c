//! Says how the primary of a cluster is reached by a new one of its namespace that begins as its copy.
//!
//! Never reads a Secret: it only names entries.

use super::certificates::REPLICATION_PASSWORD;
use super::manifests::{secrets, services};
use k8s_openapi::api::core::v1::SecretKeySelector;
use pgherd_agent::postgres::config::REPLICATION_ROLE;
use pgherd_api::cluster::Cluster;
use pgherd_api::cluster::external::ExternalCluster;
use pgherd_core::names::ClusterName;

/// By the service for writing, as a standby of its own would log in.
pub fn server(cluster: &Cluster, name: &ClusterName) -> ExternalCluster {
    let given = cluster.spec.certificates.as_ref();
    let authority = given.and_then(|it| it.server_ca_secret.clone());
    let authority = authority.unwrap_or_else(|| secrets::authority_name(name));
    let login = given.and_then(|it| it.replication_tls_secret.clone());
    let login = login.unwrap_or_else(|| secrets::replication_name(name));
    let entry = |secret: &str, key: &str| {
        Some(SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None })
    };
    let parameters = [
        ("host", services::of_primary(name)),
        ("user", REPLICATION_ROLE.to_owned()),
        ("dbname", "postgres".to_owned()),
        ("sslmode", "verify-full".to_owned()),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value));
    ExternalCluster {
        name: name.to_string(),
        connection_parameters: parameters.into(),
        password: entry(&secrets::agents_name(name), REPLICATION_PASSWORD),
        ssl_cert: entry(&login, "tls.crt"),
        ssl_key: entry(&login, "tls.key"),
        ssl_root_cert: entry(&authority, "ca.crt"),
        barman_object_store: None,
        plugin: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_logs_in_as_a_standby_does() {
        let said = |certificates: &str| {
            let text = format!(
                "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
                 spec: {{instances: 3{certificates}}}}}"
            );
            let (cluster, _) = Cluster::from_yaml(&text).unwrap();
            let server = server(&cluster, &ClusterName::parse("db").unwrap());
            let kept = server
                .keys()
                .into_iter()
                .map(|(_, file, kept)| format!("{}={}/{}", file.name(), kept.name, kept.key));
            let way =
                server.connection_parameters.iter().map(|(name, value)| format!("{name}={value}"));
            way.chain(kept).collect::<Vec<_>>().join(" ")
        };
        expect_test::expect![[
            r"dbname=postgres host=db-rw sslmode=verify-full user=streaming_replica password=db-agents/replication-password tls.crt=db-replication/tls.crt tls.key=db-replication/tls.key ca.crt=db-ca/ca.crt"
        ]]
        .assert_eq(&said(""));
        let given = said(
            ", certificates: {serverCASecret: a, serverTLSSecret: s, clientCASecret: c, replicationTLSSecret: r}",
        );
        assert!(
            given.contains("tls.crt=r/tls.crt") && given.ends_with("ca.crt=a/ca.crt"),
            "{given}"
        );
    }
}
