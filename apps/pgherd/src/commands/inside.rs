//! `pgherd inside`: what the verbs for clusters on a Kubernetes run in the pod of an instance.
//!
//! Never run by people: a verb does, by means of `pods/exec`.
#![expect(clippy::print_stderr, reason = "a program says on stderr why it failed")]

mod agent;
pub(super) mod check;
pub(super) mod dump;
mod log;
pub(super) mod probe;
mod question;
pub(super) mod repository;
mod restore_point;
mod status;

use clap::Subcommand;
use std::path::Path;
use std::process::ExitCode;

/// Where certificates and passwords are mounted.
const IDENTITY: &str = "/controller/identity";

/// Answer a verb from within a pod (used by other commands)
#[derive(clap::Args)]
#[command(hide = true)]
pub(crate) struct Inside {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    Status(status::Status),
    Probe(probe::Probe),
    Repository(repository::Repository),
    Dump(dump::Dump),
    Check(check::Check),
    Log(log::Log),
    RestorePoint(restore_point::RestorePoint),
}

impl Inside {
    pub(crate) fn run(self) -> ExitCode {
        let identity = Path::new(IDENTITY);
        let ended = match self.question {
            Question::Status(_) => run(status::tell(identity)),
            Question::Probe(probe) => run(probe.measure(identity)),
            Question::Repository(_) => run(repository::tell()),
            Question::Dump(_) => run(dump::tell(identity)),
            Question::Check(_) => run(check::tell()),
            Question::Log(_) => run(log::finish(identity)),
            Question::RestorePoint(point) => run(point.make(identity)),
        };
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

fn run(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(work);
    // A thread that still waits for a line is not waited for.
    runtime.shutdown_background();
    ended
}
