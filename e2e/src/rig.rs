//! What a proof does to a cluster, whoever keeps it up: the two products get the same treatment.
//!
//! Never measures: the ledger does, and it is the same for both.

pub mod patroni;
pub mod pgherd;

use anyhow::Result;
use pgherd_local::ledger::Address;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A cluster of three on this machine. Dropping it ends all its processes.
pub trait Rig {
    /// Where applications reach it: all members, `read-write`.
    fn address(&self) -> Result<Address>;
    /// Who is the primary, or none while that is not certain.
    fn primary(&mut self) -> Result<Option<String>>;
    /// One primary, all others stream from it, and commits are as durable as asked for.
    fn is_steady(&mut self) -> Result<bool>;
    /// Does the fault to the primary; returns as soon as it is done.
    fn hurt(&mut self, fault: Fault, primary: &str) -> Result<()>;
    /// Brings back what a fault took away.
    fn repair(&mut self) -> Result<()>;
}

/// What clusters of a proof have in common.
#[derive(Debug, Clone)]
pub struct Site {
    /// The folder of PostgreSQL's programs.
    pub bindir: PathBuf,
    /// Where the folders of clusters stay when their processes are gone; else they go too.
    pub keep: Option<PathBuf>,
}

impl Site {
    /// A new folder, which PostgreSQL's unprivileged user may look through.
    pub fn folder(&self, prefix: &str) -> Result<TempDir> {
        let mut folder = tempfile::Builder::new();
        folder.prefix(prefix).permissions(Permissions::from_mode(0o755));
        Ok(match &self.keep {
            None => folder.tempdir()?,
            Some(parent) => folder.disable_cleanup(true).tempdir_in(parent)?,
        })
    }
}

/// What is done to a primary.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// PostgreSQL and whatever runs it die at once and stay dead.
    NodeLoss,
    /// Only the first process of PostgreSQL dies.
    PostmasterCrash,
    /// Another member shall be the primary.
    Switchover,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeLoss => "node loss",
            Self::PostmasterCrash => "postmaster crash",
            Self::Switchover => "switchover",
        })
    }
}

/// When a commit is acknowledged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When the primary has it.
    Async,
    /// When a standby has it too.
    Sync,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async => "async",
            Self::Sync => "sync",
        })
    }
}
