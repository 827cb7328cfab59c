//! Keeps one holder's key, certificate and authority as three PEM files, and judges them.
//!
//! Never leaves a key readable by anybody but its owner.

use super::holder::Holder;
use super::inspect::{self, InspectError, Purpose, Trust};
use super::peer;
use crate::durable::{self, Access, DurableError};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("keeping a key or certificate")]
    Keep(#[source] DurableError),
    #[error("{path:?} is missing: the cluster's authority writes it at the next start")]
    Missing { path: PathBuf },
    #[error("{path:?} is not PEM ({why})")]
    Malformed { path: PathBuf, why: String },
    #[error("the key in {path:?} cannot be used with its certificate")]
    Mismatched { path: PathBuf, source: rustls::Error },
}

/// Where a holder's files are. The names are the ones Kubernetes gives a TLS secret's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

/// What is in the files, as PEM.
pub struct Parts {
    pub certificate: String,
    pub key: String,
    pub authority: String,
}

/// What a holder's files are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Good,
    Missing,
    /// Half of a pair, after a crash between the two files, or not readable as PEM.
    Broken,
    /// Made out to somebody else.
    OtherHolder,
    /// Not issued by this authority, or told to trust another one.
    OtherAuthority,
    /// Expired, or will be at the time asked about.
    Expiring {
        not_after: SystemTime,
    },
}

/// What is in the files, parsed and known to fit together.
pub(super) struct Loaded {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub authorities: Vec<CertificateDer<'static>>,
}

impl IdentityFiles {
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            authority: folder.join("ca.crt"),
        }
    }

    /// Replaces the files. A crash in between leaves a pair that does not fit, which
    /// [`Condition::Broken`] reports and the next renewal heals.
    pub fn write(&self, parts: &Parts, access: Access) -> Result<(), FilesError> {
        // The authority first: who trusts it early loses nothing, who lacks it cannot verify.
        let files = [
            (&self.authority, &parts.authority),
            (&self.key, &parts.key),
            (&self.certificate, &parts.certificate),
        ];
        for (path, text) in files {
            durable::write(path, text.as_bytes(), access).map_err(FilesError::Keep)?;
        }
        Ok(())
    }

    /// What the files are worth to `holder` under `authority` at `time`.
    pub fn condition(
        &self,
        holder: &Holder,
        authority: &str,
        time: SystemTime,
    ) -> Result<Condition, FilesError> {
        let loaded = match self.load() {
            Ok(loaded) => loaded,
            Err(FilesError::Missing { .. }) => return Ok(Condition::Missing),
            Err(FilesError::Malformed { .. } | FilesError::Mismatched { .. }) => {
                return Ok(Condition::Broken);
            }
            Err(error @ FilesError::Keep(_)) => return Err(error),
        };
        let trusted = certificates(authority.as_bytes(), &self.authority)?;
        let Some(certificate) = loaded.chain.first() else { return Ok(Condition::Broken) };
        if loaded.authorities != trusted {
            return Ok(Condition::OtherAuthority);
        }
        if !peer::speaks_for(certificate, holder) {
            return Ok(Condition::OtherHolder);
        }
        Ok(verify(&loaded.chain, &trusted, time))
    }

    /// Until when the certificate is accepted; `None` when there is none that can be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        let loaded = self.load().ok()?;
        let facts = inspect::facts(loaded.chain.first()?).ok()?;
        Some(facts.not_after)
    }

    pub(super) fn load(&self) -> Result<Loaded, FilesError> {
        let [certificate, key, authority] = [&self.certificate, &self.key, &self.authority];
        let texts = (present(certificate)?, present(key)?, present(authority)?);
        Loaded::read((&texts.0, &texts.1, &texts.2), self)
    }
}

impl Loaded {
    /// What `parts` hold; `at` is where complaints say it is.
    pub(super) fn parse(parts: &Parts, at: &IdentityFiles) -> Result<Self, FilesError> {
        let Parts { certificate, key, authority } = parts;
        Self::read((certificate.as_bytes(), key.as_bytes(), authority.as_bytes()), at)
    }

    fn read(
        (certificate, key, authority): (&[u8], &[u8], &[u8]),
        at: &IdentityFiles,
    ) -> Result<Self, FilesError> {
        let chain = certificates(certificate, &at.certificate)?;
        let key = inspect::key(key).map_err(|error| located(error, &at.key))?;
        let authorities = certificates(authority, &at.authority)?;
        inspect::fit(&chain, &key).map_err(|error| located(error, &at.key))?;
        Ok(Self { chain, key, authorities })
    }
}

fn verify(
    chain: &[CertificateDer<'_>],
    trusted: &[CertificateDer<'_>],
    time: SystemTime,
) -> Condition {
    match inspect::trust(chain, trusted, Purpose::Client, time) {
        Trust::Good => Condition::Good,
        Trust::Expired { not_after } => Condition::Expiring { not_after },
        Trust::Unreadable => Condition::Broken,
        Trust::Early | Trust::OtherPurpose | Trust::OtherAuthority => Condition::OtherAuthority,
    }
}

fn present(path: &Path) -> Result<Vec<u8>, FilesError> {
    durable::read(path)
        .map_err(FilesError::Keep)?
        .ok_or_else(|| FilesError::Missing { path: path.to_owned() })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    inspect::certificates(pem).map_err(|error| located(error, path))
}

fn located(error: InspectError, path: &Path) -> FilesError {
    let path = path.to_owned();
    match error {
        InspectError::ReadCertificate { why } | InspectError::ReadKey { why } => {
            FilesError::Malformed { path, why }
        }
        InspectError::Pair(source) => FilesError::Mismatched { path, source },
    }
}
