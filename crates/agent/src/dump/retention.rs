//! Removes the dumps that a policy gives up.
//!
//! Never decides which (`pgherd_core::dump` does), and none whose description cannot be understood.

use jiff::Timestamp;
use pgherd_backup::dump::{DumpError, Dumps};
use pgherd_core::backup::BackupId;
use pgherd_core::backup::retention::Policy;
use pgherd_core::dump::{Fate, retained};
use pgherd_core::units::Moment;

/// What would become of each dump now.
pub async fn planned(dumps: &Dumps, policy: Policy) -> Result<Vec<(BackupId, Fate)>, DumpError> {
    let found = dumps.list().await?;
    let known = found.iter().filter_map(|it| Some(it.description.as_ref().ok()?.dump(&it.id)));
    let known: Vec<_> = known.collect();
    Ok(retained(policy, &known, Moment(Timestamp::now().as_microsecond())))
}

/// Removes what is given up, and tells what that was.
pub async fn apply(dumps: &Dumps, plan: &[(BackupId, Fate)]) -> Result<Vec<BackupId>, DumpError> {
    let mut removed = Vec::new();
    for (id, fate) in plan {
        match fate {
            Fate::Kept(_) => {}
            Fate::Removed(_) => {
                dumps.remove(id).await?;
                removed.push(id.clone());
            }
        }
    }
    Ok(removed)
}
