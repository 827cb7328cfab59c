//! `pgherd inside status`: what the agent of this pod says of itself, as one line of JSON.
//!
//! Never asks another agent than the one beside it.

use super::super::output::say;
use super::agent;
use pgherd_api::agent::names;
use std::path::Path;
use std::time::Duration;

/// It answers from memory; one that takes longer is frozen or starved.
const PATIENCE: Duration = Duration::from_secs(2);

/// Print what the agent of this pod says of itself
#[derive(clap::Args)]
pub(super) struct Status {}

pub(super) async fn tell(identity: &Path) -> anyhow::Result<()> {
    let status: pgherd_api::agent::Status =
        agent::ask(identity, (names::STATUS, &()), PATIENCE).await?;
    say(&serde_json::to_string(&status)?);
    Ok(())
}
