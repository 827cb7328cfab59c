//! `pgherd backup`: takes a base backup, and looks after those that there are.
//!
//! Never believes Backup objects: what the repository holds is what is told.

mod cancel;
mod objects;
mod report;
mod take;

use super::super::backup::words;
use super::super::output::Output;
use super::super::repository::{
    Asked, Told, annotate, delete, details, expire, list, rewrap, verify,
};
use super::errand::Followed;
use super::errand::objects::of;
use super::place::{Place, Reached};
use super::repository::About;
use super::{form::Form, hint, repository};
use clap::Subcommand;
use pgherd_api::agent::{BackupPhase, BackupReport, Status};
use pgherd_local::failure::{Failure, Kind};

impl Followed for pgherd_api::backup::Backup {
    type Report = BackupReport;

    fn id(&self) -> Option<&str> {
        self.status.as_ref()?.backup_id.as_deref()
    }

    fn heard(status: Status) -> Option<BackupReport> {
        status.backup
    }

    fn session(report: &BackupReport) -> &str {
        &report.name
    }

    fn is_over(report: &BackupReport) -> bool {
        report.phase.is_over()
    }

    fn is_stored(report: &BackupReport) -> bool {
        report.phase == BackupPhase::Completed
    }

    fn words(report: &BackupReport) -> (String, String) {
        words(report)
    }

    fn done(report: &BackupReport) -> u64 {
        report.done.0
    }
}

/// Take a base backup, or list, verify, hold, expire or delete those that there are
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
A backup is a Backup object, and completed when it is listed in the archive and the log that it needs is
there, too. The repository is asked in a pod of the cluster, which takes the right to create pods/exec, and
no Secret. A cluster that is called like a verb is written cluster/list.

Examples:
  pgherd backup app-db
  pgherd backup app-db --name before-the-release --target primary
  pgherd backup app-db --instance 2 --rate 50Mi --immediate-checkpoint
  pgherd backup list app-db
  pgherd backup verify app-db latest
  pgherd backup expire app-db --dry-run")]
pub(crate) struct Backup {
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
    /// List the backups that there are, and Backup objects that have none
    #[command(after_help = "Example:\n  pgherd backup list app-db")]
    List(About<list::List>),
    /// Tell all that is known of one backup
    #[command(after_help = "Example:\n  pgherd backup info app-db latest")]
    Info(About<details::Details>),
    /// Read a backup from end to end, compare its checksums, and look for its log
    #[command(after_help = "\
Ends with 1 when anything is damaged or missing.

Example:
  pgherd backup verify app-db 20261122T112233")]
    Verify(About<verify::Verify>),
    /// Hold a backup whatever retention says, or release it
    #[command(after_help = "\
Examples:
  pgherd backup annotate app-db latest --keep full
  pgherd backup annotate app-db 20261122T112233 --release")]
    Annotate(About<annotate::Annotate>),
    /// Remove the backups and the log that the retention policy gives up
    #[command(after_help = "\
The same happens after each backup.

Examples:
  pgherd backup expire app-db --dry-run
  pgherd backup expire app-db --policy 7d")]
    Expire(About<expire::Expire>),
    /// Delete one backup, and the log that only it needed
    #[command(after_help = "\
Its Backup object stays: kubectl delete backup removes that.

Example:
  pgherd backup delete app-db 20261122T112233 --yes")]
    Delete(About<delete::Delete>),
    /// Wrap the keys of everything that is encrypted anew, so that older keys may go
    #[command(after_help = "\
Begin with `pgherd repository key FILE --rotate`, put the file into the Secret, and let every pod see it. What
is broken off goes on where it stopped when it is begun again.

Example:
  pgherd backup rewrap app-db")]
    Rewrap(About<rewrap::Rewrap>),
    /// Break off a base backup that is being taken, or waits; nothing is kept of it
    Cancel(cancel::Cancel),
}

impl Backup {
    pub(super) fn output(&self) -> Output {
        let place = self.verb.as_ref().map(Verb::place).or(self.place.as_ref());
        place.map_or(Output::Text, Place::output)
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        match (self.verb, self.place) {
            (Some(Verb::Cancel(verb)), _) => verb.run(),
            (Some(verb), _) => ask(verb),
            (None, Some(place)) => self.take.run(&place),
            (None, None) => Err(Failure::new(Kind::Usage, "which cluster is meant?")
                .fix("pgherd backup CLUSTER, or pgherd backup --help")),
        }
    }
}

impl Verb {
    fn place(&self) -> &Place {
        match self {
            Self::List(about) => &about.place,
            Self::Info(about) => &about.place,
            Self::Verify(about) => &about.place,
            Self::Annotate(about) => &about.place,
            Self::Expire(about) => &about.place,
            Self::Delete(about) => &about.place,
            Self::Rewrap(about) => &about.place,
            Self::Cancel(cancel) => &cancel.place,
        }
    }

    /// What the repository is asked; a Backup object stands for the backup that came of it.
    fn asked(self) -> Option<Asked> {
        Some(match self {
            Self::List(about) => Asked::List(about.question),
            Self::Info(about) => Asked::Info(about.question),
            Self::Verify(about) => Asked::Verify(about.question),
            Self::Annotate(about) => Asked::Annotate(about.question),
            Self::Expire(about) => Asked::Expire(about.question),
            Self::Delete(about) => Asked::Delete(about.question),
            Self::Rewrap(about) => Asked::Rewrap(about.question),
            Self::Cancel(_) => return None,
        })
    }
}

fn ask(verb: Verb) -> Result<(), Failure> {
    let (form, place) = (verb.place().form(), verb.place().clone());
    let Some(asked) = verb.asked() else { return Ok(()) };
    place.with(|reached| async move { tell(&reached, form, asked).await })
}

async fn tell(reached: &Reached, form: Form, mut asked: Asked) -> Result<(), Failure> {
    let objects = of::<pgherd_api::backup::Backup>(reached).await?;
    match &mut asked {
        Asked::Info(details::Details { backup }) | Asked::Verify(verify::Verify { backup }) => {
            objects.resolve(backup);
        }
        Asked::Annotate(annotate) => objects.resolve(&mut annotate.backup),
        Asked::Delete(delete) => objects.resolve(&mut delete.backup),
        Asked::List(_)
        | Asked::Expire(_)
        | Asked::Window(_)
        | Asked::Plan(_)
        | Asked::Rewrap(_)
        | Asked::Vacant(_)
        | Asked::DumpList(_)
        | Asked::DumpInfo(_)
        | Asked::DumpExpire(_)
        | Asked::DumpDelete(_) => {}
    }
    let mut told = repository::ask(reached, &asked).await?;
    match &mut told {
        Told::List(listing) => objects::add_to(listing, &objects),
        Told::Info(listed) => listed.object = objects.name(listed.id.as_deref()),
        _ => {}
    }
    told.tell(form, &|text| hint::here(text, reached))
}
