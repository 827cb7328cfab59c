//! `pgherd agent`: runs one instance until it is told to stop.
//!
//! Never run by people: a supervisor or a pod does, and starts it again when it fails.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]

use anyhow::Context;
use pgherd_agent::config::AgentConfig;
use pgherd_agent::log::Destination;
use pgherd_agent::platform::keeper::Keeper;
use pgherd_agent::run::{self, Setup};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Run one instance of a cluster (started by a supervisor, not by people)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Agent {
    /// The agent's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Agent {
    pub(crate) fn run(self) -> ExitCode {
        match self.attempt() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn attempt(self) -> anyhow::Result<()> {
        let config = AgentConfig::load(&self.config).context("configuring the agent")?;
        let setup = Setup { config, file: Some(self.config), log: Destination::Folder };
        Ok(run::run(setup, |lent| Ok(Arc::new(Keeper::new(&lent))))?)
    }
}
