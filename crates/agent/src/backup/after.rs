//! Does what follows a completed backup: others may be superfluous now, and what can be gone back to
//! is another.
//!
//! Never fails the backup: what goes wrong here is told, and the backup is there.

use super::retention;
use crate::chain::chain;
use jiff::Timestamp;
use pgherd_api::agent::BackupReport;
use pgherd_backup::catalogue::{CatalogueError, Repository};
use pgherd_core::backup::retention::{Fate, Keep, Policy};
use tokio::sync::watch;
use tracing::{info, warn};

/// The new backup may make others superfluous.
pub(super) async fn retain(
    repository: &Repository,
    policy: Option<&str>,
    tell: &watch::Sender<BackupReport>,
) {
    let Some(Ok(policy)) = policy.map(Policy::parse) else { return };
    match retention::apply(repository, policy).await {
        Ok((plan, pruned)) => {
            let leap = plan.backups.iter().find_map(|(_, fate)| match fate {
                Fate::Kept(Keep::Doubtful(leap)) => Some(leap),
                Fate::Kept(_) | Fate::Removed(_) => None,
            });
            let leap = leap.map(|leap| {
                format!(
                    "old backups stay: they are before the window only if the time {leap} went by, \
                     in which no backup ended; if a clock was wrong then, set it"
                )
            });
            tell.send_modify(|report| {
                report.retained = Some(Timestamp::now());
                report.warnings.extend(leap);
            });
            if pruned.backups.is_empty() && pruned.log == 0 {
                return;
            }
            let backups: Vec<_> = pruned.backups.iter().map(ToString::to_string).collect();
            info!(?backups, log = pruned.log, "what retention gives up is removed");
        }
        Err(error) => {
            let why = format!("retention was not applied: {}", chain(&error));
            warn!(why, "old backups stay");
            tell.send_modify(|report| report.warnings.push(why));
        }
    }
}

/// Uploads that were killed left what nobody needs.
pub(super) async fn clear_away(repository: &Repository, tell: &watch::Sender<BackupReport>) {
    if let Err(error) = repository.sweep().await {
        let why = chain(&error).to_string();
        warn!(why, "what killed uploads left stays");
        tell.send_modify(|report| report.warnings.push(why));
    }
}

/// From when on the cluster can be recovered now.
pub(super) async fn look_back(repository: &Repository, tell: &watch::Sender<BackupReport>) {
    match first(repository).await {
        Ok(since) => tell.send_modify(|report| report.recoverable_since = since),
        Err(error) => {
            let why = chain(&error).to_string();
            warn!(why, "how far back recovery is possible is not known");
        }
    }
}

async fn first(repository: &Repository) -> Result<Option<Timestamp>, CatalogueError> {
    let catalogue = repository.list().await?;
    let (_, window) = repository.window(&catalogue).await?;
    let first = window.intervals.iter().map(|interval| interval.since).min();
    Ok(first.and_then(|at| Timestamp::from_microsecond(at.0).ok()))
}
