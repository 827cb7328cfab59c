//! Judges and makes the certificates that are shown on connections.
//!
//! Never gives out a certificate that those who trust its authority would refuse.

use super::{
    AUTHORITY_CERTIFICATE, CERTIFICATE, CertificateError, Content, Issued, KEY, Kind, Present,
    Reason, Span, text,
};
use pgherd_agent::chain::chain;
use pgherd_agent::tls::files::Parts;
use pgherd_agent::tls::holder::Holder;
use pgherd_agent::tls::inspect::{self, Facts, Purpose, Trust};
use pgherd_agent::tls::peer;
use pgherd_agent::tls::signer::{self, Signer, Term};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A certificate there has to be.
pub(super) struct Leaf {
    pub secret: String,
    pub made_out: MadeOut,
}

/// Whom a certificate speaks for, and thereby what it is for.
pub(super) enum MadeOut {
    /// PostgreSQL, towards clients.
    Server { service: String, names: BTreeSet<String> },
    /// A PostgreSQL user.
    User { name: &'static str },
    /// An agent, towards others.
    Agent { holder: Holder },
}

impl Leaf {
    /// The certificate made anew for those who trust `bundle`, if the present one will not do.
    pub(super) fn next(
        &self,
        present: &Present,
        bundle: &str,
        span: Span,
        make: impl FnOnce(&Self) -> Result<Parts, CertificateError>,
    ) -> Result<Option<Issued>, CertificateError> {
        let reason = match present.secrets.get(&self.secret) {
            None => Some(Reason::Missing),
            Some(content) => self.judge(content, bundle, span).err(),
        };
        let Some(reason) = reason else { return Ok(None) };
        let parts = make(self)?;
        let content = Content::from([
            (CERTIFICATE.to_owned(), parts.certificate.into_bytes()),
            (KEY.to_owned(), parts.key.into_bytes()),
            (AUTHORITY_CERTIFICATE.to_owned(), parts.authority.into_bytes()),
        ]);
        let secret = self.secret.clone();
        match self.judge(&content, bundle, span) {
            Ok(()) => Ok(Some(Issued { secret, content, kind: Kind::Tls, reason })),
            Err(reason) => Err(CertificateError::Check { secret, reason }),
        }
    }

    fn judge(&self, content: &Content, bundle: &str, span: Span) -> Result<(), Reason> {
        let broken = |error| Reason::Broken { why: chain(&error).to_string() };
        let shown = inspect::certificates(text(content, CERTIFICATE)?.as_bytes());
        let shown = shown.map_err(broken)?;
        let key = inspect::key(text(content, KEY)?.as_bytes()).map_err(broken)?;
        inspect::fit(&shown, &key).map_err(broken)?;
        let trusted = inspect::certificates(bundle.as_bytes()).map_err(broken)?;
        let told_to_trust = text(content, AUTHORITY_CERTIFICATE)?;
        let told_to_trust = inspect::certificates(told_to_trust.as_bytes()).map_err(broken)?;
        if told_to_trust != trusted {
            return Err(Reason::OtherAuthority);
        }
        // Now, too: one that was made while a clock was ahead is not valid yet.
        for at in [span.term.now, span.due] {
            for purpose in self.made_out.purposes() {
                believed(inspect::trust(&shown, &trusted, *purpose, at), *purpose)?;
            }
        }
        let Some(certificate) = shown.first() else { return Ok(()) };
        self.made_out.speaks(certificate, &inspect::facts(certificate).map_err(broken)?)
    }

    /// A new certificate with the names and purposes of this one.
    pub(super) fn signed_by(&self, signer: &Signer, term: Term) -> Result<Parts, CertificateError> {
        let (common_name, names) = match &self.made_out {
            MadeOut::Server { service, names } => (service.clone(), self.alternative(names)?),
            MadeOut::User { name } => ((*name).to_owned(), Vec::new()),
            MadeOut::Agent { holder } => (holder.common_name(), Vec::new()),
        };
        let purposes = self.made_out.purposes().iter().map(|purpose| match purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        });
        let leaf = signer::Leaf { common_name, names, purposes: purposes.collect() };
        let secret = self.secret.clone();
        signer.sign(leaf, term).map_err(|source| CertificateError::Sign { secret, source })
    }

    fn alternative(&self, names: &BTreeSet<String>) -> Result<Vec<SanType>, CertificateError> {
        let names = names.iter().map(|name| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => name.as_str().try_into().map(SanType::DnsName).map_err(|source| {
                CertificateError::Name { secret: self.secret.clone(), name: name.clone(), source }
            }),
        });
        names.collect()
    }
}

impl MadeOut {
    fn purposes(&self) -> &'static [Purpose] {
        match self {
            Self::Server { .. } => &[Purpose::Server],
            Self::User { .. } => &[Purpose::Client],
            Self::Agent { .. } => &[Purpose::Server, Purpose::Client],
        }
    }

    fn speaks(&self, certificate: &CertificateDer<'_>, facts: &Facts) -> Result<(), Reason> {
        let (present, wanted) = match self {
            Self::Server { names, .. } => (facts.names.clone(), names.clone()),
            Self::User { name } => {
                (BTreeSet::from([facts.common_name.clone()]), BTreeSet::from([(*name).to_owned()]))
            }
            // Agents say themselves whom they take a certificate for.
            Self::Agent { holder } if peer::speaks_for(certificate, holder) => return Ok(()),
            Self::Agent { holder } => (
                BTreeSet::from([facts.common_name.clone()]),
                BTreeSet::from([holder.common_name()]),
            ),
        };
        if present == wanted { Ok(()) } else { Err(Reason::OtherNames { present, wanted }) }
    }
}

fn believed(trust: Trust, purpose: Purpose) -> Result<(), Reason> {
    let broken = |why: &str| Err(Reason::Broken { why: why.to_owned() });
    match trust {
        Trust::Good => Ok(()),
        Trust::Expired { not_after } => Err(Reason::Expiring { not_after }),
        Trust::OtherAuthority => Err(Reason::OtherAuthority),
        Trust::Early => broken("it is not valid yet"),
        Trust::Unreadable => broken("it cannot be read"),
        Trust::OtherPurpose => match purpose {
            Purpose::Server => broken("it is not for servers"),
            Purpose::Client => broken("it is not for clients"),
        },
    }
}
