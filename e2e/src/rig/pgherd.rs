//! Our own product, driven by the same commands that people use.
//!
//! Never reaches behind the command line: what it cannot do is not there.

use super::{Durability, Fault, Rig, Site};
use crate::{run, wait};
use anyhow::{Context, Result, bail};
use pgherd_local::ledger::Address;
use pgherd_local::processes::{self, Act};
use serde::Deserialize;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const NAME: &str = "proof";
const INSTANCES: usize = 3;
const UP_WITHIN: Duration = Duration::from_mins(5);
const VERB_WITHIN: Duration = Duration::from_mins(2);

/// Three instances of pgherd in a folder of their own.
pub struct Pgherd {
    program: PathBuf,
    folder: TempDir,
    mode: Mode,
    afterwards: Afterwards,
}

/// What becomes of the cluster's folder in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Remove,
    Keep,
}

/// Which of pgherd's promises for commits is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Required,
    Preferred,
    Async,
}

/// What `pgherd local status -o json` says, as far as proofs ask.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub folder: PathBuf,
    pub primary: Option<String>,
    pub epoch: Option<u64>,
    pub because: Vec<String>,
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    pub name: String,
    pub role: String,
    pub state: String,
    pub reason: String,
    pub ready: bool,
}

impl Pgherd {
    /// Makes a new cluster and waits until it is complete.
    pub fn start(mode: Mode, site: &Site) -> Result<Self> {
        let folder = site.folder(&format!("pgherd-{}-", mode.words()))?;
        let afterwards = if site.keep.is_some() { Afterwards::Keep } else { Afterwards::Remove };
        let pgherd = Self { program: program()?, folder, mode, afterwards };
        let manifest = pgherd.root().join("cluster.yaml");
        fs::write(&manifest, mode.manifest())?;
        let _alone = alone()?;
        let mut up = pgherd.verb("up");
        up.arg("--file").arg(&manifest).arg("--pg-bindir").arg(&site.bindir);
        run::succeed(up, UP_WITHIN)?;
        Ok(pgherd)
    }

    /// Where everything of it is.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a verb with these arguments.
    pub fn act(&self, verb: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.verb(verb);
        command.args(arguments);
        run::succeed(command, VERB_WITHIN).map(drop)
    }

    pub fn status(&self) -> Result<Status> {
        let mut command = self.verb("status");
        command.args(["--output", "json"]);
        let said = run::succeed(command, VERB_WITHIN)?;
        serde_json::from_str(&said).with_context(|| format!("status said {said}"))
    }

    /// Says what is not in order; nothing when all is.
    pub fn unsteady(&self) -> Result<Option<String>> {
        let status = self.status()?;
        if status.primary.is_none() {
            return Ok(Some("there is no primary".to_owned()));
        }
        if !status.because.is_empty() {
            return Ok(Some(status.because.join("; ")));
        }
        let standbys = status.instances.iter().filter(|one| one.role == self.mode.standby_role());
        let (ready, standbys) =
            (status.instances.iter().filter(|one| one.ready).count(), standbys.count());
        if ready != INSTANCES || standbys != INSTANCES - 1 {
            let roles = status.instances.iter().map(|one| format!("{} is {}", one.name, one.role));
            return Ok(Some(roles.collect::<Vec<_>>().join(", ")));
        }
        Ok(None)
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["local", verb, "--name", NAME, "--dir"]).arg(self.root());
        command
    }
}

impl Rig for Pgherd {
    fn address(&self) -> Result<Address> {
        let mut command = self.verb("uri");
        command.arg("--with-password");
        let said = run::succeed(command, VERB_WITHIN)?;
        // Every client of libpq takes what is printed; ours insists on the host's name too.
        Ok(Address::parse(&said.trim().replace("sslmode=verify-ca", "sslmode=verify-full"))?)
    }

    fn primary(&mut self) -> Result<Option<String>> {
        Ok(self.status()?.primary)
    }

    fn is_steady(&mut self) -> Result<bool> {
        Ok(self.unsteady()?.is_none())
    }

    fn hurt(&mut self, fault: Fault, primary: &str) -> Result<()> {
        match fault {
            Fault::NodeLoss => self.act("kill", &[primary]),
            Fault::PostmasterCrash => self.act("kill", &[primary, "--postgres"]),
            Fault::Switchover => self.act("switchover", &["--no-probe"]),
        }
    }

    fn repair(&mut self) -> Result<()> {
        let status = self.status()?;
        for instance in status.instances.iter().filter(|one| one.state == "lost") {
            self.act("start", &[&instance.name])?;
        }
        Ok(())
    }
}

impl Drop for Pgherd {
    fn drop(&mut self) {
        let cluster = self.folder.path().join(NAME);
        if !cluster.exists() {
            return;
        }
        let _finishing = wait::finishing();
        let mut end = match self.afterwards {
            Afterwards::Remove => self.verb("destroy"),
            Afterwards::Keep => self.verb("down"),
        };
        end.arg(match self.afterwards {
            Afterwards::Remove => "--yes",
            Afterwards::Keep => "--force",
        });
        let ended = run::succeed(end, UP_WITHIN).map(drop);
        for result in [ended, kill_strays(&cluster)] {
            if let Err(error) = result {
                crate::complain(&format!("{error:#}"));
            }
        }
    }
}

/// Whatever a command that failed has left running.
fn kill_strays(cluster: &Path) -> Result<()> {
    wait::until("the end of all processes", Duration::from_secs(20), || {
        let keepers = [processes::supervisor_of(cluster)?, processes::network_of(cluster)?];
        let rest = processes::of(cluster)?;
        let all: Vec<_> = keepers.into_iter().flatten().chain(rest).collect();
        for process in &all {
            processes::act_on(process, Act::Kill)?;
        }
        Ok(all.is_empty())
    })
}

impl Mode {
    pub fn words(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Async => "async",
        }
    }

    fn standby_role(self) -> &'static str {
        match self {
            Self::Required | Self::Preferred => "sync",
            Self::Async => "async",
        }
    }

    fn manifest(self) -> String {
        let durability = match self {
            Self::Async => String::new(),
            Self::Required | Self::Preferred => format!(
                "  postgresql:\n    synchronous:\n      method: any\n      number: 1\n      \
                 dataDurability: {}\n",
                self.words()
            ),
        };
        format!(
            "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata:\n  name: {NAME}\n\
             spec:\n  instances: {INSTANCES}\n{durability}"
        )
    }
}

impl From<Durability> for Mode {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Async => Self::Async,
            Durability::Sync => Self::Required,
        }
    }
}

/// Proofs that begin at the same moment would choose the same ports: each home knows only its own
/// clusters, and a port is seen to be taken only once somebody listens on it.
pub(crate) fn alone() -> Result<File> {
    let everybodys = std::env::temp_dir();
    let folder = File::open(&everybodys);
    let folder = folder.with_context(|| format!("opening {}", everybodys.display()))?;
    folder.lock().with_context(|| format!("locking {}", everybodys.display()))?;
    Ok(folder)
}

/// The binary beside this one.
pub(crate) fn program() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.with_file_name("pgherd");
    if !program.exists() {
        bail!("{} is missing: cargo build --release --package pgherd", program.display());
    }
    Ok(program)
}
