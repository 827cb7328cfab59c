//! Reads the address applications use: one URI with several hosts, as libpq understands it.
//!
//! Never shows the password, and never accepts a transport it could not keep safe.

use std::fmt;
use std::path::PathBuf;

/// Where a cluster is reached, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub hosts: Vec<Host>,
    pub user: String,
    pub database: String,
    pub transport: Transport,
    password: String,
}

/// One of the places a server may listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: u16,
}

/// How bytes travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    Plain,
    /// TLS; the server's certificate is issued by an authority in this file, for the host's name.
    Verified {
        authorities: PathBuf,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    #[error("an address starts with postgresql://, this one does not")]
    Scheme,
    #[error("the address names no {0}: write it as postgresql://user:password@host:port/database")]
    Lacks(&'static str),
    #[error("{0:?} is not a host and a port: write it as host:port")]
    Host(String),
    // Without the text: it may be the password.
    #[error("the address is not percent-encoded text: write % as %25")]
    Encoding,
    #[error("sslmode={0} does not prove who answers: use sslmode=verify-full and sslrootcert=FILE")]
    Unverified(String),
    #[error("sslmode=verify-full needs sslrootcert=FILE, the certificate of the authority")]
    NoAuthority,
}

impl Address {
    /// Reads a URI. Options that do not change who is reached, or how safely, are passed over.
    pub fn parse(uri: &str) -> Result<Self, AddressError> {
        let rest = uri.strip_prefix("postgresql://").or_else(|| uri.strip_prefix("postgres://"));
        let rest = rest.ok_or(AddressError::Scheme)?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, place) = place.rsplit_once('@').ok_or(AddressError::Lacks("user"))?;
        let (user, password) = login.split_once(':').ok_or(AddressError::Lacks("password"))?;
        let (hosts, database) = place.split_once('/').ok_or(AddressError::Lacks("database"))?;
        Ok(Self {
            hosts: hosts.split(',').map(Host::parse).collect::<Result<_, _>>()?,
            user: named("user", user)?,
            password: named("password", password)?,
            database: named("database", database)?,
            transport: Transport::parse(options)?,
        })
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::Host(text.to_owned());
        let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: decoded(name)?, port: port.parse().map_err(|_| wrong())? })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl Transport {
    fn parse(options: &str) -> Result<Self, AddressError> {
        let option = |wanted: &str| {
            let mut pairs = options.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == wanted).map(|(_, value)| decoded(value)).transpose()
        };
        let authorities = option("sslrootcert")?.map(PathBuf::from);
        match option("sslmode")?.as_deref() {
            Some("disable") => Ok(Self::Plain),
            Some("verify-full") => {
                Ok(Self::Verified { authorities: authorities.ok_or(AddressError::NoAuthority)? })
            }
            // libpq's own default falls back to plain text without a word.
            other => Err(AddressError::Unverified(other.unwrap_or("prefer").to_owned())),
        }
    }
}

fn named(what: &'static str, text: &str) -> Result<String, AddressError> {
    if text.is_empty() { Err(AddressError::Lacks(what)) } else { decoded(text) }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let wrong = || AddressError::Encoding;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = after.split_at_checked(2).ok_or_else(wrong)?;
        let digits = str::from_utf8(digits).map_err(|_| wrong())?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "postgresql://app:s%40%2Fcret@127.0.0.1:5441,localhost:5442,[::1]:5443/shop\
        ?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=%2Fetc%2Fca.crt";

    #[test]
    fn every_part_is_read() {
        let address = Address::parse(WHOLE).unwrap();
        let hosts: Vec<String> = address.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["127.0.0.1:5441", "localhost:5442", "::1:5443"]);
        assert_eq!((address.user.as_str(), address.password()), ("app", "s@/cret"));
        assert_eq!(address.database, "shop");
        let authorities = PathBuf::from("/etc/ca.crt");
        assert_eq!(address.transport, Transport::Verified { authorities });
    }

    #[test]
    fn the_password_is_not_shown() {
        let shown = format!("{:?}", Address::parse(WHOLE).unwrap());
        assert!(!shown.contains("cret"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said = |uri: &str| Address::parse(uri).unwrap_err().to_string();
        let all = [
            "mysql://a:b@c:1/d",
            "postgresql://c:1/d",
            "postgresql://a@c:1/d",
            "postgresql://a:b@c:1",
            "postgresql://a:b@c/d",
            "postgresql://a:b@c:x/d",
            "postgresql://a:%4@c:1/d",
            "postgresql://a:b@c:1/d",
            "postgresql://a:b@c:1/d?sslmode=require",
            "postgresql://a:b@c:1/d?sslmode=verify-full",
        ];
        expect_test::expect![[r#"
            an address starts with postgresql://, this one does not
            the address names no user: write it as postgresql://user:password@host:port/database
            the address names no password: write it as postgresql://user:password@host:port/database
            the address names no database: write it as postgresql://user:password@host:port/database
            "c" is not a host and a port: write it as host:port
            "c:x" is not a host and a port: write it as host:port
            the address is not percent-encoded text: write % as %25
            sslmode=prefer does not prove who answers: use sslmode=verify-full and sslrootcert=FILE
            sslmode=require does not prove who answers: use sslmode=verify-full and sslrootcert=FILE
            sslmode=verify-full needs sslrootcert=FILE, the certificate of the authority"#]]
        .assert_eq(&all.map(said).join("\n"));
    }
}
