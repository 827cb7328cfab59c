//! Writes PostgreSQL's configuration: the user's parameters between our defaults and our own.
//!
//! Never lets a user's line come after ours, and never contains a secret.

pub mod hba;
pub mod parameters;
pub mod quote;
mod render;
pub mod trial;

use crate::config::ServerName;
use crate::durable::{self, DurableError};
use crate::postgres::control::{self, Floors};
use crate::postgres::site::{Site, SocketPathError};
use pgherd_backup::restore::recovery;
use pgherd_core::names::InstanceName;
use pgherd_core::record::Pair;
use pgherd_core::seen::Gate;
use pgherd_core::units::Bytes;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub use parameters::{Parameters, Refused};
pub(crate) use render::UNCOUNTED;
pub use render::{connection_to, slot_of, standby_names};

/// The role that standbys connect as, and that rewinds read with.
pub const REPLICATION_ROLE: &str = "streaming_replica";
/// How slots of standbys are named unless the user says otherwise, as users of CNPG know them.
pub const SLOT_PREFIX: &str = "_cnpg_";

/// A password in the clear. Never shown; on disk only in a file that its owner alone can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Everything the configuration of one instance is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub instance: InstanceName,
    pub listen: BTreeSet<String>,
    pub transport: Transport,
    /// The operating system's users that may be `postgres` through the private socket.
    pub agent_users: BTreeSet<String>,
    /// The password of [`REPLICATION_ROLE`].
    pub password: Password,
    /// The user's parameters that the server accepts.
    pub parameters: Parameters,
    /// The user's lines of pg_hba.conf that the server accepts.
    pub hba: hba::Lines,
    /// The user's lines of pg_ident.conf.
    pub ident: Vec<String>,
    pub profile: Profile,
    /// The size of the volume, where PostgreSQL has one of its own.
    pub volume: Option<Bytes>,
    pub archive: Archive,
    /// The rule for commits. A standby should carry the rule that its promotion would begin with:
    /// PostgreSQL reads only at its start, and after a checkpoint at times, *whether* there is one.
    pub commits: Option<Pair>,
    pub receive: Receive,
    pub gate: Gate,
}

/// Whom the server receives WAL from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receive {
    /// A primary, or a standby that is sealed; queries that hold replay up are cancelled at once.
    FromNobody,
    From(Upstream),
    /// The same under a name that no rule for commits knows: what is received does not count.
    Uncounted(Upstream),
    /// What came with a copy is replayed, and then it opens by itself, on a timeline of its own.
    /// Nobody can look on before: so it may be smaller than the server that it is a copy of.
    FromCopy,
    /// The log of an archive is replayed as these settings say, and then it opens by itself, on a
    /// timeline of its own. Nobody can look on before, either.
    FromArchive(Vec<recovery::Setting>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    pub primary: InstanceName,
    pub address: IpAddr,
    pub port: u16,
    /// The slot that keeps WAL for us there. Streaming fails while it does not exist.
    pub slot: Option<String>,
}

/// How connections from other machines are protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    Tls(TlsFiles),
    /// Only for servers built without OpenSSL, and only over loopback.
    Plain,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whom clients are trusted from that show a certificate.
    pub clients_authority: PathBuf,
    /// Whom a primary is trusted from.
    pub servers_authority: PathBuf,
    pub server_certificate: PathBuf,
    pub server_key: PathBuf,
    /// What this instance shows when it connects as a standby.
    pub client_certificate: PathBuf,
    pub client_key: PathBuf,
    /// What servers are made out to: as far as that, a primary is checked.
    pub server_name: ServerName,
}

/// What the defaults are chosen for, and who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A machine or a container of its own; its agent passes the log on.
    Server,
    /// Several instances and other work on one machine; people read the log.
    Laptop,
}

/// How finished WAL segments leave and return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive {
    pub command: Option<String>,
    pub restore_command: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("placing the unix socket")]
    PlaceSocket { source: SocketPathError },
    #[error("reading the present {name} to see whether it changed")]
    ReadFile { name: &'static str, source: DurableError },
    #[error("writing {name}")]
    WriteFile { name: &'static str, source: DurableError },
    #[error("writing the password that opens the primary")]
    GiveKey { source: DurableError },
    #[error("taking away {path:?}, the password that opens the primary")]
    TakeKey { path: PathBuf, source: io::Error },
    #[error("the disk did not answer: the work on it was broken off")]
    Finish,
}

/// A configuration file with its whole content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub name: &'static str,
    pub text: String,
}

/// The files of this configuration, for a server of that site. With `floors` it has no less of
/// anything than it needs to start as a standby.
pub fn render(site: &Site, settings: &Settings, floors: Option<&Floors>) -> Vec<File> {
    render::files(site, settings, floors)
}

/// How a server is going to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// It starts as a standby, and may have no less than the log was written with.
    AsStandby,
    /// Nobody can look on before it has opened: it may be smaller than what it was made from.
    ByItself,
}

/// Writes the files that differ into `data`, and tells which. A running server takes notice when
/// it is told to reload. To be done before each start too: the disk is not waited for, because a
/// failover is.
pub fn apply(
    site: &Site,
    data: &Path,
    (settings, opens): (&Settings, Opens),
) -> Result<Vec<&'static str>, ConfigError> {
    site.socket().map_err(|source| ConfigError::PlaceSocket { source })?;
    set_key(site, settings)?;
    let mut changed = Vec::new();
    let control = match opens {
        // One that cannot be read does not start either, whatever is written.
        Opens::AsStandby => control::read_file(data).ok(),
        Opens::ByItself => None,
    };
    let floors = control.map(|control| control.floors);
    for File { name, text } in render(site, settings, floors.as_ref()) {
        let path = data.join(name);
        let present =
            durable::read(&path).map_err(|source| ConfigError::ReadFile { name, source })?;
        if present.as_deref() != Some(text.as_bytes()) {
            durable::replace(&path, text.as_bytes(), site.private())
                .map_err(|source| ConfigError::WriteFile { name, source })?;
            changed.push(name);
        }
    }
    Ok(changed)
}

/// Whether ALTER SYSTEM overrules what was written, or would with the next reload. One that cannot
/// be read overrules nothing: PostgreSQL does not take it either.
pub fn is_overruled(data: &Path) -> bool {
    let path = data.join(render::OVERRULING);
    std::fs::read(path).is_ok_and(|text| text != render::HEAD.as_bytes())
}

/// The same without holding up whoever else runs on this thread: the disk may be slow.
pub async fn apply_aside(site: &Site, settings: &Settings) -> Result<(), ConfigError> {
    let (site, settings) = (site.clone(), settings.clone());
    let work = tokio::task::spawn_blocking(move || {
        apply(&site, &site.data, (&settings, Opens::AsStandby)).map(drop)
    });
    work.await.unwrap_or(Err(ConfigError::Finish))
}

/// Who shall receive from nobody has no key: a receiver that PostgreSQL starts in the very moment
/// in which it is told of a change still reads the key, and comes no further without it.
fn set_key(site: &Site, settings: &Settings) -> Result<(), ConfigError> {
    let path = site.passfile();
    match &settings.receive {
        Receive::FromNobody | Receive::FromCopy | Receive::FromArchive(_) => {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(|source| ConfigError::TakeKey { path, source }),
            }
        }
        Receive::From(_) | Receive::Uncounted(_) => write_key(site, settings),
    }
}

/// Writes the file that libpq reads the password from.
pub(crate) fn write_key(site: &Site, settings: &Settings) -> Result<(), ConfigError> {
    let path = site.passfile();
    let escaped = settings.password.0.replace('\\', "\\\\").replace(':', "\\:");
    let line = format!("*:*:*:{REPLICATION_ROLE}:{escaped}\n");
    let present = durable::read(&path).map_err(|source| ConfigError::GiveKey { source })?;
    if present.as_deref() == Some(line.as_bytes()) {
        return Ok(());
    }
    durable::replace(&path, line.as_bytes(), site.private())
        .map_err(|source| ConfigError::GiveKey { source })
}
