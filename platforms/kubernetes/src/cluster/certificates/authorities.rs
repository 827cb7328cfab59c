//! Keeps the authorities that are the cluster's own.
//!
//! Never lets a renewal break a certificate that was signed before.

use super::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, CertificateError, Content, Present, Reason, Span, text,
};
use pgherd_agent::chain::chain;
use pgherd_agent::tls::inspect::{self, Signs};
use pgherd_agent::tls::signer::{Signer, Subject};

/// An authority, and why its Secret has to be written, if it has to.
pub(super) struct Kept {
    pub signer: Signer,
    pub reason: Option<Reason>,
}

/// The authority in `secret`, made or renewed if that is due.
pub(super) fn keep(
    present: &Present,
    secret: &str,
    subject: &Subject,
    span: Span,
) -> Result<Kept, CertificateError> {
    let failed = |source| CertificateError::MakeAuthority { secret: secret.to_owned(), source };
    let Some(content) = present.secrets.get(secret) else {
        // Who deletes it does not want the old one to be trusted any longer.
        let signer = Signer::start(subject, span.term).map_err(failed)?;
        return Ok(Kept { signer, reason: Some(Reason::Missing) });
    };
    match open(content) {
        Ok(signer) => match judge(&signer, span) {
            None => Ok(Kept { signer, reason: None }),
            Some(reason) => {
                let signer = signer.renewed(subject, span.term).map_err(failed)?;
                Ok(Kept { signer, reason: Some(reason) })
            }
        },
        Err(reason) => {
            let mut signer = Signer::start(subject, span.term).map_err(failed)?;
            // The key is lost, but what it signed may be in use in every pod.
            signer.trust_also(text(content, AUTHORITY_CERTIFICATE).unwrap_or(""), span.term.now);
            Ok(Kept { signer, reason: Some(reason) })
        }
    }
}

/// The authority in a Secret, or why it cannot sign.
pub(super) fn open(content: &Content) -> Result<Signer, Reason> {
    let broken = |why: String| Reason::Broken { why };
    let bundle = text(content, AUTHORITY_CERTIFICATE)?;
    let signer = Signer::open(bundle, text(content, AUTHORITY_KEY)?);
    let signer = signer.map_err(|error| broken(chain(&error).to_string()))?;
    let certificates = inspect::certificates(bundle.as_bytes());
    let certificates = certificates.map_err(|error| broken(chain(&error).to_string()))?;
    let facts = certificates.first().map(inspect::facts);
    match facts {
        Some(Ok(facts)) if facts.signs == Signs::Certificates => Ok(signer),
        _ => Err(broken(format!("{AUTHORITY_CERTIFICATE} is not an authority's certificate"))),
    }
}

pub(super) fn content(signer: &Signer) -> Content {
    Content::from([
        (AUTHORITY_CERTIFICATE.to_owned(), signer.bundle().as_bytes().to_vec()),
        (AUTHORITY_KEY.to_owned(), signer.key().as_bytes().to_vec()),
    ])
}

/// Why an authority that can sign needs another certificate all the same.
// Older certificates stay in the bundle until the next renewal, although they may end before: they
// are of the same key, and dropping one would have everything signed again.
fn judge(signer: &Signer, span: Span) -> Option<Reason> {
    let certificates = inspect::certificates(signer.bundle().as_bytes()).ok()?;
    let not_after = inspect::facts(certificates.first()?).ok()?.not_after;
    (not_after <= span.due).then_some(Reason::Expiring { not_after })
}
