//! `pgherd completion`: lets a shell, or kubectl, complete command lines.
//!
//! Never a list that can grow old: the shell asks this program at every key.

use super::output::say;
use super::{kubernetes, local};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, complete};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};
use pgherd_core::names::InstanceName;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

/// Set by the shell when it asks.
const ASKS: &str = "PGHERD_COMPLETE";
const PROGRAM: &str = "pgherd";
/// The name under which kubectl finds who completes `kubectl pgherd`.
const PLUGIN: &str = "kubectl_complete-pgherd";
/// In kubectl's language: names of files are not what is wanted here.
const NO_FILES: &str = ":4";

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Print what makes a shell complete commands of pgherd
#[derive(clap::Args)]
#[command(after_help = "\
Names of clusters and of their instances are completed, too. kubectl completes `kubectl pgherd` if the program is in the PATH
also under the name kubectl_complete-pgherd.

Examples:
  source <(pgherd completion bash)
  pgherd completion fish | source
  ln -s $(command -v pgherd) ~/.local/bin/kubectl_complete-pgherd")]
pub(crate) struct Completion {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> ExitCode {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        match shell.write_registration(ASKS, PROGRAM, PROGRAM, PROGRAM, &mut script) {
            Ok(()) => {
                say(String::from_utf8_lossy(&script).trim());
                ExitCode::SUCCESS
            }
            Err(_) => ExitCode::FAILURE,
        }
    }
}

/// Answers if it is a shell, or kubectl, that asks how a command line goes on.
pub(crate) fn answered(words: &[OsString], command: impl Fn() -> clap::Command) -> bool {
    if super::is_called(words, PLUGIN) {
        for line in of_plugin(words, &mut naming(command())) {
            say(&line);
        }
        return true;
    }
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(|| naming(command())).var(ASKS);
    asked.try_complete(words.iter().cloned(), here.as_deref()).unwrap_or(true)
}

/// What kubectl wants to know: candidates, one each line, and what to do with them.
fn of_plugin(words: &[OsString], command: &mut clap::Command) -> Vec<String> {
    let last = words.len().saturating_sub(1);
    let found = complete(command, words.to_vec(), last, None).unwrap_or_default();
    let visible = found.iter().filter(|candidate| !candidate.is_hide_set());
    visible.map(told).chain([NO_FILES.to_owned()]).collect()
}

fn told(candidate: &CompletionCandidate) -> String {
    let value = candidate.get_value().to_string_lossy();
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    match help.lines().next() {
        Some(help) => format!("{value}\t{help}"),
        None => value.into_owned(),
    }
}

/// The same commands, which know the names of what exists.
fn naming(command: clap::Command) -> clap::Command {
    command.mut_subcommands(|verb| {
        if verb.get_name() == "local" { named(verb, on_this_machine) } else { named(verb, there) }
    })
}

fn named(
    verb: clap::Command,
    completer: fn(&clap::Arg) -> Option<ArgValueCompleter>,
) -> clap::Command {
    let named_arg = |arg: clap::Arg| match completer(&arg) {
        Some(completer) => arg.add(completer),
        None => arg,
    };
    verb.mut_args(named_arg).mut_subcommands(|verb| named(verb, completer))
}

fn on_this_machine(arg: &clap::Arg) -> Option<ArgValueCompleter> {
    if is_instance(arg) {
        return Some(ArgValueCompleter::new(local::complete::instances));
    }
    let is_cluster = arg.get_long() == Some("name");
    is_cluster.then(|| ArgValueCompleter::new(local::complete::clusters))
}

/// Clusters are known where they are declared.
fn there(arg: &clap::Arg) -> Option<ArgValueCompleter> {
    is_instance(arg).then(|| ArgValueCompleter::new(kubernetes::complete::instances))
}

fn is_instance(arg: &clap::Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "INSTANCE"))
}

/// What a flag was given on an unfinished command line.
pub(crate) fn given(words: &[String], flags: &[&str]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        for flag in flags {
            let Some(rest) = word.strip_prefix(flag) else { continue };
            if rest.is_empty() {
                return words.next().cloned();
            }
            if let Some(value) = rest.strip_prefix('=') {
                return Some(value.to_owned());
            }
            if !flag.starts_with("--") {
                return Some(rest.to_owned());
            }
        }
    }
    None
}

/// The words of an unfinished command line that are neither flags nor their values, without the last
/// one, which is being written.
pub(crate) fn positionals<'a>(words: &'a [String], with_value: &[&str]) -> Vec<&'a str> {
    let (mut found, mut is_value) = (Vec::new(), false);
    let finished = words.len().saturating_sub(1);
    for word in words.iter().take(finished) {
        if !is_value && !word.starts_with('-') {
            found.push(word.as_str());
        }
        is_value = with_value.contains(&word.as_str());
    }
    found
}

/// The instances that begin so, by name; by number if that is begun.
pub(crate) fn instances_like(begun: &OsStr, found: &[InstanceName]) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    let by_number = begun.starts_with(|letter: char| letter.is_ascii_digit());
    let told = |name: &InstanceName| {
        if by_number { name.serial().to_string() } else { name.to_string() }
    };
    let like = found.iter().map(told).filter(|name| name.starts_with(&*begun));
    like.map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_flag_is_found_however_it_is_written() {
        let found = |line: &str| given(&words(line), &["--namespace", "-n"]);
        for line in ["status -n shop a", "status --namespace=shop a", "status -nshop a"] {
            assert_eq!(found(line).as_deref(), Some("shop"), "{line}");
        }
        assert_eq!(found("status --namespaces shop"), None);
        assert_eq!(found("status -n"), None);
    }

    #[test]
    fn a_cluster_is_found_among_flags() {
        let found = |line: &str| positionals(&words(line), &["-n", "--context"]).join(" ");
        assert_eq!(found("pgherd fence -n shop db db-1 "), "pgherd fence db db-1");
        assert_eq!(found("pgherd -- pgherd psql db --context=x -n db d"), "pgherd pgherd psql db");
        assert_eq!(found(""), "");
    }

    #[test]
    fn instances_are_completed_by_name_and_by_number() {
        let found = ["db-1", "db-2", "db-21"].map(|name| InstanceName::parse(name).unwrap());
        let like = |begun: &str| {
            let like = instances_like(OsStr::new(begun), &found);
            like.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(like(""), ["db-1", "db-2", "db-21"]);
        assert_eq!(like("db-2"), ["db-2", "db-21"]);
        assert_eq!(like("2"), ["2", "21"]);
        assert!(like("x").is_empty());
    }

    #[test]
    fn every_instance_on_a_command_line_is_completed() {
        let command = naming(<crate::Arguments as clap::CommandFactory>::command());
        let mut open = vec![command];
        let (mut all, mut completed) = (0, 0);
        while let Some(command) = open.pop() {
            let instances = command.get_arguments().filter(|arg| is_instance(arg));
            for arg in instances {
                all += 1;
                completed += usize::from(arg.get::<ArgValueCompleter>().is_some());
            }
            open.extend(command.get_subcommands().cloned());
        }
        assert_eq!(all, completed);
        assert!(all > 15, "{all}");
    }
}
