//! Removes the backups and the log that a policy gives up.
//!
//! Never decides which (`pgherd_core::backup::retention` does), and never leaves nothing to restore,
//! whatever the clock says.

use jiff::Timestamp;
use pgherd_backup::catalogue::{Catalogue, CatalogueError, Pruned, Repository};
use pgherd_core::backup::horizon::present;
use pgherd_core::backup::retention::{Plan, Policy, Sight, plan};
use pgherd_core::units::Moment;

/// So many backups that can be restored are kept whatever the policy says.
const AT_LEAST: u32 = 1;

/// What would be removed now.
pub async fn planned(
    repository: &Repository,
    policy: Policy,
) -> Result<(Catalogue, Plan), CatalogueError> {
    let catalogue = repository.list().await?;
    let (archive, window) = repository.window(&catalogue).await?;
    let unusable = window.unusable.into_iter().map(|one| one.backup).collect();
    let (backups, unreadable) = (catalogue.backups(), catalogue.unreadable());
    let sight = Sight {
        policy,
        at_least: AT_LEAST,
        backups: &backups,
        unusable: &unusable,
        unreadable: &unreadable,
    };
    let clock = Moment(Timestamp::now().as_microsecond());
    let plan = plan(&sight, present(clock, &archive));
    Ok((catalogue, plan))
}

/// Removes it, and says what was decided.
pub async fn apply(
    repository: &Repository,
    policy: Policy,
) -> Result<(Plan, Pruned), CatalogueError> {
    let (_, plan) = planned(repository, policy).await?;
    let pruned = repository.prune(&plan).await?;
    Ok((plan, pruned))
}
