//! Issues the certificates of one cluster, and says which are due.
//!
//! Never leaves the process that keeps the cluster's keys: an agent holds its own key only.

use super::files::{Condition, FilesError, IdentityFiles, Parts};
use super::holder::{Holder, LOCALHOST};
use super::signer::{Leaf, Signer, SignerError, Subject, Term};
use crate::durable::{self, Access, DurableError};
use pgherd_core::names::ClusterName;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SanType};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long an issued certificate is good for.
pub const VALIDITY: Duration = Duration::from_hours(90 * 24);
/// A certificate with less than this left is replaced.
pub const RENEWAL: Duration = Duration::from_hours(7 * 24);
// Everybody who trusts the authority would have to be told of another one first.
const AUTHORITY_VALIDITY: Duration = Duration::from_hours(3650 * 24);

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("keeping the authority's key and certificate")]
    Keep(#[source] DurableError),
    #[error("making a key and certificate for {holder}")]
    Issue { holder: String, source: rcgen::Error },
    #[error("signing for {holder}")]
    Sign { holder: String, source: SignerError },
    #[error(
        "reading the authority's key in {path:?}: restore it from a copy, or remove the folder to let every instance get new certificates"
    )]
    ReadKey { path: PathBuf, source: rcgen::Error },
    #[error(
        "{path:?} is missing where its certificate is present: restore it from a copy, or remove the certificate too to start a new authority"
    )]
    MissingKey { path: PathBuf },
    #[error("{path:?} does not belong to the authority's key: restore both from one copy")]
    Mismatched { path: PathBuf },
    #[error("{path:?} is not text")]
    NotText { path: PathBuf },
    #[error("{holder} is not of cluster {cluster}: its own cluster's authority must issue for it")]
    OtherCluster { holder: String, cluster: ClusterName },
    #[error("looking at the certificate of {holder}")]
    Look { holder: String, source: FilesError },
    #[error("writing the certificate of {holder}")]
    Write { holder: String, source: FilesError },
}

/// The authority of one cluster.
pub struct Authority {
    cluster: ClusterName,
    signer: Signer,
}

/// A certificate somebody needs: for whom, where, and who may read its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub holder: Holder,
    pub files: IdentityFiles,
    pub access: Access,
}

impl Authority {
    /// The authority whose key is in `folder`, made now if there is none.
    pub fn open(
        folder: &Path,
        cluster: &ClusterName,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let key_path = folder.join("ca.key");
        let certificate_path = folder.join("ca.crt");
        let certificate = read_text(&certificate_path)?;
        let key = match read_text(&key_path)? {
            Some(text) => KeyPair::from_pem(&text)
                .map_err(|source| AuthorityError::ReadKey { path: key_path, source })?,
            None if certificate.is_some() => {
                return Err(AuthorityError::MissingKey { path: key_path });
            }
            None => {
                let key = KeyPair::generate().map_err(|source| issuing("the authority", source))?;
                // The key first: a key without certificate is completed at the next start.
                keep(&key_path, &key.serialize_pem(), Access::PRIVATE)?;
                key
            }
        };
        let signer = if let Some(text) = certificate {
            Signer::open(&text, &key.serialize_pem())
                .map_err(|_| AuthorityError::Mismatched { path: certificate_path })?
        } else {
            let term = Term { now, length: AUTHORITY_VALIDITY };
            let made = Signer::with_key(&subject(cluster), term, key)
                .map_err(|source| signing("the authority", source))?;
            keep(&certificate_path, made.bundle(), Access::PUBLIC)?;
            made
        };
        Ok(Self::of(cluster, signer))
    }

    /// The authority of `cluster` whose key somebody else keeps.
    pub fn of(cluster: &ClusterName, signer: Signer) -> Self {
        Self { cluster: cluster.clone(), signer }
    }

    /// The certificate everybody in the cluster trusts, as PEM; several while one replaces another.
    pub fn certificate(&self) -> &str {
        self.signer.bundle()
    }

    /// A new key and certificate for `holder`, valid from `now`.
    pub fn issue(&self, holder: &Holder, now: SystemTime) -> Result<Parts, AuthorityError> {
        self.issue_for(holder, Term { now, length: VALIDITY })
    }

    /// A new key and certificate for `holder`, valid for `term`.
    pub fn issue_for(&self, holder: &Holder, term: Term) -> Result<Parts, AuthorityError> {
        self.admits(holder)?;
        let leaf = leaf(holder).map_err(|source| issuing(&holder.common_name(), source))?;
        self.signer.sign(leaf, term).map_err(|source| signing(&holder.common_name(), source))
    }

    /// Which of `wanted` need a new certificate at `now`, and why.
    pub fn due<'a>(
        &self,
        wanted: &'a [Wanted],
        now: SystemTime,
    ) -> Result<Vec<(&'a Wanted, Condition)>, AuthorityError> {
        let mut due = Vec::new();
        for entry in wanted {
            let look = |at| {
                let condition = entry.files.condition(&entry.holder, self.certificate(), at);
                condition.map_err(|source| {
                    let holder = entry.holder.to_string();
                    AuthorityError::Look { holder, source }
                })
            };
            // Now, too: one that was made while a clock was ahead is not valid yet.
            for at in [now, now + RENEWAL] {
                let condition = look(at)?;
                if condition != Condition::Good {
                    due.push((entry, condition));
                    break;
                }
            }
        }
        Ok(due)
    }

    /// Issues and writes whatever is due; returns what was done, and why.
    pub fn renew<'a>(
        &self,
        wanted: &'a [Wanted],
        now: SystemTime,
    ) -> Result<Vec<(&'a Wanted, Condition)>, AuthorityError> {
        let due = self.due(wanted, now)?;
        for (entry, _) in &due {
            let parts = self.issue(&entry.holder, now)?;
            entry.files.write(&parts, entry.access).map_err(|source| AuthorityError::Write {
                holder: entry.holder.to_string(),
                source,
            })?;
        }
        Ok(due)
    }

    fn admits(&self, holder: &Holder) -> Result<(), AuthorityError> {
        match holder {
            Holder::Instance(name) if *name.cluster() != self.cluster => {
                Err(AuthorityError::OtherCluster {
                    holder: name.to_string(),
                    cluster: self.cluster.clone(),
                })
            }
            Holder::Instance(_) | Holder::Replication | Holder::Record | Holder::Supervisor => {
                Ok(())
            }
        }
    }
}

/// What the authority of the agents of `cluster` is called.
pub fn subject(cluster: &ClusterName) -> Subject {
    Subject { common_name: format!("pgherd {cluster}"), unit: None }
}

fn leaf(holder: &Holder) -> Result<Leaf, rcgen::Error> {
    let purposes = match holder {
        Holder::Replication => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Holder::Instance(_) | Holder::Record | Holder::Supervisor => {
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
        }
    };
    Ok(Leaf { common_name: holder.common_name(), names: alternative_names(holder)?, purposes })
}

fn alternative_names(holder: &Holder) -> Result<Vec<SanType>, rcgen::Error> {
    let own = match holder.dns_name() {
        Some(name) => vec![SanType::DnsName(name.try_into()?)],
        None => Vec::new(),
    };
    let local = match holder {
        Holder::Instance(_) => vec![
            SanType::DnsName(LOCALHOST.try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ],
        Holder::Replication | Holder::Record | Holder::Supervisor => Vec::new(),
    };
    Ok([own, local].concat())
}

fn issuing(holder: &str, source: rcgen::Error) -> AuthorityError {
    AuthorityError::Issue { holder: holder.to_owned(), source }
}

fn signing(holder: &str, source: SignerError) -> AuthorityError {
    AuthorityError::Sign { holder: holder.to_owned(), source }
}

fn keep(path: &Path, text: &str, access: Access) -> Result<(), AuthorityError> {
    durable::write(path, text.as_bytes(), access).map_err(AuthorityError::Keep)
}

fn read_text(path: &Path) -> Result<Option<String>, AuthorityError> {
    let content = durable::read(path).map_err(AuthorityError::Keep)?;
    let text = content.map(String::from_utf8).transpose();
    text.map_err(|_| AuthorityError::NotText { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::names::InstanceName;
    use std::os::unix::fs::MetadataExt;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const DAY: Duration = Duration::from_hours(24);

    fn now() -> SystemTime {
        NOW + 20_000 * DAY
    }

    fn cluster(name: &str) -> ClusterName {
        ClusterName::parse(name).unwrap()
    }

    fn instance(name: &str) -> Holder {
        Holder::Instance(InstanceName::parse(name).unwrap())
    }

    fn wanted(folder: &Path, holder: Holder) -> Wanted {
        let own = folder.join(holder.common_name());
        std::fs::create_dir_all(&own).unwrap();
        Wanted { holder, files: IdentityFiles::in_folder(&own), access: Access::PRIVATE }
    }

    fn conditions(due: Vec<(&Wanted, Condition)>) -> Vec<(String, Condition)> {
        due.into_iter().map(|(entry, why)| (entry.holder.to_string(), why)).collect()
    }

    #[test]
    fn everybody_gets_a_certificate_once_and_again_in_the_last_week() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &cluster("db"), now()).unwrap();
        let holders = [instance("db-1"), Holder::Replication, Holder::Record, Holder::Supervisor];
        let all = holders.map(|holder| wanted(folder.path(), holder));
        let first = conditions(authority.renew(&all, now()).unwrap());
        assert_eq!(first.len(), 4);
        assert!(first.iter().all(|(_, why)| *why == Condition::Missing), "{first:?}");

        assert_eq!(authority.due(&all, now()).unwrap(), []);
        assert_eq!(authority.due(&all, now() + 82 * DAY).unwrap(), []);
        let not_after = now() + VALIDITY;
        assert_eq!(all[0].files.not_after(), Some(not_after));
        let late = conditions(authority.renew(&all, now() + 84 * DAY).unwrap());
        assert_eq!(late.len(), 4);
        assert!(late.iter().all(|(_, why)| *why == Condition::Expiring { not_after }), "{late:?}");
        assert_eq!(all[0].files.not_after(), Some(not_after + 84 * DAY));
    }

    #[test]
    fn what_was_issued_by_a_clock_that_was_ahead_is_issued_anew() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &cluster("db"), now()).unwrap();
        let entry = [wanted(folder.path(), instance("db-1"))];
        authority.renew(&entry, now() + 2 * DAY).unwrap();
        assert_eq!(authority.due(&entry, now() + 2 * DAY).unwrap(), []);
        assert_eq!(authority.renew(&entry, now()).unwrap().len(), 1);
        assert_eq!(authority.due(&entry, now()).unwrap(), []);
        assert_eq!(entry[0].files.not_after(), Some(now() + VALIDITY));
    }

    #[test]
    fn keys_are_private_and_given_to_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &cluster("db"), now()).unwrap();
        let mut entry = wanted(folder.path(), instance("db-1"));
        let mut expected = rustix::process::getuid().as_raw();
        if rustix::process::geteuid().is_root() {
            expected = 65_534;
            entry.access = Access::PRIVATE.owned_by(65_534, 65_534);
        }
        authority.renew(std::slice::from_ref(&entry), now()).unwrap();
        for path in [&entry.files.key, &entry.files.certificate, &entry.files.authority] {
            let facts = std::fs::metadata(path).unwrap();
            assert_eq!((facts.mode() & 0o7777, facts.uid()), (0o600, expected), "{path:?}");
        }
        let authority_key = std::fs::metadata(folder.path().join("ca.key")).unwrap();
        assert_eq!(authority_key.mode() & 0o7777, 0o600);
    }

    #[test]
    fn an_authority_survives_restarts_and_an_interrupted_start() {
        let folder = tempfile::tempdir().unwrap();
        let entry = wanted(folder.path(), instance("db-1"));
        let open = || Authority::open(folder.path(), &cluster("db"), now());
        let first = open().unwrap();
        first.renew(std::slice::from_ref(&entry), now()).unwrap();
        let again = open().unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert_eq!(again.due(std::slice::from_ref(&entry), now()).unwrap(), []);
        let other = wanted(folder.path(), instance("db-2"));
        again.renew(std::slice::from_ref(&other), now()).unwrap();
        assert_eq!(first.due(&[entry, other], now()).unwrap(), []);

        // Stopped between the key and its certificate.
        std::fs::remove_file(folder.path().join("ca.crt")).unwrap();
        open().unwrap();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(matches!(open(), Err(AuthorityError::MissingKey { .. })));
        std::fs::write(folder.path().join("ca.key"), "nothing").unwrap();
        assert!(matches!(open(), Err(AuthorityError::ReadKey { .. })));
        let foreign = KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(folder.path().join("ca.key"), foreign).unwrap();
        assert!(matches!(open(), Err(AuthorityError::Mismatched { .. })));
    }

    #[test]
    fn damaged_swapped_and_foreign_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &cluster("db"), now()).unwrap();
        let foreign = tempfile::tempdir().unwrap();
        let foreign = Authority::open(foreign.path(), &cluster("db"), now()).unwrap();
        let entry = wanted(folder.path(), instance("db-1"));
        let files = entry.files.clone();
        let entry = std::slice::from_ref(&entry);
        let becomes = |expected: Condition| {
            let why = conditions(authority.renew(entry, now()).unwrap());
            assert_eq!(why, [("db-1".to_owned(), expected)]);
            assert_eq!(authority.due(entry, now()).unwrap(), []);
        };
        becomes(Condition::Missing);
        std::fs::write(&files.certificate, "nothing").unwrap();
        becomes(Condition::Broken);
        // A crash between the two files of a pair.
        let parts = authority.issue(&instance("db-1"), now()).unwrap();
        std::fs::write(&files.key, parts.key).unwrap();
        becomes(Condition::Broken);
        for other in [instance("db-2"), Holder::Record, Holder::Replication] {
            let parts = authority.issue(&other, now()).unwrap();
            files.write(&parts, Access::PRIVATE).unwrap();
            becomes(Condition::OtherHolder);
        }
        let parts = foreign.issue(&instance("db-1"), now()).unwrap();
        files.write(&parts, Access::PRIVATE).unwrap();
        becomes(Condition::OtherAuthority);
        // The right name and the right file beside it, but signed by somebody else.
        files.write(&parts, Access::PRIVATE).unwrap();
        std::fs::write(&files.authority, authority.certificate()).unwrap();
        becomes(Condition::OtherAuthority);
    }

    #[test]
    fn instances_of_other_clusters_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open(folder.path(), &cluster("db"), now()).unwrap();
        let refused = authority.issue(&instance("app-1"), now()).err().unwrap();
        assert_eq!(
            refused.to_string(),
            "app-1 is not of cluster db: its own cluster's authority must issue for it"
        );
    }
}
