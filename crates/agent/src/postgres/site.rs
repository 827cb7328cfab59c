//! Where one PostgreSQL lives on this machine, and as whom it runs.
//!
//! Never touches the disk: it only knows the names.

use crate::durable::Access;
use crate::postgres::config::Profile;
use crate::postgres::install::Installation;
use crate::process::launch::Launcher;
use crate::process::owner::Owner;
use std::path::{Path, PathBuf};

/// The longest path of a unix socket, including its terminating zero.
const SOCKET_PATH_LIMIT: usize = 108;

#[derive(Debug, Clone)]
pub struct Site {
    /// The folder of the instance, its volume: everything below is in here.
    pub base: PathBuf,
    /// PostgreSQL's data folder.
    pub data: PathBuf,
    /// A private folder for the unix socket; short, because socket paths are.
    pub sockets: PathBuf,
    pub port: u16,
    pub installation: Installation,
    pub profile: Profile,
    /// The user PostgreSQL runs as, when it is not the agent's own.
    pub owner: Option<Owner>,
    /// Binds the life of PostgreSQL to the agent's, where there is such a program.
    pub launcher: Option<Launcher>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the unix socket {path:?} would have a path longer than the {} bytes the system allows: choose a shorter folder",
    SOCKET_PATH_LIMIT - 1
)]
pub struct SocketPathError {
    path: PathBuf,
}

/// The log of a server whose log the agent passes on. It has no place on the volume: that may be
/// full, and then most has to be said.
pub fn log_among_sockets(sockets: &Path) -> PathBuf {
    sockets.join("postgres.log")
}

impl Site {
    /// An instance in `base` that runs as the agent's own user.
    pub fn new(base: PathBuf, sockets: PathBuf, port: u16, installation: Installation) -> Self {
        let data = base.join("pgdata");
        let profile = Profile::Laptop;
        Self { base, data, sockets, port, installation, profile, owner: None, launcher: None }
    }

    /// The same site while its data folder is being made.
    pub fn staged(&self) -> Self {
        Self { data: self.staging(), ..self.clone() }
    }

    /// Where a data folder is made before it gets its name.
    pub fn staging(&self) -> PathBuf {
        self.base.join("pgdata.new")
    }

    /// Says whose folder this is.
    pub fn marker(&self) -> PathBuf {
        self.base.join("pgherd.json")
    }

    /// Exists while a rewind is not finished: the data folder must not be started.
    pub fn rewind_marker(&self) -> PathBuf {
        self.base.join("rewind.marker")
    }

    /// What a rewind cut off.
    pub fn lost_and_found(&self) -> PathBuf {
        self.base.join("lost_and_found")
    }

    /// What PostgreSQL says.
    pub fn log(&self) -> PathBuf {
        match self.profile {
            Profile::Laptop => self.base.join("postgres.log"),
            Profile::Server => log_among_sockets(&self.sockets),
        }
    }

    /// The key to the primary; exists while this instance may receive from one.
    pub fn passfile(&self) -> PathBuf {
        self.base.join("replication.pgpass")
    }

    /// The key to a server outside the cluster, while that is copied.
    pub fn external_passfile(&self) -> PathBuf {
        self.base.join("external.pgpass")
    }

    pub fn socket(&self) -> Result<PathBuf, SocketPathError> {
        let path = self.sockets.join(format!(".s.PGSQL.{}", self.port));
        if path.as_os_str().len() < SOCKET_PATH_LIMIT {
            Ok(path)
        } else {
            Err(SocketPathError { path })
        }
    }

    /// Who may read the files written for PostgreSQL: only its own user.
    pub fn private(&self) -> Access {
        Owner::grant(self.owner, Access::PRIVATE)
    }
}
