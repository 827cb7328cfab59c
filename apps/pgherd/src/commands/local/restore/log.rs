//! Has a source bring its newest log into the archive, when a restore may need that.
//!
//! Never writes to a source whose archive holds the target.

use super::super::super::repository::Opened;
use super::super::output::remark;
use pgherd_agent::recovery::plan;
use pgherd_api::agent::RecoverySpec;
use pgherd_local::client;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;
use pgherd_local::folder::ClusterFolder;
use pgherd_local::manifest::Manifest;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// For a segment that is finished on request to come into the archive.
const LOG: Duration = Duration::from_secs(30);

/// When the source is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    IfNeeded,
    /// What is archived turned out to end too early.
    Anyhow,
}

/// Whether the source was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    /// It does not run, or does not archive.
    Nobody,
    Yes,
}

/// The segment that a running source writes to may hold the target.
pub(super) async fn bring(
    ask: Ask,
    (source, kept): (&ClusterFolder, &Manifest),
    (opened, spec): (&Opened, &RecoverySpec),
) -> Result<Asked, Failure> {
    if ask == Ask::IfNeeded && !plan::needs_newest(&opened.repository, spec).await {
        return Ok(Asked::No);
    }
    if kept.checked.postgres.archive.is_none() {
        return Ok(Asked::Nobody);
    }
    let Some(supervisor) = client::present(source).await? else { return Ok(Asked::Nobody) };
    if let Err(failure) = supervisor.ask(&Request::FinishLog).await {
        remark(&format!("warning: what was written last may not be archived: {failure}"));
        return Ok(Asked::Nobody);
    }
    let until = Instant::now() + LOG;
    loop {
        let view = supervisor.view().await?;
        let status = view.primary().and_then(|primary| primary.status.as_ref());
        let archive = status.and_then(|status| status.archive.as_ref());
        if archive.is_some_and(|archive| archive.waiting == 0) {
            return Ok(Asked::Yes);
        }
        if Instant::now() >= until {
            remark("warning: the source has log that is not archived yet");
            return Ok(Asked::Yes);
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
