//! `pgherd local backup`: takes a base backup, and looks after those that there are.
//!
//! Never believes a book of its own: what the repository holds is what is told.

mod annotate;
mod cancel;
mod delete;
mod details;
mod expire;
pub(super) mod listed;
pub(super) mod take;
mod verify;

use super::output::Output;
use super::place::Place;
use clap::Subcommand;
use pgherd_local::failure::Failure;

/// Take a base backup, or list, verify, hold, expire or delete those that there are
#[derive(clap::Args)]
#[command(after_help = "\
A backup is completed when it is listed in the archive and the log that it needs is there, too.
Without a verb one is taken, from a standby if one receives.

Examples:
  pgherd local backup
  pgherd local backup --target primary
  pgherd local backup list
  pgherd local backup verify latest
  pgherd local backup expire --dry-run")]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    take: take::Take,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    List(listed::List),
    Info(details::Details),
    Verify(verify::Verify),
    Annotate(annotate::Annotate),
    Expire(expire::Expire),
    Delete(delete::Delete),
    Cancel(cancel::Cancel),
}

impl Backup {
    pub(super) fn output(&self) -> Output {
        self.place.output()
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let place = self.place;
        match self.verb {
            None => self.take.run(&place),
            Some(Verb::List(listed::List {})) => listed::List::run(&place),
            Some(Verb::Info(verb)) => verb.run(&place),
            Some(Verb::Verify(verb)) => verb.run(&place),
            Some(Verb::Annotate(verb)) => verb.run(&place),
            Some(Verb::Expire(verb)) => verb.run(&place),
            Some(Verb::Delete(verb)) => verb.run(&place),
            Some(Verb::Cancel(cancel::Cancel {})) => cancel::Cancel::run(&place),
        }
    }
}
