//! Reads keys and certificates out of PEM, and says what they are worth.
//!
//! Never believes what a certificate says of itself without saying by whom it was signed.

use super::provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("reading a certificate: {why}")]
    ReadCertificate { why: String },
    #[error("reading a key: {why}")]
    ReadKey { why: String },
    #[error("using a key with its certificate")]
    Pair(#[source] rustls::Error),
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub common_name: String,
    /// The names and addresses that it is good for.
    pub names: BTreeSet<String>,
    pub not_after: SystemTime,
    pub signs: Signs,
}

/// What a certificate's key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signs {
    Certificates,
    ConnectionsOnly,
}

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Server,
    Client,
}

/// What a certificate is worth to those who trust certain authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    Good,
    Expired {
        not_after: SystemTime,
    },
    /// Not valid yet.
    Early,
    OtherPurpose,
    OtherAuthority,
    Unreadable,
}

/// All certificates in `pem`, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InspectError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| InspectError::ReadCertificate { why: why(&error) })?;
    if found.is_empty() {
        return Err(InspectError::ReadCertificate { why: "there is none in it".to_owned() });
    }
    Ok(found)
}

/// The first key in `pem`.
pub fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InspectError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| InspectError::ReadKey { why: why(&error) })
}

/// Proves that `key` belongs to the first certificate of `chain`.
pub fn fit(
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<(), InspectError> {
    let pair = CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &provider());
    pair.map(|_| ()).map_err(InspectError::Pair)
}

pub fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, InspectError> {
    let unreadable = |why: String| InspectError::ReadCertificate { why };
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
    let names = parsed.subject_alternative_name();
    let names = names.map_err(|error| unreadable(error.to_string()))?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let common_name = parsed.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
    Ok(Facts {
        common_name: common_name.unwrap_or_default().to_owned(),
        names: names.filter_map(readable).collect(),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        signs: if parsed.is_ca() { Signs::Certificates } else { Signs::ConnectionsOnly },
    })
}

/// What `chain` is worth at `time` to those who trust `authorities`.
pub fn trust(
    chain: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'_>],
    purpose: Purpose,
    time: SystemTime,
) -> Trust {
    let anchors = authorities.iter().map(webpki::anchor_from_trusted_cert);
    let anchors: Result<Vec<_>, _> = anchors.collect();
    let (Ok(anchors), Some((certificate, between))) = (anchors, chain.split_first()) else {
        return Trust::Unreadable;
    };
    let Ok(parsed) = EndEntityCert::try_from(certificate) else { return Trust::Unreadable };
    let usage = match purpose {
        Purpose::Server => KeyUsage::server_auth(),
        Purpose::Client => KeyUsage::client_auth(),
    };
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let verified = parsed.verify_for_usage(
        provider().signature_verification_algorithms.all,
        &anchors,
        between,
        UnixTime::since_unix_epoch(since_epoch),
        usage,
        None,
        None,
    );
    match verified {
        Ok(_) => Trust::Good,
        Err(webpki::Error::CertExpired { not_after, .. }) => Trust::Expired {
            not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()),
        },
        Err(webpki::Error::CertNotValidYet { .. }) => Trust::Early,
        Err(webpki::Error::RequiredEkuNotFoundContext(_)) => Trust::OtherPurpose,
        Err(_) => Trust::OtherAuthority,
    }
}

// The parser's own words may hold the line it stumbled over, which can be a key's.
fn why(error: &pem::Error) -> String {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "an END line is missing",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is not complete",
        pem::Error::Base64Decode(_) => "something between the BEGIN and END lines is not base64",
        pem::Error::NoItemsFound => "there is none in it",
        _ => "it cannot be parsed",
    };
    why.to_owned()
}

fn readable(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        // Nobody who connects to a server looks for these.
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
