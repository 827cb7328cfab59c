//! Opens an archive from what the agent was told and from the files that open it.
//!
//! Never connects by itself, and never shows what such a file holds.

use super::claim::ClaimError;
use crate::durable::{self, DurableError};
use pgherd_api::agent::{ArchiveFile, ArchiveIdentity, ArchiveSpec};
use pgherd_api::cluster::object_store::{Encryption, WalCompression};
use pgherd_backup::compression::Compression;
use pgherd_backup::credentials::{
    Addressing, Azure, Credentials, Google, S3, S3Encryption, S3Identity,
};
use pgherd_backup::destination::{
    Destination, DestinationError, Endpoint, EndpointUrl, ServerName, ServerNameError,
};
use pgherd_backup::layout::Layout;
use pgherd_backup::secret::Secret;
use pgherd_backup::store::{Patience, Store, StoreError};
use pgherd_backup::wal::{Archive, Settings, WalError};
use pgherd_core::units::{Bytes, SystemId};
use pgherd_core::wal::WalFile;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;

/// What may be on its way at once, in memory.
const MEMORY: Bytes = Bytes(64 << 20);

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("reading where the archive lies")]
    Place(#[source] DestinationError),
    #[error("reading the name of the cluster in the archive")]
    Name(#[source] ServerNameError),
    #[error("reading {path:?}")]
    Read { path: PathBuf, source: DurableError },
    #[error("{path:?} is missing or is no text: name its Secret in the manifest, and apply that")]
    Missing { path: PathBuf },
    #[error("opening the archive")]
    Open(#[source] StoreError),
}

/// What could not be stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    #[error("making sure that the archive is ours")]
    Claim(#[source] ClaimError),
    // It says itself what it was about.
    #[error(transparent)]
    Push(WalError),
}

/// An archive that is in use.
pub(super) struct Opened {
    pub(super) archive: Archive,
    pub(super) store: Store,
    pub(super) system: SystemId,
    /// What it was opened from.
    pub(super) spec: ArchiveSpec,
    changed: Vec<Option<SystemTime>>,
    claimed: OnceCell<()>,
    /// Where something may be put for a moment.
    scratch: PathBuf,
}

/// What of it can be found wrong without connecting, or opening a file.
pub fn check(spec: &ArchiveSpec) -> Result<(), OpenError> {
    ServerName::parse(&spec.server).map_err(OpenError::Name)?;
    place(spec, None).map(drop)
}

impl Opened {
    pub(super) fn open(
        spec: &ArchiveSpec,
        system: SystemId,
        (keys, scratch): (&Path, &Path),
    ) -> Result<Self, OpenError> {
        let server = ServerName::parse(&spec.server).map_err(OpenError::Name)?;
        let changed = changed(spec, keys);
        let keys = Keys { folder: keys, spec };
        let authorities = keys.find(ArchiveFile::EndpointCa)?.map(String::into_bytes);
        let destination = place(spec, authorities)?;
        let credentials = keys.credentials()?;
        let patience = Patience {
            connect: Duration::from_secs(3),
            retries: 3,
            give_up: Duration::from_secs(10),
            ..Patience::carrying(MEMORY)
        };
        let store = Store::open(&destination, &credentials, patience).map_err(OpenError::Open)?;
        let layout = Layout::new(&destination.prefix, &server);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = Settings {
            compression: compression(spec.compression),
            system: Some(system),
            memory: MEMORY,
            processors,
        };
        Ok(Self {
            archive: Archive::new(store.clone(), layout, settings),
            store,
            system,
            spec: spec.clone(),
            changed,
            claimed: OnceCell::new(),
            scratch: scratch.to_owned(),
        })
    }

    /// Whether this is still what is wanted, opened with the keys that there are.
    pub(super) fn is_still(&self, spec: &ArchiveSpec, system: SystemId, keys: &Path) -> bool {
        self.spec == *spec && self.system == system && self.changed == changed(spec, keys)
    }

    /// Stores a file, once it is certain that the place is ours.
    pub(super) async fn push(&self, file: WalFile, path: &Path) -> Result<(), PushError> {
        let claim = self.claimed.get_or_try_init(|| self.claim(&self.scratch));
        claim.await.map_err(PushError::Claim)?;
        self.archive.push(file, path).await.map(drop).map_err(PushError::Push)
    }
}

fn changed(spec: &ArchiveSpec, keys: &Path) -> Vec<Option<SystemTime>> {
    let changed = |file: &ArchiveFile| std::fs::metadata(keys.join(file.name()))?.modified();
    spec.files.iter().map(|file| changed(file).ok()).collect()
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
    folder: &'a Path,
    spec: &'a ArchiveSpec,
}

impl Keys<'_> {
    fn find(&self, file: ArchiveFile) -> Result<Option<String>, OpenError> {
        if self.spec.files.contains(&file) { self.need(file).map(Some) } else { Ok(None) }
    }

    fn need(&self, file: ArchiveFile) -> Result<String, OpenError> {
        let path = self.folder.join(file.name());
        let found = durable::read(&path)
            .map_err(|source| OpenError::Read { path: path.clone(), source })?;
        let text = found.and_then(|bytes| String::from_utf8(bytes).ok());
        // Whoever writes a key into a file often ends its line.
        text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
            .ok_or(OpenError::Missing { path })
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
        let encryption = self.spec.encryption.map(|encryption| match encryption {
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

fn compression(wanted: Option<WalCompression>) -> Compression {
    match wanted {
        None => Compression::None,
        Some(WalCompression::Bzip2) => Compression::Bzip2,
        Some(WalCompression::Gzip) => Compression::Gzip,
        Some(WalCompression::Lz4) => Compression::Lz4,
        Some(WalCompression::Snappy) => Compression::Snappy,
        Some(WalCompression::Xz) => Compression::Xz,
        Some(WalCompression::Zstd) => Compression::Zstd,
    }
}
