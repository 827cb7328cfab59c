//! Makes the Secrets of a cluster of passwords and certificates that exist.
//!
//! Never makes a password or a certificate up.

use super::Blueprint;
use super::labels::{self, add_labels, texts};
use super::pod::pull_secret;
use super::services;
use crate::pod::POSTGRES_PORT;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use pgherd_core::names::{ClusterName, InstanceName};
use std::fmt::Write as _;

/// The Secret with the authority that signs servers and clients, unless the user gives one.
pub fn authority_name(cluster: &ClusterName) -> String {
    format!("{cluster}-ca")
}

/// The Secret with the servers' certificate, unless the user gives one.
pub fn server_name(cluster: &ClusterName) -> String {
    format!("{cluster}-server")
}

/// The Secret with the certificate that standbys log in with, unless the user gives one.
pub fn replication_name(cluster: &ClusterName) -> String {
    format!("{cluster}-replication")
}

/// The Secret with the agents' own authority and the password for replication.
pub fn agents_name(cluster: &ClusterName) -> String {
    // Not `-agent`: that of cluster db-1 would be the one of an instance of cluster db.
    format!("{cluster}-agents")
}

/// The Secret with the identity of one agent.
pub fn agent_name(instance: &InstanceName) -> String {
    format!("{instance}-agent")
}

/// Where the Secrets of a cluster are; some may be given by the user.
impl Blueprint<'_> {
    /// The Secret with the password of the application's role.
    pub fn app_secret(&self) -> String {
        self.checked.owner_secret.clone().unwrap_or_else(|| self.named("app"))
    }

    /// The Secret with the superuser's password.
    pub fn superuser_secret(&self) -> String {
        let given = self.spec().superuser_secret.as_ref().map(|secret| secret.name.clone());
        given.unwrap_or_else(|| self.named("superuser"))
    }

    /// The Secret with the authority that signs servers.
    pub fn server_authority_secret(&self) -> String {
        let given = self.spec().certificates.as_ref().and_then(|it| it.server_ca_secret.clone());
        given.unwrap_or_else(|| authority_name(&self.checked.name))
    }

    /// The Secret with the authority that signs clients.
    pub fn client_authority_secret(&self) -> String {
        let given = self.spec().certificates.as_ref().and_then(|it| it.client_ca_secret.clone());
        given.unwrap_or_else(|| authority_name(&self.checked.name))
    }

    /// The Secret with the servers' certificate.
    pub fn server_secret(&self) -> String {
        let given = self.spec().certificates.as_ref().and_then(|it| it.server_tls_secret.clone());
        given.unwrap_or_else(|| server_name(&self.checked.name))
    }

    /// The Secret with the certificate that standbys log in with.
    pub fn replication_secret(&self) -> String {
        let given =
            self.spec().certificates.as_ref().and_then(|it| it.replication_tls_secret.clone());
        given.unwrap_or_else(|| replication_name(&self.checked.name))
    }
}

/// The login of the application.
pub fn app(blueprint: &Blueprint<'_>, username: &str, database: &str, password: &str) -> Secret {
    login(blueprint, UserType::App, &Login { username, database, password })
}

/// The login of the superuser, for every database.
pub fn superuser(blueprint: &Blueprint<'_>, password: &str) -> Secret {
    let login_ = Login { username: "postgres", database: "*", password };
    login(blueprint, UserType::Superuser, &login_)
}

/// The cluster's copy of the Secret that images are pulled with.
pub fn pull(blueprint: &Blueprint<'_>, original: &Secret) -> Secret {
    Secret {
        metadata: blueprint.metadata(pull_secret(blueprint)),
        data: original.data.clone(),
        type_: original.type_.clone(),
        ..Secret::default()
    }
}

#[derive(Clone, Copy)]
enum UserType {
    App,
    Superuser,
}

struct Login<'a> {
    username: &'a str,
    database: &'a str,
    password: &'a str,
}

/// Everything a client may want to connect with, in every form that users know.
fn login(blueprint: &Blueprint<'_>, user_type: UserType, login: &Login<'_>) -> Secret {
    let (name, user_type) = match user_type {
        UserType::App => ("app", "app"),
        UserType::Superuser => ("superuser", "superuser"),
    };
    let host = services::of_primary(&blueprint.checked.name);
    let near = format!("{host}.{}", blueprint.namespace);
    let far = format!("{near}.svc.{}", blueprint.settings.cluster_domain);
    let entries = [
        ("username", login.username.to_owned()),
        ("user", login.username.to_owned()),
        ("password", login.password.to_owned()),
        ("dbname", login.database.to_owned()),
        ("port", POSTGRES_PORT.to_string()),
        ("pgpass", pgpass(&host, login)),
        ("uri", uri(&near, login)),
        ("jdbc-uri", jdbc_uri(&near, login)),
        ("fqdn-uri", uri(&far, login)),
        ("fqdn-jdbc-uri", jdbc_uri(&far, login)),
        ("host", host),
    ];
    let entries = entries.each_ref().map(|(key, text)| (*key, text.as_str()));
    let mut secret = secret(blueprint, blueprint.named(name), "kubernetes.io/basic-auth", &entries);
    let own = [(labels::USER_TYPE, user_type), (labels::RELOAD, "true")];
    add_labels(&mut secret.metadata, texts(own));
    secret
}

fn secret(blueprint: &Blueprint<'_>, name: String, kind: &str, entries: &[(&str, &str)]) -> Secret {
    let entry =
        |(key, text): &(&str, &str)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()));
    Secret {
        metadata: blueprint.metadata(name),
        // Not `stringData`: what is written can then be compared with what is read.
        data: Some(entries.iter().map(entry).collect()),
        type_: Some(kind.to_owned()),
        ..Secret::default()
    }
}

fn uri(host: &str, login: &Login<'_>) -> String {
    let (username, password) = (encoded(login.username), encoded(login.password));
    format!("postgresql://{username}:{password}@{host}:{POSTGRES_PORT}/{}", path(login.database))
}

fn jdbc_uri(host: &str, login: &Login<'_>) -> String {
    let (username, password) = (encoded(login.username), encoded(login.password));
    let database = path(login.database);
    format!(
        "jdbc:postgresql://{host}:{POSTGRES_PORT}/{database}?password={password}&user={username}"
    )
}

/// The line of a password file, in which `:` ends a field and `\` makes the next letter plain.
fn pgpass(host: &str, login: &Login<'_>) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let (database, username, password) =
        (escaped(login.database), escaped(login.username), escaped(login.password));
    format!("{host}:{POSTGRES_PORT}:{database}:{username}:{password}\n")
}

/// A database as the path of a URI. A lone star stays: it is how users know the superuser's.
fn path(database: &str) -> String {
    if database == "*" { database.to_owned() } else { encoded(database) }
}

/// A text with everything in percent notation that means something, or may, in any part of a URI.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::Sample;
    use super::*;
    use expect_test::expect;

    /// A Secret in plain text.
    fn plain(secret: &Secret) -> String {
        let metadata = &secret.metadata;
        let head = format!(
            "{} ({})\n",
            metadata.name.as_deref().unwrap_or_default(),
            secret.type_.as_deref().unwrap_or_default()
        );
        let labels = metadata.labels.iter().flatten();
        let labels = labels.filter(|(name, _)| name.starts_with("cnpg.io/"));
        let labels = labels.map(|(name, value)| format!("  {name}={value}\n"));
        let entries = secret.data.iter().flatten().map(|(key, value)| {
            format!("  {key}: {:?}\n", String::from_utf8(value.0.clone()).unwrap())
        });
        [head].into_iter().chain(labels).chain(entries).collect::<Vec<_>>().concat()
    }

    #[test]
    fn logins_survive_any_letter() {
        let sample = Sample::minimal();
        let app = sample.made(|it| app(it, "app user", "shop/1", "p@ss/w:rd %\\é"));
        expect![[r#"
            db-app (kubernetes.io/basic-auth)
              cnpg.io/cluster=db
              cnpg.io/reload=true
              cnpg.io/userType=app
              dbname: "shop/1"
              fqdn-jdbc-uri: "jdbc:postgresql://db-rw.shop.svc.cluster.local:5432/shop%2F1?password=p%40ss%2Fw%3Ard%20%25%5C%C3%A9&user=app%20user"
              fqdn-uri: "postgresql://app%20user:p%40ss%2Fw%3Ard%20%25%5C%C3%A9@db-rw.shop.svc.cluster.local:5432/shop%2F1"
              host: "db-rw"
              jdbc-uri: "jdbc:postgresql://db-rw.shop:5432/shop%2F1?password=p%40ss%2Fw%3Ard%20%25%5C%C3%A9&user=app%20user"
              password: "p@ss/w:rd %\\é"
              pgpass: "db-rw:5432:shop/1:app user:p@ss/w\\:rd %\\\\é\n"
              port: "5432"
              uri: "postgresql://app%20user:p%40ss%2Fw%3Ard%20%25%5C%C3%A9@db-rw.shop:5432/shop%2F1"
              user: "app user"
              username: "app user"
        "#]].assert_eq(&plain(&app));
    }

    #[test]
    fn the_superuser_may_enter_every_database() {
        let sample = Sample::minimal().with("KUBERNETES_CLUSTER_DOMAIN", "k8s.example.org");
        expect![[r#"
            db-superuser (kubernetes.io/basic-auth)
              cnpg.io/cluster=db
              cnpg.io/reload=true
              cnpg.io/userType=superuser
              dbname: "*"
              fqdn-jdbc-uri: "jdbc:postgresql://db-rw.shop.svc.k8s.example.org:5432/*?password=secret&user=postgres"
              fqdn-uri: "postgresql://postgres:secret@db-rw.shop.svc.k8s.example.org:5432/*"
              host: "db-rw"
              jdbc-uri: "jdbc:postgresql://db-rw.shop:5432/*?password=secret&user=postgres"
              password: "secret"
              pgpass: "db-rw:5432:*:postgres:secret\n"
              port: "5432"
              uri: "postgresql://postgres:secret@db-rw.shop:5432/*"
              user: "postgres"
              username: "postgres"
        "#]].assert_eq(&plain(&sample.made(|it| superuser(it, "secret"))));
    }

    #[test]
    fn the_pull_secret_is_copied_as_it_is() {
        let original = Secret {
            data: Some([(".dockerconfigjson".to_owned(), ByteString(b"{}".to_vec()))].into()),
            type_: Some("kubernetes.io/dockerconfigjson".to_owned()),
            ..Secret::default()
        };
        expect![[r#"
            apiVersion: v1
            data: {.dockerconfigjson: e30=}
            kind: Secret
            metadata: {name: db-pull-secret}
            type: kubernetes.io/dockerconfigjson
        "#]]
        .assert_eq(&Sample::minimal().shown(|it| pull(it, &original)));
    }
}
