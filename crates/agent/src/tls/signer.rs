//! Makes keys and certificates, and signs them with an authority's key.
//!
//! Never decides who gets one: whoever holds the signer has decided.

use super::files::Parts;
use super::inspect::{self, InspectError, Signs};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use std::time::{Duration, SystemTime};

// A peer whose clock is a little behind must not refuse a certificate made a moment ago.
const BACKDATED: Duration = Duration::from_hours(1);
// How one certificate of several in a PEM file ends.
const END: &str = "-----END CERTIFICATE-----";

#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    #[error("making a key and certificate for {common_name}")]
    Make { common_name: String, source: rcgen::Error },
    #[error("reading an authority's certificate")]
    ReadCertificate(#[source] InspectError),
    #[error("reading an authority's key")]
    ReadKey(#[source] InspectError),
    #[error("using an authority's key with its certificate")]
    Pair(#[source] InspectError),
    #[error("signing with an authority's key and certificate")]
    Adopt(#[source] rcgen::Error),
}

/// An authority's key, and what those who trust it know of it.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    // As it was given: a key that was read need not be written in the same form.
    key: String,
    bundle: String,
}

/// What an authority's certificate is made out to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub common_name: String,
    pub unit: Option<String>,
}

/// When something is made, and how long it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub now: SystemTime,
    pub length: Duration,
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub common_name: String,
    pub names: Vec<SanType>,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
}

impl Signer {
    /// A new authority with a new key.
    pub fn start(subject: &Subject, term: Term) -> Result<Self, SignerError> {
        let key = KeyPair::generate().map_err(|source| making(&subject.common_name, source))?;
        Self::with_key(subject, term, key)
    }

    /// A new authority with a key that is there already.
    pub(super) fn with_key(
        subject: &Subject,
        term: Term,
        key: KeyPair,
    ) -> Result<Self, SignerError> {
        let params = authority_params(subject, term);
        let made = params.self_signed(&key);
        let bundle = made.map_err(|source| making(&subject.common_name, source))?.pem();
        let text = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), key: text, bundle })
    }

    /// The authority with this key; it signs as the first certificate of `bundle`.
    pub fn open(bundle: &str, key: &str) -> Result<Self, SignerError> {
        let certificates = inspect::certificates(bundle.as_bytes());
        let certificates = certificates.map_err(SignerError::ReadCertificate)?;
        let secret = inspect::key(key.as_bytes()).map_err(SignerError::ReadKey)?;
        inspect::fit(&certificates, &secret).map_err(SignerError::Pair)?;
        let pair = KeyPair::try_from(&secret).map_err(SignerError::Adopt)?;
        let first = certificates.first().ok_or(rcgen::Error::CouldNotParseCertificate);
        let issuer = first.and_then(|first| Issuer::from_ca_cert_der(first, pair));
        let issuer = issuer.map_err(SignerError::Adopt)?;
        Ok(Self { issuer, key: key.to_owned(), bundle: bundle.to_owned() })
    }

    /// The same authority with a certificate that is good for longer. The key stays: those who
    /// know one of the two certificates believe what was signed before and what is signed after.
    pub fn renewed(self, subject: &Subject, term: Term) -> Result<Self, SignerError> {
        let pair = inspect::key(self.key.as_bytes()).map_err(SignerError::ReadKey)?;
        let pair = KeyPair::try_from(&pair).map_err(SignerError::Adopt)?;
        let mut renewed = Self { key: self.key, ..Self::with_key(subject, term, pair)? };
        renewed.trust_also(&self.bundle, term.now);
        Ok(renewed)
    }

    /// Lets those who are told of this authority believe an earlier one, too, as long as its
    /// certificates last.
    pub fn trust_also(&mut self, earlier: &str, now: SystemTime) {
        for text in earlier.split_inclusive(END) {
            let certificates = inspect::certificates(text.as_bytes()).unwrap_or_default();
            let facts = certificates.first().map(inspect::facts);
            let lasts = facts.is_some_and(|facts| {
                facts.is_ok_and(|facts| facts.signs == Signs::Certificates && facts.not_after > now)
            });
            if lasts {
                self.bundle.push_str(text.trim_start());
                self.bundle.push('\n');
            }
        }
    }

    /// The certificates to be trusted by those who are shown this authority's, as PEM.
    pub fn bundle(&self) -> &str {
        &self.bundle
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// A new key and a certificate for it.
    pub fn sign(&self, leaf: Leaf, term: Term) -> Result<Parts, SignerError> {
        let common_name = leaf.common_name.clone();
        let failed = |source| making(&common_name, source);
        let key = KeyPair::generate().map_err(failed)?;
        let params = leaf_params(leaf, term);
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Parts {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            authority: self.bundle.clone(),
        })
    }
}

fn authority_params(subject: &Subject, term: Term) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(unit) = &subject.unit {
        params.distinguished_name.push(DnType::OrganizationalUnitName, unit.as_str());
    }
    params.distinguished_name.push(DnType::CommonName, subject.common_name.as_str());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (term.now - BACKDATED).into();
    params.not_after = (term.now + term.length).into();
    params
}

fn leaf_params(leaf: Leaf, term: Term) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, leaf.common_name);
    params.subject_alt_names = leaf.names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = leaf.purposes;
    params.use_authority_key_identifier_extension = true;
    params.not_before = (term.now - BACKDATED).into();
    params.not_after = (term.now + term.length).into();
    params
}

fn making(common_name: &str, source: rcgen::Error) -> SignerError {
    SignerError::Make { common_name: common_name.to_owned(), source }
}
