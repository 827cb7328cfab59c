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
    #[command(flatten)]
    Started(Started),
    Completion(commands::completion::Completion),
    Inside(commands::inside::Inside),
    Install(commands::install::Install),
    Repository(commands::repository::command::Repository),
    #[command(flatten)]
    Kubernetes(commands::kubernetes::Verb),
}

/// What platforms and agents start.
#[derive(Subcommand)]
enum Started {
    Agent(commands::agent::Agent),
    Bound(commands::bound::Bound),
    Bootstrap(commands::bootstrap::Bootstrap),
    Operator(commands::operator::Operator),
}

/// Understood before all that people may say: making that, to run an agent, would take memory that
/// each instance has for as long as it lives.
#[derive(Parser)]
#[command(name = "pgherd")]
struct StartedOnly {
    #[command(subcommand)]
    command: Started,
}

impl Started {
    fn run(self) -> ExitCode {
        match self {
            Self::Agent(agent) => agent.run(),
            Self::Bound(bound) => bound.run(),
            Self::Bootstrap(bootstrap) => bootstrap.run(),
            Self::Operator(_) => commands::operator::run(),
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    if let Some(code) = commands::wal::answered(&words) {
        return code;
    }
    if commands::completion::answered(&words, Arguments::command) {
        return ExitCode::SUCCESS;
    }
    if let Ok(started) = StartedOnly::try_parse_from(&words) {
        return started.command.run();
    }
    let arguments = match parse(&words) {
        Ok(arguments) => arguments,
        Err(error) => return commands::output::tell_usage(&error, &words),
    };
    match arguments.command {
        Command::Local(local) => local.run(),
        Command::Started(started) => started.run(),
        Command::Completion(completion) => completion.run(),
        Command::Inside(inside) => inside.run(),
        Command::Install(install) => install.run(),
        Command::Repository(repository) => repository.run(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_cluster_comes_after_the_verb_of_its_backups() {
        let parsed = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(Into::into).collect();
            parse(&words).map(drop).map_err(|error| error.kind())
        };
        for line in [
            "pgherd backup shop",
            "pgherd backup shop -n prod --name before --target primary --no-wait -o name",
            "pgherd backup shop --instance 2 --rate 50Mi --immediate-checkpoint",
            "pgherd local backup --rate off",
            "pgherd backup cluster/list",
            "pgherd backup list shop -o yaml",
            "pgherd backup info shop",
            "pgherd backup verify shop latest -n prod",
            "pgherd backup annotate shop latest --keep full",
            "pgherd backup expire shop --dry-run",
            "pgherd backup delete shop 20261122T112233 --yes",
            "pgherd backup cancel shop",
            "pgherd backup rewrap shop -o json",
            "pgherd local backup rewrap --name shop",
            "pgherd dump shop",
            "pgherd dump shop app postgres -n prod --format directory --jobs 4 -o name",
            "pgherd dump shop app --table orders* --name before --retention 7 --no-wait",
            "pgherd dump cluster/list",
            "pgherd dump shop list",
            "pgherd dump list shop -o yaml",
            "pgherd dump info shop latest",
            "pgherd dump restore shop latest --into app --create --jobs 2 -n prod",
            "pgherd dump restore shop latest --database app --into copy --clean --no-wait",
            "pgherd dump expire shop --dry-run",
            "pgherd dump delete shop 20261122T112233 --yes",
            "pgherd dump cancel shop before",
            "pgherd local dump app --instance 2 --dump-name before",
            "pgherd local dump restore latest --into app --create --no-wait --name shop",
            "pgherd window shop -o json",
            "pgherd restore-point shop before-it",
            "pgherd restore shop --as copy --to-time 2026-11-22T14:31:00Z --plan -n prod",
            "pgherd restore shop --as copy --to-immediate --as-user me --instances 1",
            "pgherd restore shop --as copy --to-name point --backup latest",
            "pgherd restore shop --as copy --latest --sql-check checks.sql",
            "pgherd clone shop copy",
            "pgherd clone shop copy --from running --instances 1 --plan -n prod --as me",
            "pgherd local clone shop copy --from backup --sql-check checks.sql",
            "pgherd local restore shop --as copy --latest",
            "pgherd local backup annotate latest --release --name shop",
        ] {
            assert_eq!(parsed(line), Ok(()), "{line}");
        }
        for line in [
            "pgherd backup",
            "pgherd backup list",
            "pgherd dump",
            "pgherd dump list",
            "pgherd dump restore shop latest",
            "pgherd dump restore shop latest --into app --create --clean",
            "pgherd dump shop --retention 0",
            "pgherd backup shop list",
            "pgherd backup shop --instance 2 --target primary",
            "pgherd backup shop --rate 10",
            "pgherd local backup --rate fast",
            "pgherd backup annotate shop latest",
            "pgherd restore shop --as copy",
            "pgherd restore shop --as copy --to-name point",
            "pgherd restore shop --latest",
            "pgherd restore shop --as copy --latest --sql-check checks.sql --no-wait",
            "pgherd clone shop",
            "pgherd clone shop copy --from standby",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
