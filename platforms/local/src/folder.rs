//! Where everything of a cluster is on disk: one folder per cluster, one in it per instance.
//!
//! Never holds a path that PostgreSQL's socket would not fit into.

use pgherd_agent::config::Folder as InstanceFolder;
use pgherd_core::names::{ClusterName, InstanceName};
use std::io;
use std::path::{Path, PathBuf};

/// A unix socket's path has to fit into 108 bytes with its end (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("neither HOME nor XDG_DATA_HOME is set: say where clusters shall be with --dir")]
    FindHome,
    #[error("{path:?} cannot be looked at: choose a --dir that this user may enter")]
    Look { path: PathBuf, source: io::Error },
    #[error("{path:?} is {length} bytes too long for the sockets below it: choose a shorter --dir")]
    FitSocket { path: PathBuf, length: usize },
}

/// The folder all clusters of one user are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// `/var/lib/pgherd` for root, else the user's own data folder.
    pub fn usual() -> Result<Self, FolderError> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::at(PathBuf::from("/var/lib/pgherd")));
        }
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let data = set("XDG_DATA_HOME").map(PathBuf::from);
        let data = data.or_else(|| Some(PathBuf::from(set("HOME")?).join(".local/share")));
        Ok(Self::at(data.ok_or(FolderError::FindHome)?.join("pgherd")))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one cluster, with no symbolic links in what exists of its path: processes
    /// are found by where they work, and the kernel knows real paths only.
    pub fn cluster(&self, cluster: &ClusterName) -> Result<ClusterFolder, FolderError> {
        let look = |source| FolderError::Look { path: self.root.clone(), source };
        let home = real(&std::path::absolute(&self.root).map_err(look)?).map_err(look)?;
        let folder = ClusterFolder { root: home.join(cluster.as_str()), cluster: cluster.clone() };
        let longest = folder.longest_socket_path();
        match longest.checked_sub(SOCKET_PATH_LIMIT) {
            None | Some(0) => Ok(folder),
            Some(length) => Err(FolderError::FitSocket { path: folder.root, length }),
        }
    }

    /// The names of all clusters here, whatever state they are in.
    pub fn clusters(&self) -> Result<Vec<ClusterName>, FolderError> {
        let look = |source| FolderError::Look { path: self.root.clone(), source };
        let entries = match std::fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(look)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(look)?;
            let name = entry.file_name().to_str().and_then(|name| ClusterName::parse(name).ok());
            if let Some(name) = name
                && entry.path().join(REGISTRATION).is_file()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

const REGISTRATION: &str = "cluster.json";

/// The folder of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFolder {
    root: PathBuf,
    cluster: ClusterName,
}

impl ClusterFolder {
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn name(&self) -> &ClusterName {
        &self.cluster
    }

    /// What this machine must know to bring the cluster up; its presence makes the folder ours.
    pub fn registration(&self) -> PathBuf {
        self.root.join(REGISTRATION)
    }

    /// The manifest as it was given last.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("cluster.yaml")
    }

    /// Where its backups go if nobody says otherwise.
    pub fn repository(&self) -> PathBuf {
        self.root.join("repository")
    }

    /// Whether backups that go there go to that.
    pub fn keeps(&self, destination: &str) -> bool {
        let path = destination.strip_prefix("file://").unwrap_or(destination);
        Path::new(path).components().eq(self.repository().components())
    }

    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Held by whoever may change what is in here.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("supervisor.sock")
    }

    /// Where the network's process is told what to be.
    pub fn network_socket(&self) -> PathBuf {
        self.root.join("network.sock")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("supervisor.log")
    }

    /// The cluster's authority; nobody but the supervisor reads it.
    pub fn authority(&self) -> PathBuf {
        self.root.join("authority")
    }

    pub fn record_identity(&self) -> PathBuf {
        self.root.join("authority/record")
    }

    pub fn supervisor_identity(&self) -> PathBuf {
        self.root.join("authority/supervisor")
    }

    /// Passwords that were made for the user.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// What libpq reads passwords from.
    pub fn passfile(&self) -> PathBuf {
        self.secrets().join("pgpass")
    }

    /// What clients check the servers' certificates with.
    pub fn authority_certificate(&self) -> PathBuf {
        self.root.join("ca.crt")
    }

    pub fn instance(&self, instance: &InstanceName) -> InstanceFolder {
        InstanceFolder::at(self.root.join(instance.to_string()))
    }

    pub fn agent_config(&self, instance: &InstanceName) -> PathBuf {
        self.instance(instance).root().join("agent.json")
    }

    /// Where a probe keeps its book while it measures.
    pub fn probe_book(&self) -> PathBuf {
        self.root.join("probe.book")
    }

    /// The names of everything that is made in here beside the instances' folders.
    pub fn own_names(&self) -> impl Iterator<Item = String> {
        let paths = [
            self.registration(),
            self.manifest(),
            self.repository(),
            self.store(),
            self.lock(),
            self.socket(),
            self.network_socket(),
            self.log(),
            self.log().with_extension("log.1"),
            self.authority(),
            self.secrets(),
            self.authority_certificate(),
            self.probe_book(),
        ];
        paths.into_iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
    }

    fn longest_socket_path(&self) -> usize {
        let instance = self.instance(&InstanceName::new(&self.cluster, 1));
        instance.run().join(".s.PGSQL.65535").as_os_str().len()
    }
}

/// `path` with the links in the part of it that exists replaced.
fn real(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => Ok(real(parent)?.join(name)),
                _ => Err(error),
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ClusterName {
        ClusterName::parse(text).unwrap()
    }

    #[test]
    fn clusters_are_the_folders_with_a_registration() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path().join("pgherd"));
        assert_eq!(home.clusters().unwrap(), []);
        for cluster in ["shop", "app"] {
            let cluster = home.cluster(&name(cluster)).unwrap();
            std::fs::create_dir_all(cluster.root()).unwrap();
            std::fs::write(cluster.registration(), "{}").unwrap();
        }
        std::fs::create_dir_all(home.root().join("other")).unwrap();
        std::fs::write(home.root().join("file"), "").unwrap();
        assert_eq!(home.clusters().unwrap(), [name("app"), name("shop")]);
    }

    #[test]
    fn links_are_followed_also_above_what_does_not_exist_yet() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        std::fs::create_dir(place.join("real")).unwrap();
        std::os::unix::fs::symlink(place.join("real"), place.join("link")).unwrap();
        let home = Home::at(place.join("link/not/yet"));
        let cluster = home.cluster(&name("db")).unwrap();
        assert_eq!(cluster.root(), place.join("real/not/yet/db"));
    }

    #[test]
    fn a_path_that_no_socket_fits_into_is_refused_before_anything_is_made() {
        let home = Home::at(PathBuf::from("/").join("x".repeat(90)));
        let refused = home.cluster(&name("db")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "\"/{}/db\" is 11 bytes too long for the sockets below it: choose a shorter --dir",
                "x".repeat(90)
            )
        );
        assert!(Home::at(PathBuf::from("/").join("x".repeat(79))).cluster(&name("db")).is_ok());
    }
}
