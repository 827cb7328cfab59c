//! `pgherd local dump`: takes logical dumps, looks after those that there are, and restores from them.
//!
//! Never believes a book of its own: what the repository holds is what is told.

mod cancel;
mod delete;
mod details;
mod expire;
mod follow;
mod listed;
mod opened;
mod restore;
mod take;

use super::output::Output;
use super::place::Place;
use clap::Subcommand;
use pgherd_local::failure::{Failure, Kind};

/// Dump databases with pg_dump, or list, restore, expire or delete the dumps that there are
#[derive(clap::Args)]
#[command(after_help = "\
A dump is one moment of each database, taken from a standby if one receives. Without a verb one is taken.

Examples:
  pgherd local dump
  pgherd local dump shop --format directory --jobs 4
  pgherd local dump shop --table 'orders*'
  pgherd local dump list
  pgherd local dump restore latest --database shop --into shop_copy --create")]
pub(crate) struct Dump {
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
    Restore(restore::Restore),
    Expire(expire::Expire),
    Delete(delete::Delete),
    Cancel(cancel::Cancel),
}

impl Dump {
    pub(super) fn output(&self) -> Output {
        self.place.output()
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let place = self.place;
        if self.verb.is_some() && !self.take.is_plain() {
            let what = "a database cannot be named before a verb";
            return Err(Failure::new(Kind::Usage, what)
                .fix("if it is called like a verb: pgherd local dump -- list"));
        }
        match self.verb {
            None => self.take.run(&place),
            Some(Verb::List(listed::List {})) => listed::List::run(&place),
            Some(Verb::Info(verb)) => verb.run(&place),
            Some(Verb::Restore(verb)) => verb.run(&place),
            Some(Verb::Expire(verb)) => verb.run(&place),
            Some(Verb::Delete(verb)) => verb.run(&place),
            Some(Verb::Cancel(cancel::Cancel {})) => cancel::Cancel::run(&place),
        }
    }
}
