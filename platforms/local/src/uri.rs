//! Writes the address of a cluster as every libpq client takes it: all hosts, and the one that
//! takes writes is chosen at each connection.
//!
//! Never with a password, unless that is asked for.

use crate::control::View;
use crate::failure::{Failure, Kind};
use crate::folder::ClusterFolder;
use pgherd_agent::postgres::install::Tls;
use std::fmt::Write;

/// Whom a client shall be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    ReadWrite,
    /// A standby, if there is one.
    PreferStandby,
    /// Whoever is there.
    Any,
}

impl Session {
    fn attribute(self) -> &'static str {
        match self {
            Self::ReadWrite => "read-write",
            Self::PreferStandby => "prefer-standby",
            Self::Any => "any",
        }
    }
}

/// What an address is made of.
#[derive(Debug, Clone)]
pub struct Address<'a> {
    pub ports: Vec<u16>,
    pub user: &'a str,
    pub database: &'a str,
    /// None: libpq reads it from the passfile.
    pub password: Option<&'a str>,
    pub session: Session,
    /// Whether the servers can encrypt.
    pub tls: Tls,
    pub folder: &'a ClusterFolder,
}

/// The address of the owner of the application's database, for writing.
pub fn plain(view: &View, folder: &ClusterFolder) -> Result<String, Failure> {
    Ok(uri(&Address {
        ports: ports(view)?,
        user: &view.owner,
        database: &view.database,
        password: None,
        session: Session::ReadWrite,
        tls: view.tls,
        folder,
    }))
}

/// Of all instances. An address without one would lead to whatever server a client's environment
/// names, or listens at its usual socket.
pub fn ports(view: &View) -> Result<Vec<u16>, Failure> {
    let ports: Vec<u16> = view.instances.iter().map(|instance| instance.port).collect();
    if ports.is_empty() {
        let what = format!("cluster {} has no instances yet", view.cluster);
        return Err(Failure::new(Kind::NotFound, what)
            .fix("pgherd local up with -f and its manifest, or pgherd local destroy"));
    }
    Ok(ports)
}

pub fn uri(address: &Address<'_>) -> String {
    let hosts: Vec<String> = address.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut text = format!("postgresql://{}", escaped(address.user));
    if let Some(password) = address.password {
        text.push(':');
        text.push_str(&escaped(password));
    }
    text.push('@');
    text.push_str(&hosts.join(","));
    text.push('/');
    text.push_str(&escaped(address.database));
    let certificate = address.folder.authority_certificate();
    let passfile = address.folder.passfile();
    let mut options = vec![("target_session_attrs", address.session.attribute().to_owned())];
    match address.tls {
        Tls::Available => options.extend([
            ("sslmode", "verify-ca".to_owned()),
            ("sslrootcert", escaped(&certificate.display().to_string())),
        ]),
        Tls::Missing => options.push(("sslmode", "disable".to_owned())),
    }
    // A server whose process is frozen takes connections and never answers.
    options.push(("connect_timeout", "3".to_owned()));
    if address.password.is_none() {
        options.push(("passfile", escaped(&passfile.display().to_string())));
    }
    for (position, (name, value)) in options.iter().enumerate() {
        text.push(if position == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

/// Percent-encodes all but what is safe anywhere in a URI.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(escaped, "%{byte:02X}").is_ok();
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Home;
    use pgherd_core::names::ClusterName;

    #[test]
    fn an_address_names_every_host_and_hides_the_password() {
        let home = Home::at("/srv/pg herd".into());
        let folder = home.cluster(&ClusterName::parse("db").unwrap()).unwrap();
        let mut address = Address {
            ports: vec![5501, 5502],
            user: "app",
            database: "a/p?p",
            password: None,
            session: Session::ReadWrite,
            tls: Tls::Available,
            folder: &folder,
        };
        expect_test::expect!["postgresql://app@127.0.0.1:5501,127.0.0.1:5502/a/p%3Fp?target_session_attrs=read-write&sslmode=verify-ca&sslrootcert=/srv/pg%20herd/db/ca.crt&connect_timeout=3&passfile=/srv/pg%20herd/db/secrets/pgpass"].assert_eq(&uri(&address));
        address.password = Some("s:e@c");
        address.session = Session::PreferStandby;
        let encrypted = uri(&address);
        address.tls = Tls::Missing;
        expect_test::expect!["postgresql://app:s%3Ae%40c@127.0.0.1:5501,127.0.0.1:5502/a/p%3Fp?target_session_attrs=prefer-standby&sslmode=disable&connect_timeout=3"].assert_eq(&uri(&address));
        expect_test::expect!["postgresql://app:s%3Ae%40c@127.0.0.1:5501,127.0.0.1:5502/a/p%3Fp?target_session_attrs=prefer-standby&sslmode=verify-ca&sslrootcert=/srv/pg%20herd/db/ca.crt&connect_timeout=3"].assert_eq(&encrypted);
    }
}
