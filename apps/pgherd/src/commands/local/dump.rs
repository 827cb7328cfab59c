//! `pgherd local dump`: takes logical dumps, looks after those that there are, and restores from them.
//!
//! Never believes a book of its own: what the repository holds is what is told.

mod cancel;
mod restore;
mod take;

use super::super::dump::Follower;
use super::super::repository::Asked;
use super::super::repository::dump::{delete, details, expire, list};
use super::output::Output;
use super::place::Place;
use super::repository;
use super::wait::unless_gone;
use clap::Subcommand;
use pgherd_api::agent::DumpReport;
use pgherd_core::names::InstanceName;
use pgherd_local::client::Supervisor;
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

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
    #[command(after_help = "Example:\n  pgherd local dump list")]
    List(list::List),
    #[command(after_help = "Example:\n  pgherd local dump info latest")]
    Info(details::Details),
    Restore(restore::Restore),
    #[command(after_help = "\
The same happens after each dump. Dumps of the same databases are counted together.

Examples:
  pgherd local dump expire --dry-run
  pgherd local dump expire --policy 7d")]
    Expire(expire::Expire),
    #[command(after_help = "Example:\n  pgherd local dump delete 20261122T112233 --yes")]
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
        let asked = match self.verb {
            None => return self.take.run(&place),
            Some(Verb::Restore(verb)) => return verb.run(&place),
            Some(Verb::Cancel(cancel::Cancel {})) => return cancel::Cancel::run(&place),
            Some(Verb::List(asked)) => Asked::DumpList(asked),
            Some(Verb::Info(asked)) => Asked::DumpInfo(asked),
            Some(Verb::Expire(asked)) => Asked::DumpExpire(asked),
            Some(Verb::Delete(asked)) => Asked::DumpDelete(asked),
        };
        repository::ask(&place, &asked)
    }
}

/// Until it is over.
async fn follow(
    supervisor: &Supervisor,
    (instance, name): (&InstanceName, &str),
    patience: Duration,
) -> Result<DumpReport, Failure> {
    let mut follower = Follower::new(instance, name, patience);
    loop {
        let view = supervisor.view().await?;
        let status = view.instance(instance).and_then(|it| it.status.as_ref());
        if status.is_none() {
            unless_gone(&view, instance, name)?;
        }
        if let Some(report) = follower.look(status)? {
            return Ok(report);
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
