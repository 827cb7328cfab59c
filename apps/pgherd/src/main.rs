//! The one program: every command of pgherd.
//!
//! Never decides or reconciles: each command calls the part that does.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod commands;

/// PostgreSQL that stays up.
#[derive(Parser)]
#[command(name = "pgherd", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Local(commands::local::Local),
    Agent(commands::agent::Agent),
    Bound(commands::bound::Bound),
    Bootstrap(commands::bootstrap::Bootstrap),
    Operator(commands::operator::Operator),
    Install(commands::install::Install),
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => return commands::local::output::tell_usage(&error, &words),
    };
    match arguments.command {
        Command::Local(local) => local.run(),
        Command::Agent(agent) => agent.run(),
        Command::Bound(bound) => bound.run(),
        Command::Bootstrap(bootstrap) => bootstrap.run(),
        Command::Operator(_) => commands::operator::run(),
        Command::Install(install) => install.run(),
    }
}
