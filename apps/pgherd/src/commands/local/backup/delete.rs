//! Deletes one backup, and the log that only it needed.
//!
//! Never one on hold, and never the last that can be restored.

use super::super::output::say_either;
use super::super::place::Place;
use super::super::repository;
use pgherd_core::backup::retention::{Policy, RemoveRefusal, Sight, without};
use pgherd_local::failure::{Failure, Kind};

/// Delete one backup, and the log that only it needed
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local backup delete 20261122T112233 --yes")]
pub(super) struct Delete {
    /// Its id or name
    #[arg(value_name = "BACKUP")]
    backup: String,
    /// Really
    #[arg(long)]
    yes: bool,
    /// Also the last one that can be restored
    #[arg(long)]
    force: bool,
}

impl Delete {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            opened.refuse_other(&folder).await?;
            let failed = |error| opened.failed(&error);
            let (catalogue, id) = opened.find(&self.backup).await?;
            let (_, window) = opened.repository.window(&catalogue).await.map_err(failed)?;
            let unusable = window.unusable.into_iter().map(|one| one.backup).collect();
            let (backups, unreadable) = (catalogue.backups(), catalogue.unreadable());
            let sight = Sight {
                policy: Policy::Count(1),
                at_least: u32::from(!self.force),
                backups: &backups,
                unusable: &unusable,
                unreadable: &unreadable,
            };
            let plan = without(&id, &sight).map_err(|refusal| refused(&refusal))?;
            if !self.yes {
                let what = format!("backup {id} would be deleted, and nothing brings it back");
                return Err(Failure::new(Kind::Refused, what)
                    .fix(format!("pgherd local backup delete {id} --yes")));
            }
            let pruned = opened.repository.prune(&plan).await.map_err(failed)?;
            let sentence = format!("backup/{id} deleted, and {} files of the log", pruned.log);
            let document = serde_json::json!({ "backup": id, "logFilesRemoved": pruned.log });
            say_either(output, &sentence, &document)
        })
    }
}

fn refused(refusal: &RemoveRefusal) -> Failure {
    let failure = Failure::new(Kind::Refused, refusal.to_string());
    match refusal {
        RemoveRefusal::Last(id) => {
            failure.fix(format!("pgherd local backup, or pgherd local backup delete {id} --force"))
        }
        RemoveRefusal::OnHold(id) => {
            failure.fix(format!("pgherd local backup annotate {id} --release"))
        }
        RemoveRefusal::Unknown(_) | RemoveRefusal::Unreadable(_) => {
            failure.fix("pgherd local backup list")
        }
    }
}
