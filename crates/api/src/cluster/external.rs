//! Servers and archives outside the cluster. Never holds a password, only where it is kept.

use super::Cluster;
use super::backup::Plugin;
use super::object_store::BarmanObjectStore;
use super::problem::{Findings, Refusal};
use crate::agent::{ExternalFile, ExternalServer};
use crate::field::FieldPath;
use k8s_openapi::api::core::v1::SecretKeySelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A server or an archive outside the cluster, to start from or to follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalCluster {
    /// The name that other fields use; by default also the name of the server in the archive.
    pub name: String,
    /// Connection parameters of libpq: `host`, `port`, `user`, `dbname`, `sslmode` and so on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connection_parameters: BTreeMap<String, String>,
    /// The password of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretKeySelector>,
    /// The client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_cert: Option<SecretKeySelector>,
    /// The client certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_key: Option<SecretKeySelector>,
    /// The certificate authority of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssl_root_cert: Option<SecretKeySelector>,
    /// The archive in an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barman_object_store: Option<BarmanObjectStore>,
    /// The plugin that reads the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Plugin>,
}

/// Why a server outside the cluster cannot be copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum ExternalRefusal {
    #[error(
        "is {given:?}, but there is no such entry in externalClusters: add it or correct the name"
    )]
    Unlisted { given: String },
    #[error(
        "says nothing of how its server is reached, and data comes from a running one: add connectionParameters, for example host, user and dbname"
    )]
    Unreachable,
    #[error("is not the name of a parameter: use those of libpq, such as host, port and sslmode")]
    Parameter,
    #[error(
        "is a secret, and whoever may read the cluster could read it: put it into a Secret, and name that in password"
    )]
    Password,
    #[error(
        "is a secret, and whoever may read the cluster could read it: keep the key without a passphrase in the Secret that sslKey names"
    )]
    Passphrase,
}

impl Cluster {
    /// The entry of `spec.externalClusters` whose server the cluster begins as a copy of or with
    /// databases of, and its place.
    pub fn copied(&self) -> Option<(FieldPath, &ExternalCluster)> {
        let bootstrap = self.spec.bootstrap.as_ref()?;
        let copy = bootstrap.pg_basebackup.as_ref().map(|copy| &copy.source);
        let import = bootstrap.initdb.as_ref().and_then(|initdb| initdb.import.as_ref());
        let source = copy.or_else(|| import.map(|import| &import.source.external_cluster))?;
        let mut entries = self.spec.external_clusters.iter().enumerate();
        let (index, entry) = entries.find(|(_, entry)| entry.name == *source)?;
        Some((FieldPath::of("spec.externalClusters").item(index), entry))
    }
}

impl ExternalCluster {
    /// One of which only the archive is known.
    pub fn of_archive(name: String, store: BarmanObjectStore) -> Self {
        Self {
            name,
            connection_parameters: BTreeMap::new(),
            password: None,
            ssl_cert: None,
            ssl_key: None,
            ssl_root_cert: None,
            barman_object_store: Some(store),
            plugin: None,
        }
    }

    /// What opens its server: the field that names it, what it is, and where it is kept.
    pub fn keys(&self) -> Vec<(&'static str, ExternalFile, &SecretKeySelector)> {
        let fields = [
            ("password", ExternalFile::Password, &self.password),
            ("sslCert", ExternalFile::Certificate, &self.ssl_cert),
            ("sslKey", ExternalFile::Key, &self.ssl_key),
            ("sslRootCert", ExternalFile::Authority, &self.ssl_root_cert),
        ];
        let mut keys = Vec::new();
        for (field, file, kept) in fields {
            keys.extend(kept.as_ref().map(|kept| (field, file, kept)));
        }
        keys
    }
}

/// How the server is reached that the cluster begins as a copy of or with databases of; a field names
/// it.
pub(super) fn checked(
    cluster: &Cluster,
    (named, source): (&FieldPath, &str),
    findings: &mut Findings,
) -> Option<ExternalServer> {
    let mut refuse = |path: &FieldPath, refusal| {
        findings.refuse(path, Refusal::External(refusal));
    };
    let Some((place, entry)) = cluster.copied() else {
        let unlisted = ExternalRefusal::Unlisted { given: source.to_owned() };
        refuse(named, unlisted);
        return None;
    };
    if entry.connection_parameters.is_empty() {
        refuse(&place, ExternalRefusal::Unreachable);
    }
    for name in entry.connection_parameters.keys() {
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let refusal = match name.as_str() {
            "password" => Some(ExternalRefusal::Password),
            "sslpassword" => Some(ExternalRefusal::Passphrase),
            _ if is_name => None,
            _ => Some(ExternalRefusal::Parameter),
        };
        if let Some(refusal) = refusal {
            refuse(&place.name("connectionParameters").name(name), refusal);
        }
    }
    Some(ExternalServer {
        name: entry.name.clone(),
        parameters: entry.connection_parameters.clone(),
        files: entry.keys().into_iter().map(|(_, file, _)| file).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// What becomes of a cluster that begins as a copy of entry `a`, in flow style.
    fn outcome(entry: &str) -> String {
        let text = format!(
            "{{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {{name: db}}, \
             spec: {{bootstrap: {{pg_basebackup: {{source: a}}}}, externalClusters: [{{{entry}}}]}}}}"
        );
        match Cluster::from_yaml(&text).unwrap().0.checked() {
            Ok((checked, _)) => format!("{:?}\n", checked.postgres.copy_of.unwrap()),
            Err(problems) => {
                problems.iter().map(|it| format!("{it}\n")).collect::<Vec<_>>().concat()
            }
        }
    }

    #[test]
    fn what_reaches_the_server_is_told_without_its_secrets() {
        expect![[r#"
            ExternalServer { name: "a", parameters: {"host": "h", "user": "u"}, files: {} }
            ExternalServer { name: "a", parameters: {"host": "h"}, files: {Password, Certificate, Key, Authority} }
        "#]].assert_eq(
            &[
                "name: a, connectionParameters: {host: h, user: u}",
                "name: a, connectionParameters: {host: h}, password: {name: s, key: p}, \
                 sslCert: {name: s, key: c}, sslKey: {name: s, key: k}, \
                 sslRootCert: {name: s, key: r}",
            ]
            .map(outcome)
            .concat(),
        );
    }

    #[test]
    fn what_cannot_be_copied_is_refused() {
        expect![[r#"
            spec.bootstrap.pg_basebackup.source is "a", but there is no such entry in externalClusters: add it or correct the name
            spec.externalClusters[0] says nothing of how its server is reached, and data comes from a running one: add connectionParameters, for example host, user and dbname
            spec.externalClusters[0].connectionParameters["host "] is not the name of a parameter: use those of libpq, such as host, port and sslmode
            spec.externalClusters[0].connectionParameters.password is a secret, and whoever may read the cluster could read it: put it into a Secret, and name that in password
            spec.externalClusters[0].connectionParameters.sslpassword is a secret, and whoever may read the cluster could read it: keep the key without a passphrase in the Secret that sslKey names
        "#]].assert_eq(
            &[
                "name: b, connectionParameters: {host: h}",
                "name: a",
                "name: a, connectionParameters: {password: x, sslpassword: x, 'host ': x}",
            ]
            .map(outcome)
            .concat(),
        );
    }
}
