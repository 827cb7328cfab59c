//! `pgherd bound`: becomes PostgreSQL, which then dies with the agent that asked for it.
//!
//! Never run by people, and never returns when it succeeds.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]

use pgherd_agent::process::launch::become_bound;
use std::ffi::OsString;
use std::process::ExitCode;

/// Become a program that is killed when its parent dies (used by the agent)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Bound {
    /// The process id of the parent
    parent: u32,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Bound {
    pub(crate) fn run(self) -> ExitCode {
        let mut command = self.command.into_iter();
        let program = command.next().unwrap_or_default();
        let error = become_bound(self.parent, program, command.collect());
        eprintln!("error: {:#}", anyhow::Error::new(error));
        ExitCode::FAILURE
    }
}
