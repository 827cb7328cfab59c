//! Says who is at the other end of a connection.
//!
//! Never believes what a message says about its sender.

use super::holder::{Holder, LOCALHOST};
use pgherd_core::names::InstanceName;
use rustls::pki_types::CertificateDer;
use std::fmt;
use webpki::EndEntityCert;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    #[error("the caller showed no certificate")]
    NoCertificate,
    #[error("the caller's certificate cannot be parsed")]
    Unreadable,
    #[error("the caller's certificate is made out to nobody who may call: {names}")]
    Nobody { names: String },
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Somebody with a certificate of this cluster's authority.
    Certified(Holder),
    /// A process of this machine, by the user id the kernel vouches for.
    Local { user: u32 },
    /// Anybody: it was not asked who it is.
    Unnamed,
}

impl Peer {
    /// The instance that calls, if it is one.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::Certified(Holder::Instance(name)) => Some(name),
            Self::Certified(Holder::Replication | Holder::Record | Holder::Supervisor)
            | Self::Local { .. }
            | Self::Unnamed => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certified(holder) => write!(f, "{holder}"),
            Self::Local { user } => write!(f, "local user {user}"),
            Self::Unnamed => f.write_str("somebody"),
        }
    }
}

/// Whom a verified certificate chain speaks for.
pub(crate) fn certified(chain: Option<&[CertificateDer<'_>]>) -> Result<Peer, PeerError> {
    let certificate = chain.and_then(<[_]>::first).ok_or(PeerError::NoCertificate)?;
    holder_of(certificate).map(Peer::Certified)
}

/// Whether `certificate` is the kind that is made out to `holder`.
pub fn speaks_for(certificate: &CertificateDer<'_>, holder: &Holder) -> bool {
    match holder {
        Holder::Replication => {
            holder_of(certificate) == Err(PeerError::Nobody { names: String::new() })
        }
        Holder::Instance(_) | Holder::Record | Holder::Supervisor => {
            holder_of(certificate).as_ref() == Ok(holder)
        }
    }
}

/// The one name in `certificate` that is not this machine's.
pub(super) fn holder_of(certificate: &CertificateDer<'_>) -> Result<Holder, PeerError> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|_| PeerError::Unreadable)?;
    let names: Vec<&str> = parsed.valid_dns_names().filter(|name| *name != LOCALHOST).collect();
    let holder = match names.as_slice() {
        [only] => Holder::from_dns_name(only),
        _ => None,
    };
    holder.ok_or_else(|| PeerError::Nobody { names: names.join(", ") })
}
