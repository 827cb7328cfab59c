//! The one program: every command of pgherd.
//!
//! Never decides or reconciles: each command calls the part that does.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
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
    Completion(commands::completion::Completion),
    Inside(commands::inside::Inside),
    Install(commands::install::Install),
    #[command(flatten)]
    Kubernetes(commands::kubernetes::Verb),
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if let Some(code) = commands::wal::answered(&words) {
        return code;
    }
    if commands::completion::answered(&words, Arguments::command) {
        return ExitCode::SUCCESS;
    }
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => return commands::output::tell_usage(&error, &words),
    };
    match arguments.command {
        Command::Local(local) => local.run(),
        Command::Agent(agent) => agent.run(),
        Command::Bound(bound) => bound.run(),
        Command::Bootstrap(bootstrap) => bootstrap.run(),
        Command::Operator(_) => commands::operator::run(),
        Command::Completion(completion) => completion.run(),
        Command::Inside(inside) => inside.run(),
        Command::Install(install) => install.run(),
        Command::Kubernetes(verb) => verb.run(),
    }
}

/// The name under which kubectl finds this program, and runs it as `kubectl pgherd`.
const PLUGIN: &str = "kubectl-pgherd";

fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let command = Arguments::command();
    let command = if commands::is_called(words, PLUGIN) {
        command.bin_name("kubectl pgherd")
    } else {
        command
    };
    Arguments::from_arg_matches(&command.try_get_matches_from(words)?)
}
