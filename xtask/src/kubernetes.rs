//! The testbed's commands, and the proof on it: what has to be built before each of them.
//!
//! Never leaves a testbed behind that it has brought up itself.

use crate::{metadata, setup, steps};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Where programs are built that need nothing of the machine they run on.
const TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC: &[(&str, &str)] =
    &[("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")];
/// What is proven with the API server alone: an operator would change what they look at.
const ALONE: &[&str] = &["lease", "leader", "api"];
/// What is proven with pgherd installed.
const INSTALLED: &[&str] = &["kubernetes", "console"];

/// Runs one of the testbed's commands in our place, so that its exit code is the caller's.
pub(crate) fn run(words: &[String]) -> Result<()> {
    build()?;
    let mut all: Vec<OsString> = words.iter().map(OsString::from).collect();
    match words.first().map(String::as_str) {
        Some("up") => setup::kubernetes()?,
        Some("deploy") if words.len() == 1 => all.extend(programs()?),
        Some("prove") => {
            let product = programs()?.into_iter().next();
            all.extend(product.into_iter().flat_map(|product| ["--program".into(), product]));
        }
        Some(_) | None => {}
    }
    Err(testbed(&all).exec()).context("starting pgherd-e2e")
}

/// Brings a testbed up, proves on it, and takes it down again.
pub(crate) fn prove() -> Result<()> {
    if !setup::is_root() {
        eprintln!("SKIPPED, NOTHING IS PROVEN ON A KUBERNETES: only root can make a testbed");
        return Ok(());
    }
    build()?;
    let programs = programs()?;
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let test = |proofs: &[&str]| {
        let mut all = words(&["run", "cargo", "test", "--package", "pgherd-e2e"]);
        all.extend(proofs.iter().flat_map(|proof| words(&["--test", proof])));
        all.extend(words(&["--", "--nocapture"]));
        call(&all)
    };
    call(&words(&["up"]))?;
    let proven = test(ALONE)
        .and_then(|()| call(&[words(&["deploy"]), programs].concat()))
        .and_then(|()| test(INSTALLED));
    call(&words(&["down"]))?;
    proven
}

fn build() -> Result<()> {
    steps::cargo(&["build", "--quiet", "--package", "pgherd-e2e"], &[])
}

/// The program that is proven and the client that measures it, without any library of this machine.
fn programs() -> Result<Vec<OsString>> {
    let build =
        ["build", "--quiet", "--target", TARGET, "--package", "pgherd", "--package", "pgherd-e2e"];
    let environment: Vec<_> =
        STATIC.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
    steps::cargo(&build, &environment)?;
    let folder = metadata::target().join(TARGET).join("debug");
    Ok(["pgherd", "pgherd-e2e"].map(|name| folder.join(name).into_os_string()).into())
}

fn call(words: &[OsString]) -> Result<()> {
    let status = testbed(words).status().context("starting pgherd-e2e")?;
    if status.success() {
        return Ok(());
    }
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    bail!("kubernetes {} ended with {status}", words.join(" "))
}

fn testbed(words: &[OsString]) -> Command {
    let program: PathBuf = metadata::target().join("debug/pgherd-e2e");
    let mut command = Command::new(program);
    command.arg("kubernetes").args(words);
    command
}
