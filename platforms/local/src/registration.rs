//! What this machine must know of a cluster before anything of it runs: its user, its PostgreSQL,
//! its ports, and whether it shall be up.
//!
//! Never written but by the holder of the cluster's lock.

use crate::account::Account;
use crate::folder::{ClusterFolder, Home};
use crate::ports::Ports;
use pgherd_agent::durable::{self, Access, DurableError};
use pgherd_core::names::ClusterName;
use pgherd_core::wishes::Shall;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const PRESENT_FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error("reading what is known of cluster {cluster}")]
    Read { cluster: ClusterName, source: DurableError },
    #[error("keeping what is known of cluster {cluster}")]
    Write { cluster: ClusterName, source: DurableError },
    #[error(
        "{path:?} is of cluster {found}: it was copied or renamed; give it back its name, or name another --dir"
    )]
    OtherCluster { path: PathBuf, found: ClusterName },
    #[error("{path:?} has layout {found}, this program knows {PRESENT_FORMAT}: use a newer pgherd")]
    Format { path: PathBuf, found: u32 },
    #[error("locking {path:?}")]
    Lock { path: PathBuf, source: io::Error },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    format: u32,
    pub cluster: ClusterName,
    /// Who agents and PostgreSQL run as.
    pub account: Account,
    /// The PostgreSQL that made the data folders.
    pub bindir: PathBuf,
    pub major: u32,
    pub ports: Ports,
    pub shall: Shall,
}

impl Registration {
    pub fn new(
        cluster: ClusterName,
        account: Account,
        (bindir, major): (PathBuf, u32),
        ports: Ports,
    ) -> Self {
        let format = PRESENT_FORMAT;
        Self { format, cluster, account, bindir, major, ports, shall: Shall::Run }
    }

    pub fn with_shall(&self, shall: Shall) -> Self {
        Self { shall, ..self.clone() }
    }

    pub fn with_bindir(&self, bindir: PathBuf) -> Self {
        Self { bindir, ..self.clone() }
    }

    /// What is known of the cluster; `None` when it was never made, or is being made just now.
    pub fn load(folder: &ClusterFolder) -> Result<Option<Self>, RegistrationError> {
        let cluster = folder.name().clone();
        let found: Option<Self> = durable::load(&folder.registration())
            .map_err(|source| RegistrationError::Read { cluster, source: advised(source) })?;
        let Some(found) = found else { return Ok(None) };
        if found.format != PRESENT_FORMAT {
            let path = folder.registration();
            return Err(RegistrationError::Format { path, found: found.format });
        }
        if found.cluster != *folder.name() {
            let path = folder.root().to_owned();
            return Err(RegistrationError::OtherCluster { path, found: found.cluster });
        }
        Ok(Some(found))
    }

    pub fn save(&self, folder: &ClusterFolder, _held: &Lock) -> Result<(), RegistrationError> {
        durable::save(&folder.registration(), self, Access::PRIVATE)
            .map_err(|source| RegistrationError::Write { cluster: self.cluster.clone(), source })
    }
}

/// The owner of a cluster's folder can read what is in it, unless only the folder was given away.
fn advised(error: DurableError) -> DurableError {
    match error {
        DurableError::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            let advice = "its folder's owner may not read it: give the folder and all that is in it to the user who made the cluster (chown -R), or name another --dir";
            DurableError::Read { path, source: io::Error::new(source.kind(), advice) }
        }
        other => other,
    }
}

/// The ports of all clusters of `home` but this one. What cannot be read has no say.
pub fn other_ports(home: &Home, but: &ClusterName) -> Vec<(String, Ports)> {
    let names = home.clusters().unwrap_or_default();
    let others = names.into_iter().filter(|name| name != but);
    let known = others.filter_map(|name| {
        let registration = Registration::load(&home.cluster(&name).ok()?).ok()??;
        Some((name.to_string(), registration.ports))
    });
    known.collect()
}

/// The right to change a cluster's folder. It ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// `None` while another process holds it.
    pub fn take(folder: &ClusterFolder) -> Result<Option<Self>, RegistrationError> {
        let path = folder.lock();
        let failed = |source| RegistrationError::Lock { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports;

    fn sample(home: &Home, name: &str, first_port: u16) -> (ClusterFolder, Registration) {
        let cluster = ClusterName::parse(name).unwrap();
        let folder = home.cluster(&cluster).unwrap();
        std::fs::create_dir_all(folder.root()).unwrap();
        let account = Account { name: "ann".to_owned(), user: 1000, group: 1000 };
        let base = ports::accept_base(first_port, &[], &[], |_| true).unwrap();
        let ports = ports::choose_block(base, &other_ports(home, &cluster), |_| true).unwrap();
        let server = (PathBuf::from("/usr/lib/postgresql/15/bin"), 15);
        (folder, Registration::new(cluster, account, server, ports))
    }

    #[test]
    fn a_registration_reads_back_and_a_copied_one_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().to_owned());
        let (db, registration) = sample(&home, "db", 5501);
        assert_eq!(Registration::load(&db).unwrap(), None);
        let lock = Lock::take(&db).unwrap().unwrap();
        registration.save(&db, &lock).unwrap();
        assert_eq!(Registration::load(&db).unwrap(), Some(registration));

        let (copy, _) = sample(&home, "copy", 5511);
        std::fs::copy(db.registration(), copy.registration()).unwrap();
        let refused = Registration::load(&copy).unwrap_err();
        assert!(matches!(refused, RegistrationError::OtherCluster { .. }), "{refused}");
        assert_eq!(other_ports(&home, copy.name()).len(), 1);
        assert_eq!(other_ports(&home, db.name()), []);
    }

    #[test]
    fn only_one_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (db, _) = sample(&Home::at(folder.path().to_owned()), "db", 5501);
        let held = Lock::take(&db).unwrap().unwrap();
        assert!(Lock::take(&db).unwrap().is_none());
        drop(held);
        assert!(Lock::take(&db).unwrap().is_some());
    }
}
