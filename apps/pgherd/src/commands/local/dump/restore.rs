//! Restores a database from a dump, and follows that.
//!
//! Never ends a restore because nobody follows it any more.

use super::super::super::dump;
use super::super::output::{say_either, warn};
use super::super::place::Place;
use super::super::repository;
use super::follow;
use crate::commands::repository::dump::list::Listed;
use pgherd_local::control::Request;
use pgherd_local::failure::{Failure, Kind};

/// Restore a database from a dump
#[derive(clap::Args)]
#[command(after_help = "\
All is looked at that could be in the way before anything is touched. With one job it is all or nothing:
whatever goes wrong, the database is as it was.

Examples:
  pgherd local dump restore latest --database shop --into shop_copy --create
  pgherd local dump restore latest --into shop --clean
  pgherd local dump restore latest --into shop --table orders
  pgherd local dump restore 20261122T112233 --into shop --create --jobs 4
  pgherd local dump restore latest --server shop --into shop --no-owner")]
pub(super) struct Restore {
    #[command(flatten)]
    wanted: dump::Restoring,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

impl Restore {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let (output, patience) = (place.output(), place.timeout());
        let Self { wanted, no_wait } = self;
        place.with(|supervisor| async move {
            if wanted.server.is_none() {
                let opened = repository::open(supervisor.folder())?;
                let found = opened.find_dump(&wanted.dump).await?;
                dump::Restoring::refuse_unusable(&Listed::of(&found))?;
            }
            let order = wanted.order();
            let name = order.name.clone();
            let done = supervisor.ask(&Request::RestoreDump { order }).await?;
            let Some(instance) = done.instances.first().cloned() else {
                return Err(Failure::new(Kind::Failed, "nobody restores the dump"));
            };
            if no_wait {
                let sentence = format!("restore/{name} begun on {instance}");
                let document = serde_json::json!({ "name": name, "instance": instance });
                return say_either(output, &sentence, &document);
            }
            let report = follow(&supervisor, (&instance, &name), patience).await?;
            warn(&report.warnings);
            say_either(output, &wanted.restored(&report), &report)
        })
    }
}
