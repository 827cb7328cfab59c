//! Looks what an incremental backup can build on.
//!
//! Never decides it (`pgherd_core::backup::increment` does), and reads the log's names only if the
//! timeline makes that necessary.

use pgherd_api::agent::Incremental;
use pgherd_backup::catalogue::{CatalogueError, Repository};
use pgherd_core::backup::BackupId;
use pgherd_core::backup::increment::{Sight, WhyFull, base};
use pgherd_core::units::Timeline;
use std::collections::BTreeMap;

/// The newest backup that is whole and of this server's past, or why there is none.
pub(super) async fn find(
    repository: &Repository,
    wanted: Incremental,
    timeline: Timeline,
) -> Result<Result<BackupId, WhyFull>, CatalogueError> {
    let catalogue = repository.list().await?;
    let backups = catalogue.backups();
    let found = |forks: &BTreeMap<_, _>| {
        let full_every = wanted.full_every;
        base(&Sight { backups: &backups, forks, timeline, full_every })
    };
    match found(&BTreeMap::new()) {
        Err(WhyFull::OtherPast { .. }) => {}
        found => return Ok(found),
    }
    let log = repository.log(catalogue.segment_size()).await?;
    Ok(found(&log.forks))
}
