//! Breaks off a base backup.
//!
//! Never touches one that is over.

use super::super::errand::{cancel, objects};
use super::super::place::Place;
use super::super::wait::Waiting;
use pgherd_api::backup::Backup;
use pgherd_local::failure::{Failure, Kind};

/// Break off a base backup that is being taken, or waits; nothing is kept of it
#[derive(clap::Args)]
#[command(after_help = "\
Deletes the Backup object, and waits until its agent has taken back what was stored.

Examples:
  pgherd backup cancel app-db
  pgherd backup cancel app-db before-the-release")]
pub(super) struct Cancel {
    #[command(flatten)]
    pub(super) place: Place,
    /// The Backup object (default: the one that is being taken)
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Cancel {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, backup, waiting } = self;
        place.with(|reached| async move {
            let all = objects::of::<Backup>(&reached).await?.0;
            let meant = match &backup {
                Some(given) => cancel::named(&reached, &all, given)?,
                None => cancel::under_way(&all).ok_or_else(|| {
                    Failure::new(Kind::NotFound, "no base backup is being taken")
                        .fix(cancel::list::<Backup>(&reached))
                })?,
            };
            cancel::cancel(&reached, meant, (form, &waiting)).await
        })
    }
}
