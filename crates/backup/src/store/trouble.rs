//! Tells what is wrong with a store, from what it or the way to it said, and how to put it right.
//!
//! Never shows a secret: signatures and keys are in requests, and only answers are quoted.

use crate::encryption::EnvelopeError;
use crate::layout::Key;
use object_store::client::{HttpError, HttpErrorKind};
use pgherd_core::units::Bytes as Size;
use std::error::Error;
use std::io;

/// What was attempted.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("opening {place}")]
    Open { place: String, source: Trouble },
    #[error("reading {key} in {place}")]
    Read { key: Key, place: String, source: Trouble },
    #[error("writing {key} in {place}")]
    Write { key: Key, place: String, source: Trouble },
    #[error("listing {folder} in {place}")]
    List { folder: Key, place: String, source: Trouble },
    #[error("deleting in {place}")]
    Delete { place: String, source: Trouble },
    #[error(
        "{key} in {place} is there already with other content: another cluster writes to this \
         place, or an old primary does; stop it, or choose another server name"
    )]
    Taken { key: Key, place: String },
    #[error("{key} has {size}, and more than {limit} is not to be expected of it")]
    TooLarge { key: Key, size: Size, limit: Size },
}

/// When it makes sense to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may have passed.
    Soon,
    /// Somebody has to do something about it.
    Later,
    /// It will be the same each time.
    Never,
}

impl StoreError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::Open { source, .. }
            | Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::List { source, .. }
            | Self::Delete { source, .. } => source.retry(),
            Self::Taken { .. } | Self::TooLarge { .. } => Retry::Never,
        }
    }

    /// Why an object opens with none of the keys that are declared, if that is it.
    pub(crate) fn unopened(&self) -> Option<String> {
        match self {
            Self::Read { key, source: Trouble::Envelope(why), .. }
            | Self::Write { key, source: Trouble::Envelope(why), .. } => {
                Some(format!("{key}: {why}"))
            }
            _ => None,
        }
    }

    /// What is wrong with what is stored, if it is that and not the way there.
    pub(crate) fn damage(&self) -> Option<String> {
        let (key, why) = match self {
            Self::TooLarge { .. } => return Some(self.to_string()),
            Self::Read { key, source: Trouble::Envelope(why), .. } => (key, why),
            _ => return None,
        };
        match why {
            EnvelopeError::Clear | EnvelopeError::Header | EnvelopeError::Damaged { .. } => {
                Some(format!("{key}: {why}"))
            }
            EnvelopeError::Newer { .. }
            | EnvelopeError::WrongKey { .. }
            | EnvelopeError::Random(_)
            | EnvelopeError::Failed => None,
        }
    }
}

/// Why it failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("there is nothing under this name")]
    Missing,
    #[error("it is said to be there, and there is nothing under this name: try again")]
    Vanished,
    #[error(
        "nothing is there any more of what was there before: mount the disk of the folder again, or \
         bring back the bucket"
    )]
    Gone,
    #[error("it was deleted, and a listing still has it: try again")]
    Remains,
    #[error(
        "what answers there is no store of objects: check the endpoint, and what stands in front \
         of the store"
    )]
    NoStore,
    #[error("there is something under this name already")]
    Exists,
    #[error("others write the same object at the same time")]
    Contended,
    #[error("there is no such bucket or container: create it, or correct the destination")]
    NoBucket,
    #[error("there is no such folder: create it, or mount its disk")]
    NoFolder,
    #[error(
        "the folder is another one than before, and empty: mount its disk again, or restart whoever \
         uses it if that is meant"
    )]
    Emptied,
    #[error("the access key is not known there: correct the credentials")]
    UnknownKey,
    #[error("the secret key does not belong to the access key: correct the credentials")]
    WrongSecret,
    #[error("the token has expired: renew the credentials")]
    Expired,
    #[error("no credentials were to be had ({0}): give keys, or a role to the pod or the machine")]
    NoCredentials(String),
    #[error(
        "access is denied: allow this identity to read, write, list and delete under the \
         destination ({0})"
    )]
    Denied(String),
    #[error(
        "access is denied ({0}): let the user that PostgreSQL runs as read and write in the folder, \
         chown it to that user, or mount it for writing"
    )]
    Closed(String),
    #[error("the bucket is in another region: set the region of the credentials ({0})")]
    WrongRegion(String),
    #[error("nobody answers ({0}): check host and port of the endpoint, and the network")]
    Unreachable(String),
    #[error("the name of the host is not known ({0}): check the endpoint, and the name service")]
    UnknownHost(String),
    #[error("the certificate is not trusted ({0}): set the endpoint's CA, or correct its host")]
    Untrusted(String),
    #[error("the other side does not encrypt ({0}): use http:// for the endpoint, or another port")]
    NotEncrypted(String),
    #[error("the clock of this machine is wrong: set it")]
    WrongClock,
    #[error("there was no answer in time: check the network, or try again")]
    TimedOut,
    #[error("the store asks to slow down")]
    Busy,
    #[error("the store is full: make room, or enlarge it")]
    Full,
    #[error("the store fails: {0}")]
    Failing(String),
    #[error("the store cannot do this: {0}")]
    Unsupported(String),
    #[error("the credentials are for another kind of store than the destination")]
    OtherCredentials,
    #[error("the endpoint's CA cannot be read: {0}")]
    Authorities(String),
    #[error("the connection string names no AccountKey and no SharedAccessSignature")]
    ConnectionString,
    #[error(transparent)]
    Envelope(EnvelopeError),
    #[error("{0}")]
    Other(String),
}

/// The longest text of others that we quote.
const QUOTED: usize = 300;

impl Trouble {
    pub fn retry(&self) -> Retry {
        match self {
            Self::Vanished
            | Self::Gone
            | Self::Remains
            | Self::NoStore
            | Self::Contended
            | Self::TimedOut
            | Self::Busy
            | Self::Failing(_)
            | Self::Unreachable(_)
            | Self::Other(_) => Retry::Soon,
            Self::NoBucket
            | Self::NoFolder
            | Self::Emptied
            | Self::UnknownKey
            | Self::WrongSecret
            | Self::Expired
            | Self::NoCredentials(_)
            | Self::Denied(_)
            | Self::Closed(_)
            | Self::WrongRegion(_)
            | Self::UnknownHost(_)
            | Self::Untrusted(_)
            | Self::NotEncrypted(_)
            | Self::WrongClock
            | Self::Full
            | Self::Envelope(_) => Retry::Later,
            Self::Missing
            | Self::Exists
            | Self::Unsupported(_)
            | Self::OtherCredentials
            | Self::Authorities(_)
            | Self::ConnectionString => Retry::Never,
        }
    }

    pub(super) fn of_file(error: &io::Error) -> Self {
        told_of_file(error).unwrap_or_else(|| Self::Other(error.to_string()))
    }

    pub(super) fn of(error: &object_store::Error) -> Self {
        let said = Said::of(error);
        if let Some(trouble) = said.by_code().or_else(|| said.by_connection(error)) {
            return trouble;
        }
        match error {
            object_store::Error::NotFound { .. } => Self::Missing,
            object_store::Error::AlreadyExists { .. }
            | object_store::Error::Precondition { .. } => Self::Exists,
            object_store::Error::NotImplemented { .. }
            | object_store::Error::NotSupported { .. } => Self::Unsupported(said.short()),
            object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. } => Self::Denied(said.short()),
            _ => by_file(error).or_else(|| said.by_status()).unwrap_or(Self::Other(said.short())),
        }
    }
}

/// The texts of an error and of all that caused it.
struct Said(String);

impl Said {
    fn of(error: &object_store::Error) -> Self {
        let mut all = error.to_string();
        for cause in causes(error) {
            let cause = cause.to_string();
            if !all.contains(&cause) {
                all = format!("{all}: {cause}");
            }
        }
        Self(all)
    }

    /// What the store answered: `<Code>..</Code>` of S3 and Azure, or the header of the latter.
    fn code(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once("<Code>")?;
        rest.split_once("</Code>").map(|(code, _)| code)
    }

    fn by_code(&self) -> Option<Trouble> {
        Some(match self.code()? {
            "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" => Trouble::NoBucket,
            "NoSuchKey" | "BlobNotFound" => Trouble::Missing,
            "InvalidAccessKeyId" | "NotSignedUp" => Trouble::UnknownKey,
            "SignatureDoesNotMatch" | "AuthenticationFailed" => Trouble::WrongSecret,
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" => {
                Trouble::Expired
            }
            "AccessDenied"
            | "AllAccessDisabled"
            | "AuthorizationPermissionMismatch"
            | "AuthorizationFailure"
            | "AccountProblem" => Trouble::Denied(self.short()),
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "TemporaryRedirect" => Trouble::WrongRegion(self.short()),
            "RequestTimeTooSkewed" | "RequestExpired" => Trouble::WrongClock,
            "SlowDown"
            | "TooManyRequests"
            | "RequestLimitExceeded"
            | "ServerBusy"
            | "Throttling" => Trouble::Busy,
            "QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity" => Trouble::Full,
            "NotImplemented" | "UnsupportedHeader" => Trouble::Unsupported(self.short()),
            _ => return None,
        })
    }

    fn by_connection(&self, error: &object_store::Error) -> Option<Trouble> {
        let kind =
            causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()).map(HttpError::kind);
        let says = |words: &[&str]| words.iter().any(|word| self.0.contains(word));
        if says(&["invalid peer certificate", "UnknownIssuer", "certificate not valid"]) {
            return Some(Trouble::Untrusted(self.tail()));
        }
        if says(&["InvalidContentType", "corrupt message"]) {
            return Some(Trouble::NotEncrypted(self.tail()));
        }
        if says(&["dns error", "failed to lookup address"]) {
            return Some(Trouble::UnknownHost(self.tail()));
        }
        if says(&["without LOCATION"]) {
            return Some(Trouble::WrongRegion(self.tail()));
        }
        if says(&["169.254.169.254", "metadata.google.internal", "AssumeRoleWithWebIdentity"]) {
            return Some(Trouble::NoCredentials(self.tail()));
        }
        match kind? {
            HttpErrorKind::Timeout => Some(Trouble::TimedOut),
            HttpErrorKind::Connect => Some(Trouble::Unreachable(self.tail())),
            HttpErrorKind::Request | HttpErrorKind::Interrupted | HttpErrorKind::Decode => {
                Some(Trouble::Failing(self.tail()))
            }
            _ => None,
        }
    }

    fn by_status(&self) -> Option<Trouble> {
        let (_, rest) = self.0.split_once("status code: ")?;
        let status: u16 = rest.get(..3)?.parse().ok()?;
        Some(match status {
            404 => Trouble::Missing,
            401 | 403 => Trouble::Denied(self.short()),
            301 | 307 => Trouble::WrongRegion(self.short()),
            405 | 501 => Trouble::Unsupported(self.short()),
            429 | 503 => Trouble::Busy,
            507 => Trouble::Full,
            500..=599 => Trouble::Failing(self.short()),
            _ => return None,
        })
    }

    /// The store's own message if it gave one, else the beginning of all that was said.
    fn short(&self) -> String {
        let message =
            self.0.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
        let text = message.map_or(self.0.as_str(), |(message, _)| message);
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTED).collect()
    }

    /// The last causes, which are the nearest to the wire.
    fn tail(&self) -> String {
        let parts: Vec<&str> = self.0.rsplit(": ").take(2).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join(": ").chars().take(QUOTED).collect()
    }
}

fn by_file(error: &object_store::Error) -> Option<Trouble> {
    causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).and_then(told_of_file)
}

/// What the operating system says of a folder.
fn told_of_file(cause: &io::Error) -> Option<Trouble> {
    Some(match cause.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Trouble::Closed(cause.to_string())
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Full,
        io::ErrorKind::NotFound => Trouble::Missing,
        _ => return None,
    })
}

fn causes(error: &object_store::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: &str, code: &str) -> Trouble {
        let text = format!(
            "Server returned non-2xx status code: {status}: <Error><Code>{code}</Code>\
             <Message>the store's own words</Message></Error>"
        );
        Trouble::of(&object_store::Error::Generic { store: "S3", source: text.into() })
    }

    #[test]
    fn answers_of_stores_are_told_apart() {
        let own = || "the store's own words".to_owned();
        let all = [
            ("404 Not Found", "NoSuchBucket", Trouble::NoBucket),
            ("404 Not Found", "ContainerNotFound", Trouble::NoBucket),
            ("404 Not Found", "NoSuchKey", Trouble::Missing),
            ("403 Forbidden", "InvalidAccessKeyId", Trouble::UnknownKey),
            ("403 Forbidden", "SignatureDoesNotMatch", Trouble::WrongSecret),
            ("403 Forbidden", "AccessDenied", Trouble::Denied(own())),
            ("403 Forbidden", "RequestTimeTooSkewed", Trouble::WrongClock),
            ("400 Bad Request", "ExpiredToken", Trouble::Expired),
            ("400 Bad Request", "AuthorizationHeaderMalformed", Trouble::WrongRegion(own())),
            ("301 Moved Permanently", "PermanentRedirect", Trouble::WrongRegion(own())),
            ("503 Service Unavailable", "SlowDown", Trouble::Busy),
            ("501 Not Implemented", "NotImplemented", Trouble::Unsupported(own())),
            ("507 Insufficient Storage", "XMinioStorageFull", Trouble::Full),
            // What no code tells, the status does.
            ("403 Forbidden", "SomethingNew", Trouble::Denied(own())),
            ("500 Internal Server Error", "SomethingNew", Trouble::Failing(own())),
            ("418 I'm a teapot", "SomethingNew", Trouble::Other(own())),
        ];
        for (status, code, expected) in all {
            assert_eq!(answered(status, code), expected, "{status} {code}");
        }
    }

    #[test]
    fn what_others_say_is_quoted_in_part() {
        let text = "x".repeat(100_000);
        let error = object_store::Error::Generic { store: "S3", source: text.into() };
        assert!(Trouble::of(&error).to_string().len() <= QUOTED);
    }

    #[test]
    fn a_full_disk_is_no_mystery() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = object_store::Error::Generic { store: "LocalFileSystem", source: full.into() };
        assert_eq!(Trouble::of(&error), Trouble::Full);
        assert_eq!(Trouble::of(&error).retry(), Retry::Later);
    }
}
