//! Builds the image that people install: the static program, and nothing else.
//!
//! Never lets a path of the machine that builds it, or the hour, get into it.

use crate::kubernetes::{self, TARGET};
use crate::{metadata, repository, steps};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = concat!("ghcr.io/pgherd/pgherd:", env!("CARGO_PKG_VERSION"));
/// What the archive, and what is on a node, may take.
const AT_MOST: &str = "40";

/// Builds and packs; the packer is the testbed's.
pub(crate) fn build(output: Option<PathBuf>) -> Result<()> {
    let output = output.unwrap_or_else(|| metadata::target().join("pgherd-image.tar"));
    let output = std::path::absolute(output)?;
    let arguments =
        ["build", "--quiet", "--locked", "--profile", "image", "--target", TARGET, "-p", "pgherd"];
    steps::cargo(&arguments, &[("CARGO_ENCODED_RUSTFLAGS", flags()?)])?;
    let program = metadata::target().join(TARGET).join("image/pgherd");
    let mut words: Vec<OsString> =
        vec!["pack".into(), program.into(), output.into(), "--name".into(), NAME.into()];
    words.extend(["--compress", "--at-most", AT_MOST].map(OsString::from));
    for (name, text) in labels()? {
        let label = format!("org.opencontainers.image.{name}={text}");
        words.extend(["--label".into(), label.into()]);
    }
    kubernetes::build()?;
    kubernetes::call(&words)
}

/// The compiler's flags for a program that tells nothing of this machine, and whose relocations, all
/// of which every start reads, take a tenth of the room.
fn flags() -> Result<OsString> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(home?.join(".cargo")));
    let cargo = cargo.context("neither CARGO_HOME nor HOME says where the crates are")?;
    let toolchain = said(Command::new("rustc").args(["--print", "sysroot"]))?;
    let names = [
        (cargo.as_path(), "/cargo"),
        (&repository::root(), "/pgherd"),
        (Path::new(toolchain.trim()), "/rust"),
    ];
    let mut flags = OsString::from(
        "-C\u{1f}target-feature=+crt-static\u{1f}-C\u{1f}link-arg=-Wl,-z,pack-relative-relocs,--icf=all",
    );
    for (path, name) in names {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    }
    Ok(flags)
}

fn labels() -> Result<Vec<(&'static str, String)>> {
    let mut labels = vec![
        ("title", "pgherd".to_owned()),
        ("description", "PostgreSQL that stays up".to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("licenses", env!("CARGO_PKG_LICENSE").to_owned()),
        ("source", env!("CARGO_PKG_REPOSITORY").to_owned()),
    ];
    // What differs from the commit must not bear its name.
    if said(&mut git(&["status", "--porcelain"]))?.is_empty() {
        labels.push(("revision", said(&mut git(&["rev-parse", "HEAD"]))?.trim().to_owned()));
    } else {
        eprintln!("there are changes that are not committed: the image names no revision");
    }
    Ok(labels)
}

fn git(words: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.current_dir(repository::root()).args(words);
    command
}

fn said(command: &mut Command) -> Result<String> {
    let done = command.output().with_context(|| format!("running {command:?}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    bail!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim())
}
