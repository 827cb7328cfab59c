//! `pgherd completion`: lets a shell, or kubectl, complete command lines.
//!
//! Never a list that can grow old: the shell asks this program at every key.

use super::output::say;
use clap_complete::engine::{CompletionCandidate, complete};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};
use std::ffi::OsString;
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
Names of clusters are completed, too. kubectl completes `kubectl pgherd` if the program is in the PATH
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
        for line in of_plugin(words, &mut command()) {
            say(&line);
        }
        return true;
    }
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(ASKS);
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
