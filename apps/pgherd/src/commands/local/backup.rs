//! `pgherd local backup`: takes a base backup, and looks after those that there are.
//!
//! Never believes a book of its own: what the repository holds is what is told.

mod cancel;
mod take;

use super::super::repository::{Asked, annotate, delete, details, expire, list, rewrap, verify};
use super::output::Output;
use super::place::Place;
use super::repository;
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
    #[command(after_help = "Example:\n  pgherd local backup list")]
    List(list::List),
    #[command(after_help = "Example:\n  pgherd local backup info latest")]
    Info(details::Details),
    #[command(after_help = "\
Ends with 1 when anything is damaged or missing.

Example:
  pgherd local backup verify 20261122T112233")]
    Verify(verify::Verify),
    #[command(after_help = "\
Examples:
  pgherd local backup annotate latest --keep full
  pgherd local backup annotate 20261122T112233 --release")]
    Annotate(annotate::Annotate),
    #[command(after_help = "\
The same happens after each backup.

Examples:
  pgherd local backup expire --dry-run
  pgherd local backup expire --policy 7d")]
    Expire(expire::Expire),
    #[command(after_help = "Example:\n  pgherd local backup delete 20261122T112233 --yes")]
    Delete(delete::Delete),
    #[command(after_help = "\
Begin with `pgherd repository key FILE --rotate` and `pgherd local up -f`. What is broken off goes on where
it stopped when it is begun again.

Example:
  pgherd local backup rewrap")]
    Rewrap(rewrap::Rewrap),
    Cancel(cancel::Cancel),
}

impl Backup {
    pub(super) fn output(&self) -> Output {
        self.place.output()
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let place = self.place;
        let asked = match self.verb {
            None => return self.take.run(&place),
            Some(Verb::Cancel(cancel::Cancel {})) => return cancel::Cancel::run(&place),
            Some(Verb::List(asked)) => Asked::List(asked),
            Some(Verb::Info(asked)) => Asked::Info(asked),
            Some(Verb::Verify(asked)) => Asked::Verify(asked),
            Some(Verb::Annotate(asked)) => Asked::Annotate(asked),
            Some(Verb::Expire(asked)) => Asked::Expire(asked),
            Some(Verb::Delete(asked)) => Asked::Delete(asked),
            Some(Verb::Rewrap(asked)) => Asked::Rewrap(asked),
        };
        repository::ask(&place, &asked)
    }
}
