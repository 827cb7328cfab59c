//! The verbs for clusters on a Kubernetes, one per file.
//!
//! Never does what the operator or an agent does: a verb reads, or writes down what is asked for,
//! waits, and tells what came of it.

mod ask;
mod backup;
mod clone;
pub(crate) mod complete;
mod dump;
mod errand;
mod explain;
mod fence;
mod hint;
mod history;
mod logs;
mod pause;
mod place;
mod probe;
mod psql;
mod reload;
mod repository;
mod restart;
mod restore;
mod restore_point;
mod resume;
mod status;
mod switchover;
mod topology;
mod unfence;
mod uninstall;
mod uri;
mod version;
mod wait;
mod window;

use super::form;
use super::output::{Output, tell_failure};
use clap::Subcommand;
use pgherd_local::failure::Failure;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(crate) enum Verb {
    Status(status::Status),
    Explain(explain::Explain),
    Topology(topology::Topology),
    History(history::History),
    Switchover(switchover::Switchover),
    Restart(restart::Restart),
    Reload(reload::Reload),
    Fence(fence::Fence),
    Unfence(unfence::Unfence),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Backup(backup::Backup),
    Dump(Box<dump::Dump>),
    Window(window::Window),
    Restore(restore::Restore),
    Clone(clone::Cloning),
    RestorePoint(restore_point::RestorePoint),
    Psql(psql::Psql),
    Logs(logs::Logs),
    Uri(uri::Uri),
    Version(version::Version),
    Uninstall(uninstall::Uninstall),
}

impl Verb {
    pub(crate) fn run(self) -> ExitCode {
        let (output, ended): (Output, Result<(), Failure>) = match self {
            Self::Status(verb) => (verb.place.output(), verb.run()),
            Self::Explain(verb) => (verb.place.output(), verb.run()),
            Self::Topology(verb) => (verb.place.output(), verb.run()),
            Self::History(verb) => (verb.place.output(), verb.run()),
            Self::Switchover(verb) => (verb.place.output(), verb.run()),
            Self::Restart(verb) => (verb.place.output(), verb.run()),
            Self::Reload(verb) => (verb.place.output(), verb.run()),
            Self::Fence(verb) => (verb.place.output(), verb.run()),
            Self::Unfence(verb) => (verb.place.output(), verb.run()),
            Self::Pause(verb) => (verb.place.output(), verb.run()),
            Self::Resume(verb) => (verb.place.output(), verb.run()),
            Self::Backup(verb) => (verb.output(), verb.run()),
            Self::Dump(verb) => (verb.output(), verb.run()),
            Self::Window(verb) => (verb.place.output(), verb.run()),
            Self::Restore(verb) => (verb.place.output(), verb.run()),
            Self::Clone(verb) => (verb.place.output(), verb.run()),
            Self::RestorePoint(verb) => (verb.place.output(), verb.run()),
            Self::Psql(verb) => (verb.place.output(), verb.run()),
            Self::Logs(verb) => (verb.place.output(), verb.run()),
            Self::Uri(verb) => (verb.place.output(), verb.run()),
            Self::Version(verb) => (verb.output(), verb.run()),
            Self::Uninstall(verb) => (Output::Text, verb.run()),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                tell_failure(&failure, output);
                ExitCode::from(failure.kind.exit_code())
            }
        }
    }
}
