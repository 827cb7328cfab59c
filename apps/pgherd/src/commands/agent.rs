//! `pgherd agent`: runs one instance until it is told to stop.
//!
//! Never run by people: a supervisor or a pod does, and starts it again when it fails.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]

use std::path::PathBuf;
use std::process::ExitCode;

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
        match pgherd_agent::run::run(&self.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {:#}", anyhow::Error::new(error));
                ExitCode::FAILURE
            }
        }
    }
}
