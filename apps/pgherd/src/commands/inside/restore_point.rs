//! `pgherd inside restore-point`: makes a restore point on the primary of this pod.
//!
//! Never on a standby: its agent refuses.

use super::super::output::say;
use super::agent;
use pgherd_api::agent::{RestorePoint as Made, RestorePointOrder, names};
use std::path::Path;
use std::time::Duration;

/// A record of the log, and a segment that is finished.
const PATIENCE: Duration = Duration::from_secs(25);

/// Make a restore point, and print where it is
#[derive(clap::Args)]
pub(super) struct RestorePoint {
    #[arg(value_name = "NAME")]
    name: String,
}

impl RestorePoint {
    pub(super) async fn make(self, identity: &Path) -> anyhow::Result<()> {
        let order = RestorePointOrder { name: self.name };
        let made: Made = agent::ask(identity, (names::RESTORE_POINT, &order), PATIENCE).await?;
        say(&serde_json::to_string(&made)?);
        Ok(())
    }
}
