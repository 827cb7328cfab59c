//! Makes room for a cluster: its folder, which root gives to an account, and in it what is known
//! of it on this machine.
//!
//! Never takes a folder that is not ours, and leaves nothing that the next attempt, or `destroy`,
//! could not take up.

use crate::account::{self, Account, AccountError};
use crate::folder::{ClusterFolder, FolderError, Home};
use crate::ports::{self, PortsError};
use crate::registration::{self, Lock, Registration, RegistrationError};
use pgherd_agent::postgres::install::{self, InstallError};
use pgherd_core::names::InstanceName;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("choosing a folder")]
    ChooseFolder { source: FolderError },
    #[error("choosing the user that PostgreSQL runs as")]
    ChooseAccount { source: AccountError },
    #[error("finding PostgreSQL")]
    FindPostgres { source: InstallError },
    #[error("choosing ports")]
    ChoosePorts { source: PortsError },
    #[error(
        "the folder {path:?} cannot be made: choose a --dir in which this user may make folders"
    )]
    MakeFolder { path: PathBuf, source: io::Error },
    #[error("{path:?} cannot be looked into: run this as its owner, or choose another --dir")]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "{path:?} holds {found:?} and is not a pgherd cluster: move it away, or choose another --dir or --name"
    )]
    Foreign { path: PathBuf, found: String },
    #[error(
        "{path:?} belongs to user {found}, which is not the one that would use it ({own}): run this as its owner, remove the folder, or choose another --dir"
    )]
    WrongOwner { path: PathBuf, found: u32, own: u32 },
    #[error(
        "{path:?} belongs to root, as whom PostgreSQL does not run, so it is not a pgherd cluster: move it away, or choose another --dir or --name"
    )]
    OfRoot { path: PathBuf },
    #[error(
        "{path:?} is a symbolic link, and a cluster's folder is removed with it: choose a --dir that leads to where it shall be"
    )]
    Link { path: PathBuf },
    #[error(
        "user {user:?}, which PostgreSQL would run as, cannot enter {path:?}: choose a --dir that everybody may pass through, for example below /var/lib or /srv"
    )]
    NoEntry { path: PathBuf, user: String },
    #[error(
        "cluster {cluster} was made by PostgreSQL {made} and {bindir:?} holds {found}: name the programs of {made} with --pg-bindir, or install them"
    )]
    OtherMajor { cluster: String, made: u32, found: u32, bindir: PathBuf },
    #[error(
        "cluster {cluster} has its ports from {present} on already: leave out --port, or destroy the cluster and make it anew"
    )]
    PortsKept { cluster: String, present: u16 },
    #[error("{path:?} is there already: another command makes that cluster, or left the folder")]
    Taken { path: PathBuf },
    #[error("another pgherd is busy with cluster {cluster}: wait for its end")]
    Busy { cluster: String },
    #[error("keeping what is known of the cluster")]
    Register { source: RegistrationError },
}

/// How a cluster shall be placed on this machine.
#[derive(Debug, Clone, Default)]
pub struct Placing {
    pub bindir: Option<PathBuf>,
    /// The port of the first instance.
    pub port: Option<u16>,
}

/// Whom the folder of a new cluster is given to.
pub fn new_owner() -> Result<Account, PrepareError> {
    account::choose().map_err(|source| PrepareError::ChooseAccount { source })
}

/// Whom the cluster's folder belongs to; `None` when there is no such folder.
pub fn owner(folder: &ClusterFolder) -> Result<Option<Account>, PrepareError> {
    let path = folder.root();
    let facts = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|source| PrepareError::Look { path: path.to_owned(), source })?,
    };
    if facts.is_symlink() {
        return Err(PrepareError::Link { path: path.to_owned() });
    }
    let (own, found) = (rustix::process::geteuid().as_raw(), facts.uid());
    let is_empty = || std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if found == 0 && own == 0 && is_empty() {
        // An attempt ended between making the folder and giving it away.
        return Ok(None);
    }
    if found == 0 {
        return Err(PrepareError::OfRoot { path: path.to_owned() });
    }
    if own != 0 && own != found {
        return Err(PrepareError::WrongOwner { path: path.to_owned(), found, own });
    }
    let account = account::of(found);
    account.map(Some).map_err(|source| PrepareError::ChooseAccount { source })
}

/// Whether there is a PostgreSQL to run, so that nothing is made in vain.
pub fn find_programs(bindir: Option<&Path>) -> Result<(), PrepareError> {
    let found = install::find(bindir);
    found.map(|_| ()).map_err(|source| PrepareError::FindPostgres { source })
}

/// Whether a folder that is there already may be the cluster's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// What is begun may be gone on with.
    Any,
    /// It has to be made now: of two who want it one gets it.
    New,
}

/// Makes the cluster's folder and gives it to the account that everything in it runs as.
pub fn claim(folder: &ClusterFolder, claim: Claim) -> Result<Account, PrepareError> {
    let account = new_owner()?;
    let path = folder.root();
    let failed = |source| PrepareError::MakeFolder { path: path.to_owned(), source };
    let is_root = rustix::process::geteuid().is_root();
    if let Some(parent) = path.parent() {
        if is_root {
            refuse_closed_way(parent, &account)?;
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match claim {
            Claim::Any => {}
            Claim::New => return Err(PrepareError::Taken { path: path.to_owned() }),
        },
        other => other.map_err(failed)?,
    }
    if is_root {
        let given = std::os::unix::fs::chown(path, Some(account.user), Some(account.group));
        given.map_err(failed)?;
    }
    Ok(account)
}

/// The cluster's registration, made now if it was not. To be called as the folder's owner.
pub fn register(
    home: &Home,
    folder: &ClusterFolder,
    account: &Account,
    (instances, placing): (&[InstanceName], &Placing),
) -> Result<Registration, PrepareError> {
    let register = |source| PrepareError::Register { source };
    let made = match Registration::load(folder).map_err(register)? {
        Some(known) => {
            let bindir = again(&known, placing)?;
            if known.bindir == bindir {
                return Ok(known);
            }
            known.with_bindir(bindir)
        }
        None => first(home, folder, account, (instances, placing))?,
    };
    let lock = Lock::take(folder).map_err(register)?;
    let busy = || PrepareError::Busy { cluster: folder.name().to_string() };
    made.save(folder, &lock.ok_or_else(busy)?).map_err(register)?;
    Ok(made)
}

fn first(
    home: &Home,
    folder: &ClusterFolder,
    account: &Account,
    (instances, placing): (&[InstanceName], &Placing),
) -> Result<Registration, PrepareError> {
    let choose = |source| PrepareError::ChoosePorts { source };
    refuse_foreign(folder)?;
    let installation = install::find(placing.bindir.as_deref())
        .map_err(|source| PrepareError::FindPostgres { source })?;
    let others = registration::other_ports(home, folder.name());
    let base = match placing.port {
        Some(port) => ports::accept_base(port, instances, &others, ports::is_free),
        None => ports::choose_base(&others, ports::is_free),
    };
    let base = base.map_err(choose)?;
    let ports = ports::choose_block(base, &others, ports::is_free).map_err(choose)?;
    let server = (installation.bindir, installation.version.major);
    Ok(Registration::new(folder.name().clone(), account.clone(), server, ports))
}

/// The programs an existing cluster is to run with: those asked for, those it had, or others of
/// the same major version.
fn again(known: &Registration, placing: &Placing) -> Result<PathBuf, PrepareError> {
    let cluster = known.cluster.to_string();
    if placing.port.is_some_and(|port| port != known.ports.base() + 1) {
        return Err(PrepareError::PortsKept { cluster, present: known.ports.base() + 1 });
    }
    let found = match &placing.bindir {
        Some(bindir) => install::find(Some(bindir)),
        None => install::find(Some(&known.bindir)).or_else(|_| install::find(None)),
    };
    let found = found.map_err(|source| PrepareError::FindPostgres { source })?;
    if found.version.major == known.major {
        return Ok(found.bindir);
    }
    let (made, bindir, found) = (known.major, found.bindir, found.version.major);
    Err(PrepareError::OtherMajor { cluster, made, found, bindir })
}

/// A folder with content but without our registration is somebody else's.
fn refuse_foreign(folder: &ClusterFolder) -> Result<(), PrepareError> {
    let path = folder.root();
    let look = |source| PrepareError::Look { path: path.to_owned(), source };
    for entry in std::fs::read_dir(path).map_err(look)? {
        let name = entry.map_err(look)?.file_name().to_string_lossy().into_owned();
        if !is_left_by_beginning(&name) {
            return Err(PrepareError::Foreign { path: path.to_owned(), found: name });
        }
    }
    Ok(())
}

/// Whether an attempt that was interrupted in its first moment may have left a file of that name.
pub fn is_left_by_beginning(name: &str) -> bool {
    name == "lock" || name.ends_with(".unfinished")
}

/// Every folder of the way has to let the account through; what does not exist yet will. The
/// cluster's own is not of it: it is given away in the next moment, by this attempt or another.
fn refuse_closed_way(way: &Path, account: &Account) -> Result<(), PrepareError> {
    for folder in way.ancestors() {
        let facts = match std::fs::metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => {
                other.map_err(|source| PrepareError::Look { path: folder.to_owned(), source })?
            }
        };
        let mode = facts.mode();
        let passes = (mode & 0o001 != 0)
            || (facts.gid() == account.group && mode & 0o010 != 0)
            || (facts.uid() == account.user && mode & 0o100 != 0);
        if !passes {
            let user = account.name.clone();
            return Err(PrepareError::NoEntry { path: folder.to_owned(), user });
        }
    }
    Ok(())
}
