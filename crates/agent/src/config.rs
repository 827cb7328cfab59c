//! What an agent must know before it can ask anybody: who it is, where its folder is, and whom it
//! can reach where.
//!
//! Never holds a secret, and never what the user wants of the cluster: that comes with the
//! specification.

use pgherd_core::names::{ClusterName, InstanceName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("reading the agent's configuration {path:?}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path:?} is not an agent's configuration")]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error(
        "{path:?} was written by pgherd {writer}, and this agent is of pgherd {VERSION}, which does \
         not understand all of it: let the supervisor start the agent with its own program (pgherd \
         local kill INSTANCE --agent; its PostgreSQL is started anew, too)"
    )]
    OtherVersion { path: PathBuf, writer: String, source: serde_json::Error },
    #[error("{path:?} is refused: {why}")]
    Refused { path: PathBuf, why: String },
}

/// Of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The agent's configuration file. It may be replaced while the agent runs: peers come and go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The version of the program that wrote it; none that is older than this field told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<String>,
    pub cluster: ClusterName,
    pub instance: InstanceName,
    /// The instance's folder; see [`Folder`].
    pub folder: PathBuf,
    /// Where `postgres` and its tools are.
    pub bindir: PathBuf,
    pub postgres: PostgresAddress,
    /// Where peers and the supervisor reach this agent.
    pub listen: SocketAddr,
    /// Every other instance of the cluster.
    pub peers: BTreeMap<InstanceName, PeerAddress>,
    /// Who keeps the record, where that is a service of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordAddress>,
    /// Where sockets are, if not in the instance's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<PathBuf>,
    /// Where certificates and passwords are, if not in the instance's folder. Clients are then
    /// shown a certificate of its own, `tls/server`, which names no instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// The file of the agent's program, where that is its own to replace: its platform may give it
    /// another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// Where metrics are asked for; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
}

/// Of a configuration that another version wrote, what a running agent takes.
#[derive(Debug, Deserialize)]
struct Reach {
    written_by: String,
    peers: BTreeMap<InstanceName, PeerAddress>,
    record: Option<RecordAddress>,
}

/// Where clients and standbys reach this instance's PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresAddress {
    pub listen: IpAddr,
    pub port: u16,
}

/// Where this instance reaches another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerAddress {
    pub agent: SocketAddr,
    pub postgres: SocketAddr,
}

/// Where this instance reaches the keeper of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordAddress {
    /// The name on the keeper's certificate.
    pub server_name: String,
    pub address: SocketAddr,
}

impl AgentConfig {
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let content = read(path)?;
        let config: Self =
            serde_json::from_slice(&content).map_err(|source| strange(path, &content, source))?;
        config.accepted(path)
    }

    /// The configuration after a change of its file. Only addresses of others may change: the
    /// rest is what this process was started as. Another version may write other things, too: a
    /// supervisor that is newer than its agents has to reach them.
    pub fn reloaded(&self, path: &Path) -> Result<Self, ConfigError> {
        let content = read(path)?;
        if let Some(writer) = other_writer(&content) {
            let reach: Reach = serde_json::from_slice(&content).map_err(|source| {
                let path = path.to_owned();
                ConfigError::OtherVersion { path, writer, source }
            })?;
            let Reach { written_by, peers, record } = reach;
            let next = Self { written_by: Some(written_by), peers, record, ..self.clone() };
            return next.accepted(path);
        }
        let next = Self::load(path)?;
        let (peers, record) = (next.peers.clone(), next.record.clone());
        let kept = Self { written_by: next.written_by.clone(), peers, record, ..self.clone() };
        if kept == next {
            return Ok(next);
        }
        let why = "only peers and record may change while the agent runs: restart it".to_owned();
        Err(ConfigError::Refused { path: path.to_owned(), why })
    }

    pub fn folder(&self) -> Folder {
        Folder { root: self.folder.clone(), run: self.run.clone(), identity: self.identity.clone() }
    }

    fn accepted(self, path: &Path) -> Result<Self, ConfigError> {
        match self.refusal() {
            None => Ok(self),
            Some(why) => Err(ConfigError::Refused { path: path.to_owned(), why }),
        }
    }

    fn refusal(&self) -> Option<String> {
        let Self { cluster, instance, .. } = self;
        if instance.cluster() != cluster {
            return Some(format!("instance {instance} is not of cluster {cluster}"));
        }
        if let Some(other) = self.peers.keys().find(|name| name.cluster() != cluster) {
            return Some(format!("peer {other} is not of cluster {cluster}"));
        }
        if self.peers.contains_key(instance) {
            return Some(format!("{instance} is its own peer"));
        }
        let paths = [&self.folder, &self.bindir].into_iter();
        let mut paths = paths.chain(&self.run).chain(&self.identity).chain(&self.program);
        let relative = paths.find(|path| !path.is_absolute())?;
        Some(format!("{} is not an absolute path", relative.display()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Why a content is none that this program knows.
fn strange(path: &Path, content: &[u8], source: serde_json::Error) -> ConfigError {
    let path = path.to_owned();
    match other_writer(content) {
        Some(writer) => ConfigError::OtherVersion { path, writer, source },
        None => ConfigError::Parse { path, source },
    }
}

/// The version that wrote it, if that is another one and said so.
fn other_writer(content: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Writer {
        written_by: String,
    }
    let Writer { written_by } = serde_json::from_slice(content).ok()?;
    (written_by != VERSION).then_some(written_by)
}

/// What the certificate of a PostgreSQL server is made out to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerName {
    /// The instance: standbys check that they reached the one they meant.
    Instance,
    /// Services, or whatever its owner chose: standbys check its authority.
    Any,
}

/// The files of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    root: PathBuf,
    run: Option<PathBuf>,
    identity: Option<PathBuf>,
}

impl Folder {
    pub fn at(root: PathBuf) -> Self {
        Self { root, run: None, identity: None }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the agent and whoever made the folder keep beside PostgreSQL's data.
    pub fn names(&self) -> BTreeSet<String> {
        let ours = [
            "state.json",
            "intent.json",
            "run",
            "tls",
            "secrets",
            "external",
            "archive",
            "spool",
            "archives.json",
            "backups.json",
            "scratch",
            "recovery",
            "recovered.json",
            "recovering",
            "log",
            "agent.json",
        ];
        ours.map(str::to_owned).into()
    }

    /// PostgreSQL's data folder.
    pub fn pgdata(&self) -> PathBuf {
        self.root.join("pgdata")
    }

    /// The agent's memory: promises, seal, epochs.
    pub fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// The newest specification, for a start without the supervisor.
    pub fn specification(&self) -> PathBuf {
        self.root.join("intent.json")
    }

    /// Private sockets (0700).
    pub fn run(&self) -> PathBuf {
        self.run.clone().unwrap_or_else(|| self.root.join("run"))
    }

    /// This instance's certificate and key, and the cluster's authority: `tls.crt`, `tls.key` and
    /// `ca.crt`.
    pub fn tls(&self) -> PathBuf {
        self.identity().join("tls")
    }

    /// The same three files for PostgreSQL towards its clients: the same ones, unless certificates
    /// come from elsewhere.
    pub fn server_tls(&self) -> PathBuf {
        match self.server_name() {
            ServerName::Instance => self.tls(),
            ServerName::Any => self.tls().join("server"),
        }
    }

    /// What the certificates of PostgreSQL servers are made out to.
    pub fn server_name(&self) -> ServerName {
        if self.identity.is_some() { ServerName::Any } else { ServerName::Instance }
    }

    fn identity(&self) -> &Path {
        self.identity.as_deref().unwrap_or(&self.root)
    }

    /// The same three files for the role that standbys connect as.
    pub fn replication_tls(&self) -> PathBuf {
        self.tls().join("replication")
    }

    /// One file per password, without a line end: `replication`, `app` and `superuser`. Whoever
    /// makes the folder puts them there; they are the same on every instance.
    pub fn secrets(&self) -> PathBuf {
        self.identity().join("secrets")
    }

    /// What opens the server outside the cluster that a new one is a copy of. Whoever makes the
    /// folder puts it there, if there is such a server.
    pub fn external(&self) -> PathBuf {
        self.identity().join("external")
    }

    /// Statements of the user for a new cluster, one file per entry of a Secret or ConfigMap. Whoever
    /// makes the folder puts them there, if there are any.
    pub fn statements(&self) -> PathBuf {
        self.identity().join("statements")
    }

    /// What opens the archive: one file per entry of a Secret. Whoever makes the folder puts them
    /// there, if there is an archive.
    pub fn archive(&self) -> PathBuf {
        self.identity().join("archive")
    }

    /// Where PostgreSQL's commands reach the agent.
    pub fn archive_socket(&self) -> PathBuf {
        self.run().join("archive.sock")
    }

    /// Log that was fetched from the archive and not asked for yet.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Which folders were archives of the cluster.
    pub fn archives(&self) -> PathBuf {
        self.root.join("archives.json")
    }

    /// How base backups that were taken here went.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups.json")
    }

    /// What opens the archive that a new cluster begins with a backup of. Whoever makes the folder
    /// puts it there, if there is such an archive.
    pub fn recovery(&self) -> PathBuf {
        self.identity().join("recovery")
    }

    /// Where PostgreSQL's command reaches the agent while it recovers from an archive.
    pub fn recovery_socket(&self) -> PathBuf {
        self.run().join("recovery.sock")
    }

    /// Log that was fetched for a recovery and not asked for yet.
    pub fn recovering(&self) -> PathBuf {
        self.root.join("recovering")
    }

    /// How the cluster came out of its backup.
    pub fn recovered(&self) -> PathBuf {
        self.root.join("recovered.json")
    }

    /// Where a backup puts something for a moment.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }

    /// Where files of a dump lie on their way.
    pub fn dumps(&self) -> PathBuf {
        self.scratch().join("dump")
    }

    /// The agent's own log, `agent.log`, unless it goes to standard output.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{
        "cluster": "db", "instance": "db-1", "folder": "/srv/db-1", "bindir": "/usr/bin",
        "postgres": {"listen": "127.0.0.1", "port": 5501}, "listen": "127.0.0.1:7001",
        "peers": {"db-2": {"agent": "127.0.0.1:7102", "postgres": "127.0.0.1:5602"}},
        "record": {"server_name": "record", "address": "127.0.0.1:7000"}
    }"#;

    fn load(text: &str) -> Result<AgentConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.json");
        std::fs::write(&path, text).unwrap();
        AgentConfig::load(&path).map_err(|error| match error {
            ConfigError::Refused { why, .. } => why,
            ConfigError::Parse { source, .. } => source.to_string(),
            ConfigError::Read { source, .. } => source.to_string(),
            error @ ConfigError::OtherVersion { .. } => error.to_string(),
        })
    }

    /// As a later version writes it, with more than this one knows.
    fn by_another(text: &str) -> String {
        text.replacen('{', "{\"written_by\": \"99.1.0\", \"hidden\": {\"deep\": 1},", 1)
    }

    #[test]
    fn a_file_of_another_version_is_named_as_such() {
        let refused = load(&by_another(GOOD)).unwrap_err();
        assert!(
            refused.contains("was written by pgherd 99.1.0, and this agent is of"),
            "{refused}"
        );
        assert!(refused.contains("pgherd local kill INSTANCE --agent"), "{refused}");
        // What it understands it takes, whoever wrote it.
        let known = GOOD.replacen('{', "{\"written_by\": \"99.1.0\",", 1);
        assert_eq!(load(&known).unwrap().written_by.as_deref(), Some("99.1.0"));
        // An unknown word of its own version is a mistake.
        let own = by_another(GOOD).replace("99.1.0", VERSION);
        assert!(load(&own).unwrap_err().contains("unknown field `hidden`"));
    }

    #[test]
    fn a_running_agent_takes_addresses_from_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.json");
        std::fs::write(&path, GOOD).unwrap();
        let config = AgentConfig::load(&path).unwrap();
        let moved = GOOD.replace("db-2", "db-3").replace(":7000", ":7009").replace("5501", "5509");
        std::fs::write(&path, by_another(&moved)).unwrap();
        let next = config.reloaded(&path).unwrap();
        assert!(next.peers.keys().all(|name| name.serial() == 3));
        assert_eq!((next.record.unwrap().address.port(), next.postgres.port), (7009, 5501));
        // Never half of an address, nor a peer of another cluster.
        let strange = by_another(&moved).replace("\"agent\":", "\"through\": 1, \"agent\":");
        std::fs::write(&path, strange).unwrap();
        assert!(matches!(config.reloaded(&path), Err(ConfigError::OtherVersion { .. })));
        std::fs::write(&path, by_another(&moved).replace("db-3", "other-3")).unwrap();
        assert!(matches!(config.reloaded(&path), Err(ConfigError::Refused { .. })));
    }

    #[test]
    fn a_configuration_reads_back_as_written() {
        let config = load(GOOD).unwrap();
        assert_eq!(load(&serde_json::to_string(&config).unwrap()), Ok(config));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refusals = [
            ("db-1\"", "other-1\""),
            ("\"db-2\"", "\"db-1\""),
            ("\"db-2\"", "\"other-2\""),
            ("/srv/", "srv/"),
            ("/usr/bin", "bin"),
            ("\"postgres\":", "\"postgre\":"),
        ]
        .map(|(old, new)| load(&GOOD.replacen(old, new, 1)).unwrap_err());
        expect_test::expect![[r"
            instance other-1 is not of cluster db
            db-1 is its own peer
            peer other-2 is not of cluster db
            srv/db-1 is not an absolute path
            bin is not an absolute path
            unknown field `postgre`, expected one of `written_by`, `cluster`, `instance`, `folder`, `bindir`, `postgres`, `listen`, `peers`, `record`, `run`, `identity`, `program`, `metrics` at line 3 column 17"]]
        .assert_eq(&refusals.join("\n"));
    }

    #[test]
    fn only_addresses_of_others_may_change_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.json");
        std::fs::write(&path, GOOD).unwrap();
        let config = AgentConfig::load(&path).unwrap();
        std::fs::write(&path, GOOD.replace("db-2", "db-3").replace(":7000", ":7009")).unwrap();
        assert!(config.reloaded(&path).unwrap().peers.keys().all(|name| name.serial() == 3));
        std::fs::write(&path, GOOD.replace("5501", "5509")).unwrap();
        assert!(matches!(config.reloaded(&path), Err(ConfigError::Refused { .. })));
    }
}
