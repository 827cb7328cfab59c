//! `pgherd local`: clusters as processes on this machine, one verb per file.
//!
//! Never does what the supervisor does: a verb asks it, waits, and tells what came of it.

mod action;
mod backup;
mod clone;
pub(crate) mod complete;
mod demo;
mod destroy;
mod down;
mod dump;
mod explain;
mod fence;
mod freeze;
mod heal;
pub(crate) mod history;
mod kill;
mod list;
mod logs;
mod network;
mod partition;
mod pause;
pub(crate) mod place;
mod psql;
mod reload;
mod repository;
pub(crate) mod restart;
mod restore;
mod restore_point;
mod resume;
mod start;
pub(crate) mod status;
mod stop;
mod supervise;
mod switchover;
mod thaw;
mod unfence;
mod up;
mod uri;
mod wait;
mod window;

pub(crate) use super::{output, progress};
use clap::Subcommand;
use std::process::ExitCode;

/// Run highly available clusters as processes on this machine
#[derive(clap::Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Local {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Up(up::Up),
    Down(down::Down),
    Status(status::Status),
    List(list::List),
    Uri(uri::Uri),
    Psql(psql::Psql),
    Switchover(switchover::Switchover),
    Start(start::Start),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Reload(reload::Reload),
    Fence(fence::Fence),
    Unfence(unfence::Unfence),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Backup(backup::Backup),
    Window(window::Window),
    Restore(restore::Restore),
    Clone(clone::Cloning),
    Dump(dump::Dump),
    RestorePoint(restore_point::RestorePoint),
    Kill(kill::Kill),
    Freeze(freeze::Freeze),
    Thaw(thaw::Thaw),
    Partition(partition::Partition),
    Heal(heal::Heal),
    Explain(explain::Explain),
    History(history::History),
    Logs(logs::Logs),
    Demo(demo::Demo),
    Destroy(destroy::Destroy),
    Supervise(supervise::Supervise),
    Network(network::Network),
}

impl Local {
    pub(crate) fn run(self) -> ExitCode {
        let (output, ended) = match self.verb {
            Verb::Up(verb) => (verb.place.output(), verb.run()),
            Verb::Down(verb) => (verb.place.output(), verb.run()),
            Verb::Status(verb) => (verb.output(), verb.run()),
            Verb::List(verb) => (verb.output(), verb.run()),
            Verb::Uri(verb) => (verb.place.output(), verb.run()),
            Verb::Psql(verb) => (verb.place.output(), verb.run()),
            Verb::Switchover(verb) => (verb.place.output(), verb.run()),
            Verb::Start(verb) => (verb.place.output(), verb.run()),
            Verb::Stop(verb) => (verb.place.output(), verb.run()),
            Verb::Restart(verb) => (verb.place.output(), verb.run()),
            Verb::Reload(verb) => (verb.place.output(), verb.run()),
            Verb::Fence(verb) => (verb.place.output(), verb.run()),
            Verb::Unfence(verb) => (verb.place.output(), verb.run()),
            Verb::Pause(verb) => (verb.place.output(), verb.run()),
            Verb::Resume(verb) => (verb.place.output(), verb.run()),
            Verb::Backup(verb) => (verb.output(), verb.run()),
            Verb::Restore(verb) => (verb.place.output(), verb.run()),
            Verb::Clone(verb) => (verb.place.output(), verb.run()),
            Verb::Dump(verb) => (verb.output(), verb.run()),
            Verb::RestorePoint(verb) => (verb.place.output(), verb.run()),
            Verb::Window(verb) => (verb.place.output(), verb.run()),
            Verb::Kill(verb) => (verb.place.output(), verb.run()),
            Verb::Freeze(verb) => (verb.place.output(), verb.run()),
            Verb::Thaw(verb) => (verb.place.output(), verb.run()),
            Verb::Partition(verb) => (verb.place.output(), verb.run()),
            Verb::Heal(verb) => (verb.place.output(), verb.run()),
            Verb::Explain(verb) => (verb.place.output(), verb.run()),
            Verb::History(verb) => (verb.place.output(), verb.run()),
            Verb::Logs(verb) => (verb.place.output(), verb.run()),
            Verb::Demo(verb) => (verb.output, verb.run()),
            Verb::Destroy(verb) => (verb.place.output(), verb.run()),
            Verb::Supervise(verb) => return verb.run(),
            Verb::Network(verb) => return verb.run(),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                output::tell_failure(&failure, output);
                ExitCode::from(failure.kind.exit_code())
            }
        }
    }
}
