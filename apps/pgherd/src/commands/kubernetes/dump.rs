//! `pgherd dump`: takes logical dumps, looks after those that there are, and restores from them.
//!
//! Never believes Dump objects: what the repository holds is what is told.

mod cancel;
mod objects;
mod restore;
mod take;

use super::super::dump::words;
use super::super::output::Output;
use super::super::repository::dump::{delete, details, expire, list};
use super::super::repository::{Asked, Told};
use super::errand::Followed;
use super::errand::objects::of;
use super::place::{Place, Reached};
use super::repository::About;
use super::{form::Form, hint, repository};
use clap::Subcommand;
use pgherd_api::agent::{DumpPhase, DumpReport, Status};
use pgherd_local::failure::{Failure, Kind};

impl Followed for pgherd_api::dump::Dump {
    type Report = DumpReport;

    fn id(&self) -> Option<&str> {
        self.status.as_ref()?.dump_id.as_deref()
    }

    fn heard(status: Status) -> Option<DumpReport> {
        status.dump.map(|report| *report)
    }

    fn session(report: &DumpReport) -> &str {
        &report.name
    }

    fn is_over(report: &DumpReport) -> bool {
        report.phase.is_over()
    }

    fn is_stored(report: &DumpReport) -> bool {
        report.phase == DumpPhase::Completed
    }

    fn words(report: &DumpReport) -> (String, String) {
        words(report)
    }

    /// PostgreSQL may be silent for long, but its snapshot is watched.
    fn done(report: &DumpReport) -> u64 {
        report.moved.0.wrapping_add(report.snapshot_seconds)
    }
}

/// Dump databases with pg_dump, or list, restore, expire or delete the dumps that there are
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
A dump is one moment of each database, taken from a standby if one receives. It is a Dump object, which is
completed when it is listed in the archive. The repository is asked in a pod of the cluster, which takes
the right to create pods/exec, and no Secret. A cluster that is called like a verb is written cluster/list.

Examples:
  pgherd dump app-db
  pgherd dump app-db shop --format directory --jobs 4
  pgherd dump app-db shop --table 'orders*'
  pgherd dump list app-db
  pgherd dump restore app-db latest --database shop --into shop_copy --create")]
pub(crate) struct Dump {
    /// None when a verb says which cluster is meant.
    #[command(flatten)]
    place: Option<Place>,
    #[command(flatten)]
    take: take::Take,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// List the dumps that there are, and Dump objects that have none
    #[command(after_help = "Example:\n  pgherd dump list app-db")]
    List(About<list::List>),
    /// Tell all that is known of one dump
    #[command(after_help = "Example:\n  pgherd dump info app-db latest")]
    Info(About<details::Details>),
    Restore(restore::Restore),
    /// Remove the dumps that the retention policy gives up
    #[command(after_help = "\
The same happens after each dump. Dumps of the same databases are counted together.

Examples:
  pgherd dump expire app-db --dry-run
  pgherd dump expire app-db --policy 7d")]
    Expire(About<expire::Expire>),
    /// Delete one dump
    #[command(after_help = "\
Its Dump object stays: kubectl delete dump removes that.

Example:
  pgherd dump delete app-db 20261122T112233 --yes")]
    Delete(About<delete::Delete>),
    Cancel(cancel::Cancel),
}

impl Dump {
    pub(super) fn output(&self) -> Output {
        let place = self.verb.as_ref().map(Verb::place).or(self.place.as_ref());
        place.map_or(Output::Text, Place::output)
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let (place, asked) = match (self.verb, self.place) {
            (Some(Verb::Restore(verb)), _) => return verb.run(),
            (Some(Verb::Cancel(verb)), _) => return verb.run(),
            (Some(Verb::List(about)), _) => (about.place, Asked::DumpList(about.question)),
            (Some(Verb::Info(about)), _) => (about.place, Asked::DumpInfo(about.question)),
            (Some(Verb::Expire(about)), _) => (about.place, Asked::DumpExpire(about.question)),
            (Some(Verb::Delete(about)), _) => (about.place, Asked::DumpDelete(about.question)),
            (None, Some(place)) => return self.take.run(&place),
            (None, None) => {
                return Err(Failure::new(Kind::Usage, "which cluster is meant?")
                    .fix("pgherd dump CLUSTER, or pgherd dump --help"));
            }
        };
        let form = place.form();
        place.with(|reached| async move { tell(&reached, form, asked).await })
    }
}

impl Verb {
    fn place(&self) -> &Place {
        match self {
            Self::List(about) => &about.place,
            Self::Info(about) => &about.place,
            Self::Restore(restore) => &restore.place,
            Self::Expire(about) => &about.place,
            Self::Delete(about) => &about.place,
            Self::Cancel(cancel) => &cancel.place,
        }
    }
}

async fn tell(reached: &Reached, form: Form, mut asked: Asked) -> Result<(), Failure> {
    let objects = of::<pgherd_api::dump::Dump>(reached).await?;
    if let Asked::DumpInfo(details::Details { dump })
    | Asked::DumpDelete(delete::Delete { dump, .. }) = &mut asked
    {
        objects.resolve(dump);
    }
    let mut told = repository::ask(reached, &asked).await?;
    match &mut told {
        Told::DumpList(listing) => objects::add_to(listing, &objects),
        Told::DumpInfo(listed) => listed.object = objects.name(listed.id.as_deref()),
        _ => {}
    }
    told.tell(form, &|text| hint::here(text, reached))
}
