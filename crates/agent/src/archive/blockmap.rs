//! Stores which pages a segment changes, once the segment is stored.
//!
//! Never holds up the archive: without a map an incremental backup finds out otherwise, and takes
//! longer.

use super::opened::Opened;
use crate::chain::chain;
use pgherd_backup::wal::Mapped;
use pgherd_core::wal::WalFile;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{debug, info};

/// Maps that are on their way; those beyond are dropped.
pub(super) const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn keep(opened: &Opened, file: WalFile, mapped: Mapped) {
    let map = match mapped {
        None => return,
        Some(Ok(map)) => map,
        Some(Err(why)) => return info!(%file, %why, "which pages it changes is not known"),
    };
    let Ok(_permit) = opened.maps.try_acquire() else {
        return info!(%file, "its map is not stored: others take too long");
    };
    match timeout(PATIENCE, opened.archive.put_map(map)).await {
        Ok(Ok(())) => debug!(%file, "its map is stored"),
        Ok(Err(error)) => info!(%file, error = %chain(&error), "its map is not stored"),
        Err(_elapsed) => info!(%file, "its map is not stored in time"),
    }
}
