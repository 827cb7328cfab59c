//! `pgherd operator`: looks after the clusters of a Kubernetes until it is told to stop.
//!
//! Never run by people: its Deployment does.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]

use anyhow::{Context, Result};
use pgherd_kubernetes::settings::Settings;
use pgherd_kubernetes::{leader, run};
use std::process::ExitCode;

/// Look after the clusters of a Kubernetes (started by a Deployment, not by people)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Operator {}

pub(crate) fn run() -> ExitCode {
    match attempt() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attempt() -> Result<()> {
    let environment = std::env::vars().collect();
    let settings = Settings::parse(&environment).context("reading the settings")?;
    pgherd_agent::log::start_on_output().context("opening the log")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run::run(settings, leader::candidate(&environment)));
    // Whoever has lost the lead waits for nothing.
    runtime.shutdown_background();
    Ok(ended?)
}
