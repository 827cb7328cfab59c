//! Deletes one backup, those that build on it, and the log that only they needed.
//!
//! Never one on hold, and never the last that can be restored.

use super::{Answer, Opened, counted};
use pgherd_core::backup::increment;
use pgherd_core::backup::retention::{Policy, RemoveRefusal, Sight, without};
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};

/// Delete one backup, those that build on it, and the log that only they needed
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Delete {
    /// Its id or name
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: String,
    /// Really
    #[arg(long)]
    yes: bool,
    /// Also the last one that can be restored
    #[arg(long)]
    force: bool,
}

/// What is gone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deleted {
    backup: String,
    /// Incremental ones that cannot be restored without it.
    #[serde(default)]
    with_it: Vec<String>,
    log_files_removed: u64,
}

impl Delete {
    pub(super) async fn answer(&self, opened: &Opened) -> Result<Deleted, Failure> {
        opened.refuse_other().await?;
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
        let with_it: Vec<String> =
            increment::dependants(&id, &backups).map(ToString::to_string).collect();
        if !self.yes {
            let what = match with_it.as_slice() {
                [] => format!("backup {id} would be deleted, and nothing brings it back"),
                more => format!(
                    "backup {id} would be deleted with {}, which need it, and nothing brings them \
                     back",
                    more.join(", ")
                ),
            };
            return Err(Failure::new(Kind::Refused, what)
                .fix(format!("pgherd local backup delete {id} --yes")));
        }
        let pruned = opened.repository.prune(&plan).await.map_err(failed)?;
        Ok(Deleted { backup: id.to_string(), with_it, log_files_removed: pruned.log })
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
        RemoveRefusal::HeldBuildsOn { held, .. } => {
            failure.fix(format!("pgherd local backup annotate {held} --release"))
        }
        RemoveRefusal::Unknown(_) | RemoveRefusal::Unreadable(_) => {
            failure.fix("pgherd local backup list")
        }
    }
}

impl Answer for Deleted {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    fn names(&self) -> Vec<String> {
        vec![format!("backup/{}", self.backup)]
    }

    fn lines(&self) -> Vec<String> {
        let files = counted(self.log_files_removed, "file");
        let with_it = match self.with_it.as_slice() {
            [] => String::new(),
            more => format!(" with {}", more.join(", ")),
        };
        vec![format!("backup/{} deleted{with_it}, and {files} of the log", self.backup)]
    }
}
