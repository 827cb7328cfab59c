//! Keeps one holder's key, certificate and authority as three PEM files, and judges them.
//!
//! Never leaves a key readable by anybody but its owner.

use super::holder::Holder;
use super::{peer, provider};
use crate::durable::{self, Access, DurableError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use webpki::{EndEntityCert, KeyUsage};

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
        let trusted = authorities(authority.as_bytes(), &self.authority)?;
        let Some(certificate) = loaded.chain.first() else { return Ok(Condition::Broken) };
        if loaded.authorities != trusted {
            return Ok(Condition::OtherAuthority);
        }
        if !peer::speaks_for(certificate, holder) {
            return Ok(Condition::OtherHolder);
        }
        Ok(verify(certificate, &trusted, time))
    }

    /// Until when the certificate is accepted; `None` when there is none that can be read.
    pub fn not_after(&self) -> Option<SystemTime> {
        let loaded = self.load().ok()?;
        let end_of_time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 32);
        // The verifier itself says when it stops accepting.
        match verify(loaded.chain.first()?, &loaded.authorities, end_of_time) {
            Condition::Expiring { not_after } => Some(not_after),
            Condition::Good
            | Condition::Missing
            | Condition::Broken
            | Condition::OtherHolder
            | Condition::OtherAuthority => None,
        }
    }

    pub(super) fn load(&self) -> Result<Loaded, FilesError> {
        let chain = certificates(&present(&self.certificate)?, &self.certificate)?;
        let key = present(&self.key)?;
        let key =
            PrivateKeyDer::from_pem_slice(&key).map_err(|error| malformed(&self.key, &error))?;
        let authorities = authorities(&present(&self.authority)?, &self.authority)?;
        // Building the pair once proves that the two files belong together.
        let _fits = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider())
            .map_err(|source| FilesError::Mismatched { path: self.key.clone(), source })?;
        Ok(Loaded { chain, key, authorities })
    }
}

fn verify(
    certificate: &CertificateDer<'_>,
    trusted: &[CertificateDer<'_>],
    time: SystemTime,
) -> Condition {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let anchors: Result<Vec<_>, _> = trusted.iter().map(webpki::anchor_from_trusted_cert).collect();
    let (Ok(anchors), Ok(parsed)) = (anchors, EndEntityCert::try_from(certificate)) else {
        return Condition::Broken;
    };
    let verified = parsed.verify_for_usage(
        provider().signature_verification_algorithms.all,
        &anchors,
        &[],
        UnixTime::since_unix_epoch(since_epoch),
        KeyUsage::client_auth(),
        None,
        None,
    );
    match verified {
        Ok(_) => Condition::Good,
        Err(webpki::Error::CertExpired { not_after, .. }) => Condition::Expiring {
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()),
        },
        Err(_) => Condition::OtherAuthority,
    }
}

fn present(path: &Path) -> Result<Vec<u8>, FilesError> {
    durable::read(path)
        .map_err(FilesError::Keep)?
        .ok_or_else(|| FilesError::Missing { path: path.to_owned() })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| malformed(path, &error))?;
    if found.is_empty() { Err(malformed(path, &"no certificate in it")) } else { Ok(found) }
}

fn authorities(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    certificates(pem, path)
}

fn malformed(path: &Path, why: &impl ToString) -> FilesError {
    FilesError::Malformed { path: path.to_owned(), why: why.to_string() }
}
