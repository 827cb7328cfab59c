//! `pgherd inside dump`: asks the agent of this pod to restore from a dump, or to break off what it does.
//!
//! Never follows it: the agent's status tells how it goes.

use super::super::output::say;
use super::{agent, question};
use pgherd_api::agent::{DumpNamed, DumpReport, DumpRestoreOrder, names};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// An agent answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Read a question about dumps from stdin, and print what the agent of this pod says
#[derive(clap::Args)]
pub(super) struct Dump {}

/// What the agent is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Asked {
    Restore(DumpRestoreOrder),
    Cancel(DumpNamed),
}

pub(super) async fn tell(identity: &Path) -> anyhow::Result<()> {
    let (asked, _gone) = question::read().await?;
    let said: Option<DumpReport> = match asked {
        Asked::Restore(order) => {
            agent::ask(identity, (names::DUMP_RESTORE, &order), PATIENCE).await?
        }
        Asked::Cancel(named) => {
            agent::ask(identity, (names::DUMP_CANCEL, &named), PATIENCE).await?
        }
    };
    say(&serde_json::to_string(&said)?);
    Ok(())
}
