//! The configuration of one member of Patroni.
//!
//! Never sets what its manual would not: what is not named here is its default.

use crate::rig::Durability;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;

pub(super) const SUPERUSER: &str = "postgres";
pub(super) const APPLICATION: &str = "app";
// Of a cluster that lives for minutes on the loopback interface.
pub(super) const APPLICATION_PASSWORD: &str = "bench-app";
const PASSWORD: &str = "bench";

/// How long Patroni waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timers {
    /// As it comes.
    Default,
    /// The least that its manual allows, and a crashed primary is not waited for.
    Fastest,
}

impl Timers {
    fn settings(self) -> Value {
        match self {
            Self::Default => json!({ "ttl": 30, "loop_wait": 10, "retry_timeout": 10 }),
            Self::Fastest => json!({
                "ttl": 20, "loop_wait": 1, "retry_timeout": 3, "primary_start_timeout": 0,
            }),
        }
    }
}

impl fmt::Display for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Fastest => "fastest",
        })
    }
}

/// Where a member is, and where it finds others.
pub(super) struct MemberPlace {
    pub(super) name: String,
    pub(super) postgres: u16,
    pub(super) rest: u16,
    pub(super) etcd: u16,
    pub(super) folder: PathBuf,
    pub(super) bindir: PathBuf,
}

impl MemberPlace {
    /// The whole file; JSON is YAML too.
    pub(super) fn settings(&self, timers: Timers, durability: Durability) -> Value {
        let rest = format!("127.0.0.1:{}", self.rest);
        json!({
            "scope": super::SCOPE,
            "name": self.name,
            "restapi": { "listen": rest, "connect_address": rest },
            "etcd3": { "host": format!("127.0.0.1:{}", self.etcd) },
            "bootstrap": {
                "dcs": shared(timers, durability),
                "initdb": ["data-checksums", { "encoding": "UTF8" }, { "locale": "C.UTF-8" }],
                "users": { APPLICATION: { "password": APPLICATION_PASSWORD } },
            },
            "postgresql": self.postgresql(),
        })
    }

    /// What psql logs in with.
    pub(super) fn passwords(&self) -> String {
        format!("127.0.0.1:{}:*:{SUPERUSER}:{PASSWORD}\n", self.postgres)
    }

    fn postgresql(&self) -> Value {
        let address = format!("127.0.0.1:{}", self.postgres);
        let login =
            |user: &str| json!({ "username": user, "password": PASSWORD, "sslmode": "require" });
        json!({
            "listen": address,
            "connect_address": address,
            "data_dir": self.folder.join("pgdata"),
            "bin_dir": self.bindir,
            "pgpass": self.folder.join("passwords"),
            "authentication": {
                "superuser": login(SUPERUSER),
                "replication": login("replicator"),
                "rewind": login("rewinder"),
            },
            "pg_hba": [
                "hostssl replication replicator 127.0.0.1/32 scram-sha-256",
                "hostssl all all 127.0.0.1/32 scram-sha-256",
            ],
            "parameters": {
                "unix_socket_directories": self.folder,
                "password_encryption": "scram-sha-256",
                "ssl": "on",
                "ssl_cert_file": self.folder.join("tls.crt"),
                "ssl_key_file": self.folder.join("tls.key"),
            },
        })
    }
}

/// What all members have in common.
fn shared(timers: Timers, durability: Durability) -> Value {
    let mut shared = json!({
        "maximum_lag_on_failover": 1_048_576,
        "synchronous_mode": durability == Durability::Sync,
        "postgresql": { "use_pg_rewind": true, "use_slots": true },
    });
    if let (Some(shared), Value::Object(timers)) = (shared.as_object_mut(), timers.settings()) {
        shared.extend(timers);
    }
    shared
}
