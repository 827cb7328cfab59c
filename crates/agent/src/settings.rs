//! Makes the settings of this instance's server from what is wanted and how it is to be set up.
//!
//! Never lets a secret into them: they become files that PostgreSQL shows to its users.

use crate::accepted;
use crate::durable::{self, DurableError};
use crate::perform::{Bench, Manner};
use crate::postgres::clone;
use crate::postgres::config::{
    Archive, Password, Profile, Receive, SLOT_PREFIX, Settings, TlsFiles, Transport, Upstream,
    quote, slot_of,
};
use crate::postgres::install::Tls;
use crate::postgres::site::Site;
use crate::process::owner::{self, OwnerError};
use crate::reexec;
use crate::tls::files::IdentityFiles;
use pgherd_core::intent::{Durability, Intent};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Pair;
use pgherd_core::seen::Follows;
use pgherd_core::units::Bytes;
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("finding the name of the agent's user")]
    NameUser(#[source] OwnerError),
    #[error("no address of {primary} is known: wait until the agent's configuration has it")]
    Locate { primary: InstanceName },
    #[error("reading the password {path:?}")]
    ReadPassword { path: PathBuf, source: DurableError },
    #[error("the password {path:?} is missing or empty: whoever made the folder puts it there")]
    FindPassword { path: PathBuf },
}

/// The settings of a server that is set up in this manner.
pub async fn settings(bench: &Bench, manner: &Manner) -> Result<Settings, SettingsError> {
    let postgres = &bench.specification.postgres;
    let folder = bench.config.folder();
    let (server, client) = (
        IdentityFiles::in_folder(&folder.server_tls()),
        IdentityFiles::in_folder(&folder.replication_tls()),
    );
    let transport = match bench.site.installation.tls {
        Tls::Missing => Transport::Plain,
        Tls::Available => Transport::Tls(TlsFiles {
            clients_authority: server.authority,
            servers_authority: client.authority,
            server_certificate: server.certificate,
            server_key: server.key,
            client_certificate: client.certificate,
            client_key: client.key,
            server_name: folder.server_name(),
        }),
    };
    Ok(Settings {
        instance: bench.config.instance.clone(),
        listen: BTreeSet::from([bench.config.postgres.listen.to_string()]),
        transport,
        agent_users: BTreeSet::from([owner::own_name().map_err(SettingsError::NameUser)?]),
        password: Password(password(bench, "replication")?),
        parameters: bench.accepted.parameters(&bench.site, &postgres.parameters).await,
        hba: accepted::lines(&postgres.hba),
        ident: postgres.ident.clone(),
        profile: bench.site.profile,
        volume: volume(&bench.site),
        archive: archive(bench),
        commits: manner.commits.clone(),
        receive: receive(bench, manner.follows.as_ref())?,
        gate: manner.gate,
    })
}

/// How large the volume is, where it is PostgreSQL's own. It may have grown since the last time.
fn volume(site: &Site) -> Option<Bytes> {
    match site.profile {
        Profile::Laptop => None,
        Profile::Server => clone::size(&site.base),
    }
}

/// How PostgreSQL reaches the agent with its log, if that is archived.
fn archive(bench: &Bench) -> Archive {
    if bench.specification.postgres.archive.is_none() {
        return Archive::default();
    }
    let socket = bench.config.folder().archive_socket();
    let [program, socket] = [command(bench), socket].map(|path| quote::command_word(&path));
    Archive {
        command: Some(format!("{program} wal-archive --socket {socket} %p")),
        restore_command: Some(format!("{program} wal-restore --socket {socket} %f %p")),
    }
}

/// How PostgreSQL asks the agent for log while a new cluster is made from a backup.
pub fn recover_command(bench: &Bench) -> String {
    let socket = bench.config.folder().recovery_socket();
    let [program, socket] = [command(bench), socket].map(|path| quote::command_word(&path));
    format!("{program} wal-recover --socket {socket}")
}

/// What PostgreSQL starts to ask the agent.
fn command(bench: &Bench) -> PathBuf {
    reexec::reachable(bench.config.program.clone().unwrap_or_else(reexec::program))
}

fn receive(bench: &Bench, follows: Option<&Follows>) -> Result<Receive, SettingsError> {
    let Some(Follows { primary, .. }) = follows else { return Ok(Receive::FromNobody) };
    upstream(bench, primary).map(Receive::From)
}

/// How this instance reaches `primary`, and the slot it uses there.
pub fn upstream(bench: &Bench, primary: &InstanceName) -> Result<Upstream, SettingsError> {
    let peer = bench.config.peers.get(primary);
    let peer = peer.ok_or_else(|| SettingsError::Locate { primary: primary.clone() })?;
    Ok(Upstream {
        primary: primary.clone(),
        address: peer.postgres.ip(),
        port: peer.postgres.port(),
        slot: Some(slot_of(SLOT_PREFIX, &bench.config.instance)),
    })
}

/// The rule for commits in a standby's configuration. It has no effect there except one: a server
/// that was started with a rule knows from its first moment as a primary that there is one.
pub fn standing_rule(intent: &Intent, me: &InstanceName) -> Option<Pair> {
    let voters: BTreeSet<_> = intent.instances.iter().filter(|name| *name != me).cloned().collect();
    match intent.durability {
        Durability::Asynchronous { .. } => None,
        Durability::Required { acks } => Some(Pair { voters, acks }),
        Durability::Preferred { acks } => {
            let acks = acks.min(voters.len());
            (acks > 0).then_some(Pair { voters, acks })
        }
    }
}

/// A password that every instance has in a file of its own.
pub fn password(bench: &Bench, name: &str) -> Result<String, SettingsError> {
    let path = bench.config.folder().secrets().join(name);
    let found = durable::read(&path)
        .map_err(|source| SettingsError::ReadPassword { path: path.clone(), source })?;
    let text = found.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() { Err(SettingsError::FindPassword { path }) } else { Ok(text.to_owned()) }
}
