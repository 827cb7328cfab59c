//! `pgherd restore-point`: gives the present moment a name in the log.
//!
//! Never on a standby: its log is the primary's.

use super::super::restore_point::{name, tell};
use super::place::{Place, Reached, refused};
use super::repository::forbidden;
use pgherd_agent::chain::chain;
use pgherd_api::agent::RestorePoint as Made;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::ask;
use pgherd_kubernetes::console::inside::{Conversation, InsideError};
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

/// A record of the log, on a busy disk, and a segment that is finished.
const WITHIN: Duration = Duration::from_secs(30);

/// Give the present moment a name that a restore can go back to
#[derive(clap::Args)]
#[command(after_help = "\
A restore goes there with --to-name NAME, and --backup with one that ended before it: only a cluster
with an archive has a use for it. It takes the right to create pods/exec.

Example:
  pgherd restore-point app-db before-the-release")]
pub(crate) struct RestorePoint {
    #[command(flatten)]
    pub(super) place: Place,
    /// What the moment is called
    #[arg(value_name = "POINT", value_parser = name)]
    point: String,
}

impl RestorePoint {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (form, point) = (self.place.form(), self.point);
        self.place.with(|reached| async move {
            let view = reached.look().await?;
            let primary = ask::restore_point(&view).map_err(refused)?;
            let made = make(&reached, &primary, &point).await.map_err(|error| {
                if error.is_forbidden() {
                    return forbidden(&view);
                }
                Failure::new(Kind::Failed, format!("{primary} made no restore point"))
                    .because(chain(&error).to_string())
                    .fix(view.command("explain"))
            })?;
            tell(form, (reached.cluster.as_str(), &primary), &made)
        })
    }
}

async fn make(reached: &Reached, primary: &InstanceName, point: &str) -> Result<Made, InsideError> {
    let at = (reached.namespace.as_str(), primary.to_string());
    let words = ["inside", "restore-point", "--", point];
    let mut asked = Conversation::begin(&reached.client, (at.0, &at.1), &words).await?;
    asked.hear(WITHIN).await
}
