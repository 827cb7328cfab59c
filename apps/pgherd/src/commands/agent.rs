//! `pgherd agent`: runs one instance until it is told to stop.
//!
//! Never run by people: a supervisor or a pod does, and starts it again when it fails.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]
#![expect(clippy::print_stdout, reason = "a trial is answered on stdout")]

use anyhow::Context;
use pgherd_agent::config::AgentConfig;
use pgherd_agent::log::Destination;
use pgherd_agent::platform::keeper::Keeper;
use pgherd_agent::program::UNDERSTANDS;
use pgherd_agent::reexec;
use pgherd_agent::run::{self, Setup};
use pgherd_kubernetes::pod;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Run one instance of a cluster (started by a supervisor, not by people)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Agent {
    /// The agent's configuration file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["in_pod", "understands"])]
    config: Option<PathBuf>,
    /// Be the agent of the pod that this is, as its environment says
    #[arg(long, conflicts_with = "config")]
    in_pod: bool,
    /// Only say whether this program could go on from what an agent wrote there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "in_pod"])]
    understands: Option<PathBuf>,
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
        if let Some(letter) = self.understands {
            reexec::understand(&letter)?;
            println!("{UNDERSTANDS}{}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        let Some(file) = self.config else { return Ok(pod::run()?) };
        let config = AgentConfig::load(&file).context("configuring the agent")?;
        let setup = Setup { config, file: Some(file), log: Destination::Folder };
        Ok(run::run(setup, |lent| Ok(Arc::new(Keeper::new(&lent))))?)
    }
}
