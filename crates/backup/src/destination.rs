//! Reads where a repository lies, as `barmanObjectStore.destinationPath` and `endpointURL` say it.
//!
//! Never connects, and holds no secret.

mod names;

pub use names::{Prefix, PrefixError, ServerName, ServerNameError};

use std::fmt;
use std::path::PathBuf;

/// Where a repository lies. Several servers may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub place: Place,
    /// What all keys begin with.
    pub prefix: Prefix,
    pub endpoint: Option<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    S3 { bucket: String },
    Azure { account: String, container: String },
    Google { bucket: String },
    Folder(PathBuf),
}

/// An address to use in place of the provider's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub url: EndpointUrl,
    /// PEM certificates to trust in addition to the system's.
    pub authorities: Option<Vec<u8>>,
}

/// `http://` or `https://`, a host and perhaps a port and a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(String);

/// Why an address was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    #[error(
        "{given:?} is no place for backups: use s3://BUCKET/PATH, gs://BUCKET/PATH, \
         https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, or an absolute folder"
    )]
    Unknown { given: String },
    #[error(
        "{given:?} is relative, and where agents run nobody knows to what: write an absolute folder, \
         such as /srv/backups, or the address of a store"
    )]
    Relative { given: String },
    #[error("{given:?} names no {what}: use the form {form}")]
    Incomplete { given: String, what: &'static str, form: &'static str },
    #[error(
        "{given:?} has a part that begins with {sign:?}, which no path of backups has: remove it"
    )]
    Surplus { given: String, sign: char },
    #[error("the path in {given:?} is refused")]
    Prefix { given: String, source: PrefixError },
    #[error("{given:?} is no endpoint: use the form https://HOST:PORT")]
    Endpoint { given: String },
}

const S3_FORM: &str = "s3://BUCKET/PATH";
const GOOGLE_FORM: &str = "gs://BUCKET/PATH";
const AZURE_FORM: &str = "https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH";
const AZURE_HOST: &str = ".blob.core.windows.net";
const GOOGLE_CONSOLE: &str = "https://console.cloud.google.com/storage/browser/";

impl Destination {
    /// Reads the address; an endpoint of one's own is added by the caller, except for Azure's
    /// emulator, whose address is all there is.
    pub fn parse(given: &str) -> Result<Self, DestinationError> {
        if let Some(rest) = given.strip_prefix("s3://") {
            let (bucket, path) = bucket(given, rest, S3_FORM)?;
            return Self::new(given, Place::S3 { bucket }, path);
        }
        if let Some(rest) = given.strip_prefix("gs://").or(given.strip_prefix(GOOGLE_CONSOLE)) {
            let (bucket, path) = bucket(given, rest, GOOGLE_FORM)?;
            return Self::new(given, Place::Google { bucket }, path);
        }
        if given.starts_with("https://") || given.starts_with("http://") {
            return Self::azure(given);
        }
        let folder = given.strip_prefix("file://").unwrap_or(given);
        if folder.starts_with('/') {
            let place = Place::Folder(PathBuf::from(folder));
            return Self::new(given, place, "");
        }
        if given.is_empty() || given.contains("://") {
            return Err(DestinationError::Unknown { given: given.to_owned() });
        }
        Err(DestinationError::Relative { given: given.to_owned() })
    }

    fn new(given: &str, place: Place, path: &str) -> Result<Self, DestinationError> {
        let refused = |source| DestinationError::Prefix { given: given.to_owned(), source };
        Ok(Self { place, prefix: Prefix::parse(path).map_err(refused)?, endpoint: None })
    }

    /// `https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH`, or for everything that only speaks
    /// like Azure `http://HOST:PORT/ACCOUNT/CONTAINER/PATH`.
    fn azure(given: &str) -> Result<Self, DestinationError> {
        let incomplete =
            |what| DestinationError::Incomplete { given: given.to_owned(), what, form: AZURE_FORM };
        let (scheme, rest) = given.split_once("://").ok_or_else(|| incomplete("host"))?;
        let (host, path) = split(given, rest)?;
        if let Some(account) = host.strip_suffix(AZURE_HOST) {
            let (container, path) = path.split_once('/').unwrap_or((path, ""));
            if account.is_empty() || container.is_empty() {
                return Err(incomplete(if account.is_empty() { "account" } else { "container" }));
            }
            let (account, container) = (account.to_owned(), container.to_owned());
            return Self::new(given, Place::Azure { account, container }, path);
        }
        let mut parts = path.splitn(3, '/');
        let mut part = |what| {
            parts
                .next()
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .ok_or_else(|| incomplete(what))
        };
        let (account, container) = (part("account")?, part("container")?);
        let url = EndpointUrl::parse(&format!("{scheme}://{host}/{account}"))?;
        let path = parts.next().unwrap_or_default();
        let destination = Self::new(given, Place::Azure { account, container }, path)?;
        Ok(Self { endpoint: Some(Endpoint { url, authorities: None }), ..destination })
    }
}

/// The host and the path of what follows a scheme. What stands in the path is taken as it is, as
/// barman does: `%20` is three characters of a key.
fn split<'a>(given: &str, rest: &'a str) -> Result<(&'a str, &'a str), DestinationError> {
    if let Some(sign) = rest.chars().find(|sign| ['?', '#'].contains(sign)) {
        return Err(DestinationError::Surplus { given: given.to_owned(), sign });
    }
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

fn bucket<'a>(
    given: &str,
    rest: &'a str,
    form: &'static str,
) -> Result<(String, &'a str), DestinationError> {
    let (bucket, path) = split(given, rest)?;
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if bucket.is_empty() || !bucket.bytes().all(is_name) {
        let given = given.to_owned();
        return Err(DestinationError::Incomplete { given, what: "bucket", form });
    }
    Ok((bucket.to_owned(), path))
}

impl EndpointUrl {
    pub fn parse(given: &str) -> Result<Self, DestinationError> {
        let given = given.trim_end_matches('/');
        let rest = given.strip_prefix("https://").or(given.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let plain = given.chars().all(|c| c.is_ascii_graphic() && !['?', '#', '@'].contains(&c));
        if plain && !host.is_empty() && !host.starts_with(':') {
            return Ok(Self(given.to_owned()));
        }
        Err(DestinationError::Endpoint { given: given.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The host with its port.
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket } => write!(f, "s3://{bucket}"),
            Self::Azure { account, container } => {
                write!(f, "https://{account}{AZURE_HOST}/{container}")
            }
            Self::Google { bucket } => write!(f, "gs://{bucket}"),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        if !self.prefix.as_str().is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {}", endpoint.url),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn read(given: &[&str]) -> String {
        let say = |given: &&str| match Destination::parse(given) {
            Ok(destination) => format!("{given} -> {destination}\n"),
            Err(refused) => format!("{refused}\n"),
        };
        given.iter().map(say).collect()
    }

    #[test]
    fn what_barman_accepts_is_accepted() {
        let all = [
            "s3://backups",
            "s3://backups/",
            "s3://backups/prod/eu%20/",
            "gs://backups/prod",
            "https://console.cloud.google.com/storage/browser/backups/prod",
            "https://acct.blob.core.windows.net/box/prod",
            "http://azurite:10000/acct/box/prod/eu",
            "/var/backups",
            "file:///var/backups",
        ];
        expect![[r#"
            s3://backups -> s3://backups
            s3://backups/ -> s3://backups
            s3://backups/prod/eu%20/ -> s3://backups/prod/eu%20
            gs://backups/prod -> gs://backups/prod
            https://console.cloud.google.com/storage/browser/backups/prod -> gs://backups/prod
            https://acct.blob.core.windows.net/box/prod -> https://acct.blob.core.windows.net/box/prod
            http://azurite:10000/acct/box/prod/eu -> https://acct.blob.core.windows.net/box/prod/eu at http://azurite:10000/acct
            /var/backups -> /var/backups
            file:///var/backups -> /var/backups
        "#]].assert_eq(&read(&all));
    }

    #[test]
    fn the_rest_is_refused_with_the_form_that_is_right() {
        let all = [
            "",
            "backups/prod",
            "ftp://backups",
            "s3:///prod",
            "s3://user@backups/prod",
            "s3://backups/prod?versionId=1",
            "s3://backups/a//b",
            "s3://backups/../b",
            "gs://",
            "https://acct.blob.core.windows.net/",
            "https://.blob.core.windows.net/box",
            "http://azurite:10000/acct",
        ];
        expect![[r#"
            "" is no place for backups: use s3://BUCKET/PATH, gs://BUCKET/PATH, https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, or an absolute folder
            "backups/prod" is relative, and where agents run nobody knows to what: write an absolute folder, such as /srv/backups, or the address of a store
            "ftp://backups" is no place for backups: use s3://BUCKET/PATH, gs://BUCKET/PATH, https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH, or an absolute folder
            "s3:///prod" names no bucket: use the form s3://BUCKET/PATH
            "s3://user@backups/prod" names no bucket: use the form s3://BUCKET/PATH
            "s3://backups/prod?versionId=1" has a part that begins with '?', which no path of backups has: remove it
            the path in "s3://backups/a//b" is refused
            the path in "s3://backups/../b" is refused
            "gs://" names no bucket: use the form gs://BUCKET/PATH
            "https://acct.blob.core.windows.net/" names no container: use the form https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH
            "https://.blob.core.windows.net/box" names no account: use the form https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH
            "http://azurite:10000/acct" names no container: use the form https://ACCOUNT.blob.core.windows.net/CONTAINER/PATH
        "#]].assert_eq(&read(&all));
    }

    #[test]
    fn endpoints_are_addresses_without_secrets() {
        let url = EndpointUrl::parse("https://minio.example:9000/").unwrap();
        assert_eq!(
            (url.as_str(), url.authority()),
            ("https://minio.example:9000", "minio.example:9000")
        );
        assert!(url.is_encrypted() && !EndpointUrl::parse("http://minio").unwrap().is_encrypted());
        for bad in [
            "",
            "minio:9000",
            "https://",
            "https://:9000",
            "https://a:b@minio",
            "https://m/?x",
            "https://mi nio",
        ] {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
