//! Runs a table of named steps in order, stops at the first that fails, and prints what each took.
//!
//! Never knows what a step does.

use crate::metadata;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// One row of a table of steps.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) act: Act,
}

#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// `cargo` with these arguments.
    Cargo(&'static [&'static str]),
    /// The same once for those of the named packages that exist; skipped when none does.
    CargoFor { packages: &'static [&'static str], arguments: &'static [&'static str] },
    /// A function of xtask.
    Here(fn() -> Result<()>),
}

/// What the programs started by steps find in their environment.
pub(crate) type Environment = [(&'static str, OsString)];

/// Runs the steps, or as many as succeed.
pub(crate) fn run(steps: &[Step], environment: &Environment) -> Result<()> {
    let begun = Instant::now();
    for step in steps {
        let started = Instant::now();
        println!("----- {}", step.name);
        let done = act(step.act, environment);
        println!("{:<5} {:<28}{:>7}", word(&done), step.name, seconds(started.elapsed()));
        done.with_context(|| format!("step \"{}\" failed", step.name))?;
    }
    println!("ok    {} steps{:>26}", steps.len(), seconds(begun.elapsed()));
    Ok(())
}

fn word(done: &Result<()>) -> &'static str {
    if done.is_ok() { "ok" } else { "FAIL" }
}

fn seconds(taken: Duration) -> String {
    format!("{:.1} s", taken.as_secs_f64())
}

fn act(act: Act, environment: &Environment) -> Result<()> {
    match act {
        Act::Here(function) => function(),
        Act::Cargo(arguments) => cargo(arguments, environment),
        Act::CargoFor { packages, arguments } => {
            let mut all = arguments.to_vec();
            let existing = packages.iter().filter(|package| metadata::exists(package));
            all.extend(existing.flat_map(|package| ["--package", package]));
            if all.len() == arguments.len() { Ok(()) } else { cargo(&all, environment) }
        }
    }
}

/// Runs cargo and fails when it does, with the command to try again.
pub(crate) fn cargo(arguments: &[&str], environment: &Environment) -> Result<()> {
    let mut command = metadata::cargo();
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let status = command.status().context("starting cargo")?;
    if status.success() {
        return Ok(());
    }
    bail!("cargo {} ended with {status}", arguments.join(" "))
}
