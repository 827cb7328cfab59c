//! Makes the one Secret in which an instance finds what the operator has made for it, and says which
//! files come from it.
//!
//! Never with what only signs: the keys of authorities stay where no pod, and so no node, reads them.

use super::{Blueprint, labels, secrets};
use crate::cluster::certificates::REPLICATION_PASSWORD;
use k8s_openapi::api::core::v1::Secret;
use pgherd_api::agent::Superuser;
use pgherd_core::names::InstanceName;
use std::borrow::Borrow;
use std::collections::BTreeMap;

/// One file of an instance, and where its content is.
pub(super) struct File {
    pub(super) path: &'static str,
    /// The Secret with the original, and the key in it.
    pub(super) original: (String, &'static str),
    pub(super) held: Held,
    pub(super) need: Need,
}

/// Which Secret a pod sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    /// The user's own, with a key or a certificate: nothing of it is copied.
    ByUser,
    /// The one of the instance, under this key.
    Together(&'static str),
}

impl Held {
    pub(super) fn key(self) -> Option<&'static str> {
        match self {
            Self::ByUser => None,
            Self::Together(key) => Some(key),
        }
    }
}

/// Whether an instance can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Required,
    Optional,
}

/// What an agent shows to others, by the same names in its Secret.
pub(super) const OWN: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];

/// Every file that all instances have alike.
pub(super) fn files(blueprint: &Blueprint<'_>) -> Vec<File> {
    let given = blueprint.spec().certificates.as_ref();
    let is_given = |of: fn(&_) -> &Option<String>| given.is_some_and(|it| of(it).is_some());
    let agents = || secrets::agents_name(&blueprint.checked.name);
    let file = |path, original, (is_given, key): (bool, _)| {
        let held = if is_given { Held::ByUser } else { Held::Together(key) };
        File { path, original, held, need: Need::Required }
    };
    let server = is_given(|it| &it.server_tls_secret);
    let replication = is_given(|it| &it.replication_tls_secret);
    let clients_by = is_given(|it| &it.client_ca_secret);
    let servers_by = is_given(|it| &it.server_ca_secret);
    let of_server = blueprint.server_secret();
    let of_replication = blueprint.replication_secret();
    // Passwords are copied whoever gives them: a pod that names their Secret would have to be replaced when
    // the manifest names another one, and for PostgreSQL that is a statement.
    let superuser = file(
        "secrets/superuser",
        (blueprint.superuser_secret(), "password"),
        (false, "superuser-password"),
    );
    vec![
        file("tls/server/tls.crt", (of_server.clone(), "tls.crt"), (server, "server.crt")),
        file("tls/server/tls.key", (of_server, "tls.key"), (server, "server.key")),
        // Each side has the authority that it checks the other one by.
        file(
            "tls/server/ca.crt",
            (blueprint.client_authority_secret(), "ca.crt"),
            (clients_by, "client-ca.crt"),
        ),
        file(
            "tls/replication/tls.crt",
            (of_replication.clone(), "tls.crt"),
            (replication, "replication.crt"),
        ),
        file(
            "tls/replication/tls.key",
            (of_replication, "tls.key"),
            (replication, "replication.key"),
        ),
        file(
            "tls/replication/ca.crt",
            (blueprint.server_authority_secret(), "ca.crt"),
            (servers_by, "server-ca.crt"),
        ),
        file(
            "secrets/replication",
            (agents(), REPLICATION_PASSWORD),
            (false, REPLICATION_PASSWORD),
        ),
        file("secrets/app", (blueprint.app_secret(), "password"), (false, "app-password")),
        // It is there while the superuser may log in: whether that is so changes without a new pod.
        File { need: Need::Optional, ..superuser },
    ]
}

/// The Secret of an instance, once all that belongs into it is `known`: its agent's own identity is in
/// the Secret of that name already, or in one that is about to be written.
pub fn secret<S: Borrow<Secret>>(
    blueprint: &Blueprint<'_>,
    instance: &InstanceName,
    known: &BTreeMap<String, S>,
) -> Option<Secret> {
    let name = secrets::agent_name(instance);
    let entry = |secret: &str, key: &str| {
        let secret: &Secret = known.get(secret)?.borrow();
        secret.data.as_ref()?.get(key).cloned()
    };
    let mut data = BTreeMap::new();
    for key in OWN {
        data.insert(key.to_owned(), entry(&name, key)?);
    }
    for file in files(blueprint) {
        let Some(key) = file.held.key() else { continue };
        let (original, of_original) = &file.original;
        match (file.need, entry(original, of_original)) {
            (Need::Required, content) => data.insert(key.to_owned(), content?),
            (Need::Optional, Some(content)) if allows_superuser(blueprint) => {
                data.insert(key.to_owned(), content)
            }
            (Need::Optional, _) => None,
        };
    }
    let mut metadata = blueprint.metadata(name);
    let of_instance = [(labels::INSTANCE, &*instance.to_string())];
    labels::add_labels(&mut metadata, labels::texts(of_instance));
    let type_ = Some("kubernetes.io/tls".to_owned());
    Some(Secret { metadata, data: Some(data), type_, ..Secret::default() })
}

fn allows_superuser(blueprint: &Blueprint<'_>) -> bool {
    match blueprint.checked.postgres.superuser {
        Superuser::Allowed => true,
        Superuser::Refused => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use k8s_openapi::ByteString;

    fn known(names: &[&str]) -> BTreeMap<String, Secret> {
        let keys = ["tls.crt", "tls.key", "ca.crt", "ca.key", "password", REPLICATION_PASSWORD];
        let secret = |name: &str| {
            let content =
                |key: &&str| ((*key).to_owned(), ByteString(format!("{name}/{key}").into_bytes()));
            Secret { data: Some(keys.iter().map(content).collect()), ..Secret::default() }
        };
        names.iter().map(|name| ((*name).to_owned(), secret(name))).collect()
    }

    fn told(sample: &Sample, names: &[&str]) -> Option<String> {
        let secret = sample.made(|it| secret(it, &sample.instance(1), &known(names)))?;
        let line = |(key, value): (String, ByteString)| {
            format!("{key}={} ", String::from_utf8(value.0).unwrap())
        };
        Some(secret.data.unwrap().into_iter().map(line).collect())
    }

    const ALL: [&str; 6] =
        ["db-server", "db-ca", "db-replication", "db-agents", "db-app", "db-1-agent"];

    #[test]
    fn it_has_no_key_of_an_authority_and_waits_for_all_it_has() {
        let sample = Sample::minimal();
        let with_superuser = [&ALL[..], &["db-superuser"]].concat();
        assert_eq!(
            told(&sample, &with_superuser).unwrap(),
            "app-password=db-app/password ca.crt=db-1-agent/ca.crt client-ca.crt=db-ca/ca.crt \
             replication-password=db-agents/replication-password \
             replication.crt=db-replication/tls.crt replication.key=db-replication/tls.key \
             server-ca.crt=db-ca/ca.crt server.crt=db-server/tls.crt server.key=db-server/tls.key \
             tls.crt=db-1-agent/tls.crt tls.key=db-1-agent/tls.key "
        );
        for missing in ALL {
            let others: Vec<&str> = ALL.into_iter().filter(|name| *name != missing).collect();
            assert_eq!(told(&sample, &others), None, "without {missing}");
        }
    }

    #[test]
    fn the_superusers_password_is_there_while_it_may_log_in() {
        let sample = Sample::spec("instances: 3\nenableSuperuserAccess: true");
        let all = [&ALL[..], &["db-superuser"]].concat();
        assert!(told(&sample, &all).unwrap().contains("superuser-password=db-superuser/password"));
        assert!(told(&sample, &ALL).is_some());
    }

    #[test]
    fn of_what_the_user_gives_only_passwords_are_copied() {
        let sample = Sample::spec(
            "instances: 3\nsuperuserSecret: {name: mine}\nenableSuperuserAccess: true\n\
             bootstrap: {initdb: {secret: {name: login}}}\n\
             certificates: {serverTLSSecret: a, serverCASecret: b, clientCASecret: c, \
             replicationTLSSecret: d}",
        );
        let given = ["a", "b", "c", "d", "login", "mine", "db-agents", "db-1-agent"];
        assert_eq!(
            told(&sample, &given).unwrap(),
            "app-password=login/password ca.crt=db-1-agent/ca.crt \
             replication-password=db-agents/replication-password \
             superuser-password=mine/password tls.crt=db-1-agent/tls.crt tls.key=db-1-agent/tls.key "
        );
    }
}
