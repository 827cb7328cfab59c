//! `pgherd repository`: makes the key of one, and reads one with nothing but a manifest.
//!
//! Never writes into a repository, and never needs a cluster.

use super::super::output::{Output, tell_failure};
use super::key::Key;
use super::named::Named;
use super::{Asked, details, dump, list, verify, window};
use clap::Subcommand;
use pgherd_local::failure::Failure;
use std::process::ExitCode;

/// Look into a repository without a cluster, or make what encrypts one
#[derive(clap::Args)]
#[command(after_help = "\
What reads a repository needs a Cluster manifest and the Secrets that it names, in one file; it may
be the one of a cluster that is lost, here or on Kubernetes. Nothing is written there.

Examples:
  pgherd repository window -f shop.yaml
  pgherd repository plan -f shop-1431.yaml
  pgherd repository key /etc/pgherd/repository.key")]
pub(crate) struct Repository {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Key(Key),
    /// Show to which moments can be gone back, and where there are gaps
    #[command(after_help = "Example:\n  pgherd repository window -f shop.yaml")]
    Window(Reading<window::Window>),
    /// List the backups that there are
    #[command(after_help = "Example:\n  pgherd repository list -f shop.yaml")]
    List(Reading<list::List>),
    /// Tell all about one backup
    #[command(after_help = "Example:\n  pgherd repository info -f shop.yaml latest")]
    Info(Reading<details::Details>),
    /// Read all of a backup, and compare the sums of its parts
    #[command(after_help = "\
Ends with 1 when anything is damaged or missing.

Example:
  pgherd repository verify -f shop.yaml 20261122T112233")]
    Verify(Reading<verify::Verify>),
    /// List the logical dumps that there are
    #[command(after_help = "Example:\n  pgherd repository dumps -f shop.yaml")]
    Dumps(Reading<dump::list::List>),
    /// Show how a cluster would come back that begins with a backup, or why it cannot
    #[command(after_help = "\
FILE is the manifest of the new cluster, with bootstrap.recovery.

Example:
  pgherd repository plan -f shop-1431.yaml")]
    Plan(Reading<Planned>),
}

/// A question, and of what it is asked.
#[derive(clap::Args)]
struct Reading<A: clap::Args> {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    asked: A,
    /// How to write the result
    #[arg(long, short, value_name = "FORM", default_value = "text")]
    output: Output,
}

#[derive(clap::Args)]
struct Planned {}

impl Repository {
    pub(crate) fn run(self) -> ExitCode {
        let (output, ended) = match self.verb {
            Verb::Key(key) => (key.output, key.run()),
            Verb::Window(it) => it.run(Asked::Window),
            Verb::List(it) => it.run(Asked::List),
            Verb::Info(it) => it.run(Asked::Info),
            Verb::Verify(it) => it.run(Asked::Verify),
            Verb::Dumps(it) => it.run(Asked::DumpList),
            Verb::Plan(it) => (it.output, it.named.plan(it.output.form())),
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

impl<A: clap::Args> Reading<A> {
    fn run(self, asked: impl FnOnce(A) -> Asked) -> (Output, Result<(), Failure>) {
        (self.output, self.named.ask(&asked(self.asked), self.output.form()))
    }
}
