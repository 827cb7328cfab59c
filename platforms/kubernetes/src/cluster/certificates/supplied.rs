//! Checks the Secrets with certificates that the user has given.
//!
//! Never changes one: what is wrong with it is said, with what would help.

use super::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, CERTIFICATE, Content, KEY, Present, Wanted, moment,
};
use pgherd_agent::chain::chain;
use pgherd_agent::tls::holder::REPLICATION_ROLE;
use pgherd_agent::tls::inspect::{self, Facts, Purpose, Signs, Trust};
use pgherd_agent::tls::signer::{Leaf, Signer, Term};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// What is wrong with something in `spec.certificates`, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    Secret { secret: String, field: Field, problem: Problem },
    Name { given: String },
}

/// A field of `spec.certificates` that names a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    ServerAuthority,
    ServerCertificate,
    ClientAuthority,
    ReplicationCertificate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    NoSecret,
    NoKey {
        key: &'static str,
    },
    /// It cannot sign, and what it should sign is not given either.
    NoSigningKey {
        instead: Field,
    },
    Unreadable {
        key: &'static str,
        why: String,
    },
    Mismatched {
        certificate: &'static str,
        key: &'static str,
    },
    Expired {
        key: &'static str,
        not_after: SystemTime,
    },
    /// It is still good.
    Ending {
        key: &'static str,
        not_after: SystemTime,
    },
    Early {
        key: &'static str,
    },
    NotAnAuthority,
    /// For example because its subject has an attribute twice, and that cannot be repeated in
    /// the certificates that name it as their issuer.
    CannotSign,
    OtherAuthority {
        authority: String,
    },
    OtherPurpose {
        purpose: Purpose,
    },
    OtherUser {
        found: String,
    },
}

/// What is wrong at `now` with the Secrets and names that the user has given.
pub fn complaints(present: &Present, wanted: &Wanted, now: SystemTime) -> Vec<Complaint> {
    let secrets = Field::ALL.into_iter().filter_map(|field| {
        let secret = field.secret(wanted)?;
        let problem = match field {
            Field::ServerAuthority | Field::ClientAuthority => {
                authority(present, wanted, field, now).err()
            }
            Field::ServerCertificate | Field::ReplicationCertificate => {
                certificate(present, wanted, field, now).err()
            }
        };
        Some(Complaint::Secret { secret, field, problem: problem? })
    });
    let names = wanted.supplied.server_alt_dns_names.iter().filter(|name| !is_name(name));
    secrets.chain(names.map(|given| Complaint::Name { given: given.clone() })).collect()
}

/// Which of the certificates that the user has given end soon: nobody else renews them.
pub fn ending(present: &Present, wanted: &Wanted, now: SystemTime) -> Vec<Complaint> {
    let due = wanted.life.span(now).due;
    let ending = Field::ALL.into_iter().filter_map(|field| {
        let secret = field.secret(wanted)?;
        let key = match field {
            Field::ServerAuthority | Field::ClientAuthority => AUTHORITY_CERTIFICATE,
            Field::ServerCertificate | Field::ReplicationCertificate => CERTIFICATE,
        };
        let (_, Facts { not_after, .. }) =
            certificates(content(present, wanted, field).ok()?, key).ok()?;
        let problem = Problem::Ending { key, not_after };
        (not_after <= due).then_some(Complaint::Secret { secret, field, problem })
    });
    ending.collect()
}

/// The authority that the user has given to sign with.
pub(super) enum Given {
    Nothing,
    Signer(Box<Signer>),
    /// One of the complaints says why.
    Unusable,
}

pub(super) fn signer(present: &Present, wanted: &Wanted, field: Field, now: SystemTime) -> Given {
    if field.secret(wanted).is_none() {
        return Given::Nothing;
    }
    match authority(present, wanted, field, now) {
        Ok(Some(signer)) => Given::Signer(Box::new(signer)),
        Ok(None) | Err(_) => Given::Unusable,
    }
}

/// Whether something can be a server's name or address.
pub(super) fn is_name(given: &str) -> bool {
    let letters = given.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b));
    given.parse::<IpAddr>().is_ok() || (letters && !given.is_empty() && given.len() <= 253)
}

/// The authority in a given Secret, ready to sign if it has to.
fn authority(
    present: &Present,
    wanted: &Wanted,
    field: Field,
    now: SystemTime,
) -> Result<Option<Signer>, Problem> {
    let content = content(present, wanted, field)?;
    let bundle = value(content, AUTHORITY_CERTIFICATE)?;
    let (_, facts) = certificates(content, AUTHORITY_CERTIFICATE)?;
    if facts.signs == Signs::ConnectionsOnly {
        return Err(Problem::NotAnAuthority);
    }
    if facts.not_after <= now {
        let not_after = facts.not_after;
        return Err(Problem::Expired { key: AUTHORITY_CERTIFICATE, not_after });
    }
    let instead = match field {
        Field::ServerAuthority | Field::ServerCertificate => Field::ServerCertificate,
        Field::ClientAuthority | Field::ReplicationCertificate => Field::ReplicationCertificate,
    };
    if instead.secret(wanted).is_some() {
        return Ok(None);
    }
    let key = value(content, AUTHORITY_KEY).map_err(|_| Problem::NoSigningKey { instead })?;
    fit(content, AUTHORITY_CERTIFICATE, AUTHORITY_KEY)?;
    let signer = Signer::open(&text(bundle), &text(key));
    let signer = signer.map_err(|error| unreadable(AUTHORITY_KEY, &chain(&error).to_string()))?;
    tried(signer, now).map(Some)
}

/// An authority that has proved that what it signs is believed.
fn tried(signer: Signer, now: SystemTime) -> Result<Signer, Problem> {
    let leaf = Leaf {
        common_name: "attempt".to_owned(),
        names: Vec::new(),
        purposes: vec![ExtendedKeyUsagePurpose::ServerAuth],
    };
    let term = Term { now, length: Duration::from_hours(1) };
    let parts = signer.sign(leaf, term).map_err(|_| Problem::CannotSign)?;
    let shown = inspect::certificates(parts.certificate.as_bytes());
    let bundle = inspect::certificates(parts.authority.as_bytes());
    match (shown, bundle) {
        (Ok(shown), Ok(bundle))
            if inspect::trust(&shown, &bundle, Purpose::Server, now) == Trust::Good =>
        {
            Ok(signer)
        }
        _ => Err(Problem::CannotSign),
    }
}

/// The certificate in a given Secret, judged.
fn certificate(
    present: &Present,
    wanted: &Wanted,
    field: Field,
    now: SystemTime,
) -> Result<(), Problem> {
    let content = content(present, wanted, field)?;
    let (shown, facts) = certificates(content, CERTIFICATE)?;
    fit(content, CERTIFICATE, KEY)?;
    let (authority, purpose) = match field {
        Field::ServerAuthority | Field::ServerCertificate => {
            (Field::ServerAuthority, Purpose::Server)
        }
        Field::ClientAuthority | Field::ReplicationCertificate => {
            (Field::ClientAuthority, Purpose::Client)
        }
    };
    let authority = authority.secret(wanted).unwrap_or_else(|| wanted.authority_secret());
    let bundle = present.secrets.get(&authority);
    let bundle = bundle.and_then(|content| certificates(content, AUTHORITY_CERTIFICATE).ok());
    let trust = match bundle {
        Some((bundle, _)) => inspect::trust(&shown, &bundle, purpose, now),
        // Without an authority there is something else to complain of, or it will be made.
        None if facts.not_after <= now => Trust::Expired { not_after: facts.not_after },
        None => Trust::Good,
    };
    match trust {
        Trust::Expired { not_after } => Err(Problem::Expired { key: CERTIFICATE, not_after }),
        Trust::Early => Err(Problem::Early { key: CERTIFICATE }),
        Trust::OtherPurpose => Err(Problem::OtherPurpose { purpose }),
        Trust::OtherAuthority => Err(Problem::OtherAuthority { authority }),
        Trust::Unreadable => Err(unreadable(CERTIFICATE, "it cannot be verified")),
        Trust::Good if purpose == Purpose::Client && facts.common_name != REPLICATION_ROLE => {
            Err(Problem::OtherUser { found: facts.common_name })
        }
        Trust::Good => Ok(()),
    }
}

fn content<'a>(
    present: &'a Present,
    wanted: &Wanted,
    field: Field,
) -> Result<&'a Content, Problem> {
    let content = field.secret(wanted).and_then(|secret| present.secrets.get(&secret));
    content.ok_or(Problem::NoSecret)
}

fn value<'a>(content: &'a Content, key: &'static str) -> Result<&'a [u8], Problem> {
    let value = content.get(key).filter(|value| !value.is_empty());
    value.map(Vec::as_slice).ok_or(Problem::NoKey { key })
}

/// The certificates under `key`, and what the first says.
fn certificates(
    content: &Content,
    key: &'static str,
) -> Result<(Vec<CertificateDer<'static>>, Facts), Problem> {
    let found = inspect::certificates(value(content, key)?);
    let found = found.map_err(|error| unreadable(key, &chain(&error).to_string()))?;
    let facts = found.first().map(inspect::facts).transpose();
    let facts = facts.map_err(|error| unreadable(key, &chain(&error).to_string()))?;
    let facts = facts.ok_or_else(|| unreadable(key, "there is none in it"))?;
    Ok((found, facts))
}

fn fit(content: &Content, certificate: &'static str, key: &'static str) -> Result<(), Problem> {
    let (shown, _) = certificates(content, certificate)?;
    let secret = inspect::key(value(content, key)?);
    let secret = secret.map_err(|error| unreadable(key, &chain(&error).to_string()))?;
    inspect::fit(&shown, &secret).map_err(|_| Problem::Mismatched { certificate, key })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn unreadable(key: &'static str, why: &str) -> Problem {
    Problem::Unreadable { key, why: why.to_owned() }
}

impl Field {
    const ALL: [Self; 4] = [
        Self::ServerAuthority,
        Self::ServerCertificate,
        Self::ClientAuthority,
        Self::ReplicationCertificate,
    ];

    /// The Secret that the user has given for this. One under the name of the cluster's own
    /// authority takes its place everywhere.
    pub(super) fn secret(self, wanted: &Wanted) -> Option<String> {
        let supplied = &wanted.supplied;
        let own = Some(wanted.authority_secret()).filter(|own| wanted.is_supplied(own));
        match self {
            Self::ServerAuthority => supplied.server_ca_secret.clone().or(own),
            Self::ServerCertificate => supplied.server_tls_secret.clone(),
            Self::ClientAuthority => supplied.client_ca_secret.clone().or(own),
            Self::ReplicationCertificate => supplied.replication_tls_secret.clone(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ServerAuthority => "spec.certificates.serverCASecret",
            Self::ServerCertificate => "spec.certificates.serverTLSSecret",
            Self::ClientAuthority => "spec.certificates.clientCASecret",
            Self::ReplicationCertificate => "spec.certificates.replicationTLSSecret",
        })
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { secret, field, problem } => {
                write!(f, "secret {secret} ({field}) {problem}")
            }
            Self::Name { given } => write!(
                f,
                "{given:?} in spec.certificates.serverAltDNSNames is no name of a server: use letters, digits, '-' and '.', or an address"
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => write!(
                f,
                "does not exist: create it, or remove the field to have certificates made"
            ),
            Self::NoKey { key } => write!(f, "has no key {key}: add it as PEM"),
            Self::NoSigningKey { instead } => write!(
                f,
                "has no key {AUTHORITY_KEY} to sign with: add it, or give a signed certificate in {instead}"
            ),
            Self::Unreadable { key, why } => {
                write!(f, "has nothing usable in key {key} ({why}): replace it with PEM")
            }
            Self::Mismatched { certificate, key } => write!(
                f,
                "has keys {certificate} and {key} that do not belong together: replace both from one source"
            ),
            Self::Expired { key, not_after } => write!(
                f,
                "has a certificate in key {key} that expired at {}: renew it",
                moment(*not_after)
            ),
            Self::Ending { key, not_after } => write!(
                f,
                "has a certificate in key {key} that ends at {}: renew it before",
                moment(*not_after)
            ),
            Self::Early { key } => write!(
                f,
                "has a certificate in key {key} that is not valid yet: wait, or set the clocks"
            ),
            Self::NotAnAuthority => write!(
                f,
                "has a certificate in key {AUTHORITY_CERTIFICATE} that may not sign others: put the authority's certificate there"
            ),
            Self::CannotSign => write!(
                f,
                "has an authority whose certificates would not be believed: use one whose subject has every attribute once, and that may sign for servers and clients"
            ),
            Self::OtherAuthority { authority } => write!(
                f,
                "has a certificate in key {CERTIFICATE} that was not signed by {AUTHORITY_CERTIFICATE} of secret {authority}: replace one of the two"
            ),
            Self::OtherPurpose { purpose } => {
                let usage = match purpose {
                    Purpose::Server => "server auth",
                    Purpose::Client => "client auth",
                };
                write!(
                    f,
                    "has a certificate in key {CERTIFICATE} without usage \"{usage}\": issue it with that"
                )
            }
            Self::OtherUser { found } => write!(
                f,
                "has a certificate in key {CERTIFICATE} for user {found:?}: issue it with common name {REPLICATION_ROLE:?}"
            ),
        }
    }
}
