//! Opens the repository of a cluster from what the agent was told and from the files that open it.
//!
//! Never connects by itself, and never shows what such a file holds.

use crate::durable::{self, DurableError};
use pgherd_api::agent::{ArchiveFile, ArchiveIdentity, ArchiveSpec};
use pgherd_api::cluster::object_store::Encryption;
use pgherd_backup::credentials::{
    Addressing, Azure, Credentials, Google, S3, S3Encryption, S3Identity,
};
use pgherd_backup::destination::{
    Destination, DestinationError, Endpoint, EndpointUrl, ServerName, ServerNameError,
};
use pgherd_backup::encryption::{KeyError, Keyring};
use pgherd_backup::layout::{Form, Layout};
use pgherd_backup::secret::Secret;
use pgherd_backup::store::{Patience, Store, StoreError};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("reading where the archive lies")]
    Place(#[source] DestinationError),
    #[error("reading the name of the cluster in the archive")]
    Name(#[source] ServerNameError),
    #[error("reading {path:?}")]
    Read { path: PathBuf, source: DurableError },
    #[error(
        "{} of the archive is missing: create the Secret that the manifest names for it, or add its key",
        file.field()
    )]
    Missing { file: ArchiveFile },
    #[error("{file} of the archive is no text: correct its Secret, and apply that")]
    NoText { file: &'static str },
    #[error("reading the key of the repository, {path:?}")]
    Key { path: PathBuf, source: KeyError },
    #[error("opening the archive")]
    Open(#[source] StoreError),
}

/// What of it can be found wrong without connecting, or opening a file.
pub fn check(spec: &ArchiveSpec) -> Result<(), OpenError> {
    ServerName::parse(&spec.server).map_err(OpenError::Name)?;
    place(spec, None).map(drop)
}

/// Finds what opens an archive; an error when it is not there.
pub type Find<'a> = &'a dyn Fn(ArchiveFile) -> Result<Vec<u8>, OpenError>;

/// Keys are files of a folder.
pub fn in_folder(folder: &Path) -> impl Fn(ArchiveFile) -> Result<Vec<u8>, OpenError> {
    move |file| {
        let path = folder.join(file.name());
        let found = durable::read(&path);
        let found = found.map_err(|source| OpenError::Read { path, source })?;
        found.ok_or(OpenError::Missing { file })
    }
}

/// With what is found there. What is written is encrypted as told, if that is told.
pub fn open(
    spec: &ArchiveSpec,
    encryption: Option<Encryption>,
    find: Find<'_>,
    patience: Patience,
) -> Result<(Store, Layout), OpenError> {
    let server = ServerName::parse(&spec.server).map_err(OpenError::Name)?;
    let keys = Keys { find, spec, encryption };
    let authorities = keys.find(ArchiveFile::EndpointCa)?.map(String::into_bytes);
    let destination = place(spec, authorities)?;
    let credentials = keys.credentials()?;
    let store = Store::open(&destination, &credentials, patience).map_err(OpenError::Open)?;
    let prefix = &destination.prefix;
    // Each form has a place of its own: neither can be read or written for the other.
    Ok(match keys.encryption_keys()? {
        Some(keys) => (store.encrypted(keys, prefix), Layout::of(Form::Encrypted, prefix, &server)),
        None => (store, Layout::new(prefix, &server)),
    })
}

/// Whether these are keys that a repository can be encrypted with.
pub fn check_key(content: &[u8]) -> Result<(), KeyError> {
    Keyring::parse(content).map(drop)
}

fn place(spec: &ArchiveSpec, authorities: Option<Vec<u8>>) -> Result<Destination, OpenError> {
    let mut place = Destination::parse(&spec.destination).map_err(OpenError::Place)?;
    if let Some(url) = &spec.endpoint {
        let url = EndpointUrl::parse(url).map_err(OpenError::Place)?;
        place.endpoint = Some(Endpoint { url, authorities: None });
    }
    if let Some(endpoint) = &mut place.endpoint {
        endpoint.authorities = authorities;
    }
    Ok(place)
}

/// The files that open an archive.
struct Keys<'a> {
    find: Find<'a>,
    spec: &'a ArchiveSpec,
    encryption: Option<Encryption>,
}

impl Keys<'_> {
    fn find(&self, file: ArchiveFile) -> Result<Option<String>, OpenError> {
        if self.spec.files.contains(&file) { self.need(file).map(Some) } else { Ok(None) }
    }

    fn need(&self, file: ArchiveFile) -> Result<String, OpenError> {
        let text = String::from_utf8((self.find)(file)?).ok();
        // Whoever writes a key into a file often ends its line.
        text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
            .ok_or(OpenError::NoText { file: file.name() })
    }

    /// What everything is encrypted with, if it is.
    fn encryption_keys(&self) -> Result<Option<Keyring>, OpenError> {
        if !self.spec.is_encrypted() {
            return Ok(None);
        }
        let file = ArchiveFile::RepositoryKey;
        let content = Zeroizing::new((self.find)(file)?);
        let refused = |source| OpenError::Key { path: file.name().into(), source };
        Keyring::parse(&content).map(Some).map_err(refused)
    }

    fn secret(&self, file: ArchiveFile) -> Result<Secret, OpenError> {
        self.need(file).map(Secret::new)
    }

    fn credentials(&self) -> Result<Credentials, OpenError> {
        use ArchiveIdentity as Identity;
        Ok(match self.spec.identity {
            Identity::User => Credentials::Folder,
            Identity::S3Keys => self.s3(S3Identity::Keys {
                access_key: self.secret(ArchiveFile::AccessKeyId)?,
                secret_key: self.secret(ArchiveFile::SecretAccessKey)?,
                session_token: self.find(ArchiveFile::SessionToken)?.map(Secret::new),
            })?,
            Identity::S3Role => self.s3(S3Identity::Instance)?,
            Identity::AzureConnection => {
                let connection = self.secret(ArchiveFile::ConnectionString)?;
                Credentials::Azure(Azure::ConnectionString(connection))
            }
            Identity::AzureKey => {
                Credentials::Azure(Azure::AccountKey(self.secret(ArchiveFile::StorageKey)?))
            }
            Identity::AzureSignature => {
                let signature = self.secret(ArchiveFile::StorageSasToken)?;
                Credentials::Azure(Azure::SharedAccess(signature))
            }
            Identity::AzureRole => Credentials::Azure(Azure::Workload {
                client_id: None,
                tenant_id: None,
                token_file: None,
            }),
            Identity::GoogleKey => {
                let key = self.secret(ArchiveFile::ApplicationCredentials)?;
                Credentials::Google(Google::ServiceAccount(key))
            }
            Identity::GoogleRole => Credentials::Google(Google::Workload),
        })
    }

    fn s3(&self, identity: S3Identity) -> Result<Credentials, OpenError> {
        let encryption = self.encryption.map(|encryption| match encryption {
            Encryption::Aes256 => S3Encryption::Store,
            Encryption::AwsKms => S3Encryption::Kms { key: None },
        });
        Ok(Credentials::S3(S3 {
            identity,
            region: self.find(ArchiveFile::Region)?,
            addressing: Addressing::Automatic,
            encryption,
        }))
    }
}
