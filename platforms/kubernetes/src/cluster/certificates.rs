//! Decides which keys and certificates of a cluster have to be made, and makes them.
//!
//! Never writes a Secret that the user has given, and never makes anew what is still good.

mod authorities;
mod leaves;
mod password;
mod status;
mod supplied;
#[cfg(test)]
mod tests;
mod warned;

pub use password::password;
pub use status::{moment, status};
pub use supplied::{Complaint, Field, Problem, complaints, ending};
pub use warned::Warned;

use super::manifests::secrets;
use leaves::{Leaf, MadeOut};
use pgherd_agent::tls::authority::{self, Authority, AuthorityError};
use pgherd_agent::tls::files::Parts;
use pgherd_agent::tls::holder::{Holder, REPLICATION_ROLE};
use pgherd_agent::tls::signer::{SignerError, Subject, Term};
use pgherd_api::cluster::certificates::Certificates;
use pgherd_core::names::{ClusterName, InstanceName};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// The keys of Secrets, as Kubernetes and cert-manager call them.
pub const AUTHORITY_CERTIFICATE: &str = "ca.crt";
pub const AUTHORITY_KEY: &str = "ca.key";
pub const CERTIFICATE: &str = "tls.crt";
pub const KEY: &str = "tls.key";
/// What standbys log in with.
pub const REPLICATION_PASSWORD: &str = "replication-password";
/// The operator's own identity is made again at every start: it need not outlast one by much.
const SUPERVISOR_LENGTH: Duration = Duration::from_hours(24);

#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("making the authority in secret {secret}")]
    MakeAuthority { secret: String, source: SignerError },
    #[error("signing the certificate in secret {secret}")]
    Sign { secret: String, source: SignerError },
    #[error("naming {name:?} in the certificate in secret {secret}")]
    Name { secret: String, name: String, source: rcgen::Error },
    #[error("making the identity in secret {secret}")]
    Identify { secret: String, source: Box<AuthorityError> },
    #[error("making the operator's identity")]
    IdentifyOperator(#[source] Box<AuthorityError>),
    #[error(
        "the certificate made for secret {secret} would be refused by those who trust its authority, {reason}: delete the authority's secret to get another"
    )]
    Check { secret: String, reason: Reason },
    #[error("drawing a password from the system's random source")]
    DrawPassword,
}

/// What a Secret holds, by key.
pub type Content = BTreeMap<String, Vec<u8>>;

/// The Secrets there are, by name: the cluster's own, and those its specification names.
// Not printable: it holds keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Present {
    pub secrets: BTreeMap<String, Content>,
}

/// What there has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub cluster: ClusterName,
    pub namespace: String,
    /// What names of services end in, for example `cluster.local`.
    pub domain: String,
    pub instances: BTreeSet<InstanceName>,
    /// `spec.certificates`.
    pub supplied: Certificates,
    pub life: Life,
}

/// How long certificates are good for. CNPG's settings and, by default, its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// `CERTIFICATE_DURATION`.
    pub length: Duration,
    /// `EXPIRING_CHECK_THRESHOLD`: with less than this left, another one is made.
    pub renewal: Duration,
}

/// A Secret that has to be written, and why.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    pub secret: String,
    pub content: Content,
    pub kind: Kind,
    pub reason: Reason,
}

/// The type of a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `kubernetes.io/tls`.
    Tls,
    Opaque,
}

/// Why a Secret has to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Missing,
    Expiring {
        not_after: SystemTime,
    },
    /// Signed by an authority that is not, or no longer, the one in use; or told to trust another.
    OtherAuthority,
    OtherNames {
        present: BTreeSet<String>,
        wanted: BTreeSet<String>,
    },
    Broken {
        why: String,
    },
}

/// Which Secrets have to be written at `now`, authorities before what they sign; nothing when all
/// is well.
pub fn next(
    present: &Present,
    wanted: &Wanted,
    now: SystemTime,
) -> Result<Vec<Issued>, CertificateError> {
    let mut issued = Vec::new();
    next_for_clients(present, wanted, now, &mut issued)?;
    next_for_agents(present, wanted, now, &mut issued)?;
    issued.retain(|issued| !wanted.is_supplied(&issued.secret));
    Ok(issued)
}

/// The identity that the operator calls agents with; `None` before the agents' authority is made.
pub fn supervisor(
    present: &Present,
    wanted: &Wanted,
    now: SystemTime,
) -> Result<Option<Parts>, CertificateError> {
    let kept = present.secrets.get(&wanted.agents_secret()).map(authorities::open);
    let Some(Ok(signer)) = kept else { return Ok(None) };
    let authority = Authority::of(&wanted.cluster, signer);
    let parts = authority.issue_for(&Holder::Supervisor, Term { now, length: SUPERVISOR_LENGTH });
    parts.map(Some).map_err(|error| CertificateError::IdentifyOperator(Box::new(error)))
}

/// What PostgreSQL shows to clients and standbys, and what standbys show to it.
fn next_for_clients(
    present: &Present,
    wanted: &Wanted,
    now: SystemTime,
    issued: &mut Vec<Issued>,
) -> Result<(), CertificateError> {
    let supplied = &wanted.supplied;
    let span = wanted.life.span(now);
    let signs = [Field::ServerAuthority, Field::ClientAuthority];
    let own = if signs.into_iter().any(|field| field.secret(wanted).is_none()) {
        let subject = Subject {
            common_name: wanted.cluster.to_string(),
            unit: Some(wanted.namespace.clone()),
        };
        let secret = wanted.authority_secret();
        let kept = authorities::keep(present, &secret, &subject, span)?;
        if let Some(reason) = kept.reason {
            let content = authorities::content(&kept.signer);
            issued.push(Issued { secret, content, kind: Kind::Opaque, reason });
        }
        Some(kept.signer)
    } else {
        None
    };
    let server = Leaf {
        secret: wanted.server_secret(),
        made_out: MadeOut::Server { service: wanted.service("rw"), names: wanted.server_names() },
    };
    let replication = Leaf {
        secret: wanted.replication_secret(),
        made_out: MadeOut::User { name: REPLICATION_ROLE },
    };
    for (leaf, signing, ready) in [
        (server, Field::ServerAuthority, &supplied.server_tls_secret),
        (replication, Field::ClientAuthority, &supplied.replication_tls_secret),
    ] {
        let given = supplied::signer(present, wanted, signing, now);
        let signer = match &given {
            supplied::Given::Nothing => own.as_ref(),
            supplied::Given::Signer(signer) => Some(signer.as_ref()),
            supplied::Given::Unusable => None,
        };
        if let (None, Some(signer)) = (ready, signer) {
            let made =
                leaf.next(present, signer.bundle(), span, |leaf| leaf.signed_by(signer, span.term));
            issued.extend(made?);
        }
    }
    Ok(())
}

/// What agents show to each other.
fn next_for_agents(
    present: &Present,
    wanted: &Wanted,
    now: SystemTime,
    issued: &mut Vec<Issued>,
) -> Result<(), CertificateError> {
    let secret = wanted.agents_secret();
    let span = wanted.life.span(now);
    let kept = authorities::keep(present, &secret, &authority::subject(&wanted.cluster), span)?;
    let known = present.secrets.get(&secret).and_then(|content| content.get(REPLICATION_PASSWORD));
    let known = known.filter(|password| !password.is_empty());
    let why = || format!("it has no {REPLICATION_PASSWORD}");
    let forgotten = known.is_none().then(|| Reason::Broken { why: why() });
    if let Some(reason) = kept.reason.or(forgotten) {
        let password = match known {
            Some(password) => password.clone(),
            None => password()?.into_bytes(),
        };
        let mut content = authorities::content(&kept.signer);
        content.insert(REPLICATION_PASSWORD.to_owned(), password);
        issued.push(Issued { secret, content, kind: Kind::Opaque, reason });
    }
    let authority = Authority::of(&wanted.cluster, kept.signer);
    for instance in &wanted.instances {
        let holder = Holder::Instance(instance.clone());
        let secret = secrets::agent_name(instance);
        let leaf =
            Leaf { secret: secret.clone(), made_out: MadeOut::Agent { holder: holder.clone() } };
        let made = leaf.next(present, authority.certificate(), span, |_| {
            let parts = authority.issue_for(&holder, span.term);
            let failed = |source| CertificateError::Identify { secret, source: Box::new(source) };
            parts.map_err(failed)
        });
        issued.extend(made?);
    }
    Ok(())
}

impl Wanted {
    /// Whether the user has given this Secret, be it under a name that would be ours.
    fn is_supplied(&self, secret: &str) -> bool {
        let supplied = &self.supplied;
        let given = [
            &supplied.server_ca_secret,
            &supplied.server_tls_secret,
            &supplied.client_ca_secret,
            &supplied.replication_tls_secret,
        ];
        given.into_iter().any(|given| given.as_deref() == Some(secret))
    }

    fn authority_secret(&self) -> String {
        secrets::authority_name(&self.cluster)
    }

    fn server_secret(&self) -> String {
        secrets::server_name(&self.cluster)
    }

    fn replication_secret(&self) -> String {
        secrets::replication_name(&self.cluster)
    }

    fn agents_secret(&self) -> String {
        secrets::agents_name(&self.cluster)
    }

    fn service(&self, which: &str) -> String {
        format!("{}-{which}", self.cluster)
    }

    /// The names that clients may know the servers by.
    fn server_names(&self) -> BTreeSet<String> {
        let (namespace, domain) = (&self.namespace, &self.domain);
        let services = ["rw", "r", "ro"].map(|which| self.service(which));
        let names = services.into_iter().flat_map(|service| {
            [
                format!("{service}.{namespace}"),
                format!("{service}.{namespace}.svc"),
                format!("{service}.{namespace}.svc.{domain}"),
                service,
            ]
        });
        let further = self.supplied.server_alt_dns_names.iter();
        let further = further.filter(|name| supplied::is_name(name)).map(|name| {
            // As it is read back from a certificate.
            name.parse::<IpAddr>().map_or_else(|_| name.clone(), |address| address.to_string())
        });
        names.chain(further).collect()
    }
}

impl Life {
    fn span(self, now: SystemTime) -> Span {
        // A threshold longer than the life itself would have everything made again for ever.
        let renewal = self.renewal.min(self.length / 2);
        Span { term: Term { now, length: self.length }, due: now + renewal }
    }
}

impl Default for Life {
    fn default() -> Self {
        Self { length: authority::VALIDITY, renewal: authority::RENEWAL }
    }
}

/// When something made now would end, and what ends before when is due.
#[derive(Debug, Clone, Copy)]
struct Span {
    term: Term,
    due: SystemTime,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there was none"),
            Self::Expiring { not_after } => write!(f, "its end is near, {}", moment(*not_after)),
            Self::OtherAuthority => f.write_str("it goes with another authority"),
            Self::OtherNames { present, wanted } => {
                let listed = |names: &BTreeSet<String>| {
                    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
                };
                write!(f, "it is made out to {:?}, not {:?}", listed(present), listed(wanted))
            }
            Self::Broken { why } => write!(f, "it is broken: {why}"),
        }
    }
}

// Keys are not for logs.
impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, content, kind, reason } = self;
        let keys: Vec<&String> = content.keys().collect();
        write!(f, "{secret} ({kind:?}, {keys:?}): {reason}")
    }
}

/// What a Secret holds under `key`, as text.
fn text<'a>(content: &'a Content, key: &str) -> Result<&'a str, Reason> {
    let found = content.get(key).filter(|bytes| !bytes.is_empty());
    let bytes = found.ok_or_else(|| Reason::Broken { why: format!("it has no {key}") })?;
    std::str::from_utf8(bytes).map_err(|_| Reason::Broken { why: format!("{key} is not text") })
}
