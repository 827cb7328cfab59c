//! Watches the files of the log without reading the folder over and over.
//!
//! Never opens a segment: PostgreSQL may be writing to it.

use crate::postgres::wal;
use pgherd_core::units::Timeline;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Longer than the tick of any file system's clock.
const TICK: Duration = Duration::from_secs(1);

/// The names in `pg_wal`, read again only when the folder has changed.
#[derive(Debug, Default)]
pub(super) struct Files {
    changed: Option<SystemTime>,
    highest: Option<Timeline>,
}

impl Files {
    /// The highest timeline that any segment belongs to.
    pub(super) fn highest_timeline(&mut self, data: &Path) -> Option<Timeline> {
        let changed = std::fs::metadata(wal::folder(data)).and_then(|facts| facts.modified()).ok();
        if changed.is_none() || changed != self.changed {
            self.highest = wal::highest_timeline(data).ok();
            // The clock of a file system is coarse: a folder that has just changed may change
            // again within the same tick.
            let at_rest = changed.and_then(|at| at.elapsed().ok()).is_some_and(|ago| ago > TICK);
            self.changed = changed.filter(|_| at_rest);
        }
        self.highest
    }
}

/// When a segment was last written to.
pub(super) fn last_written(data: &Path) -> Option<SystemTime> {
    let entries = std::fs::read_dir(wal::folder(data)).ok()?;
    entries.filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_timeline_is_noticed() {
        let data = tempfile::tempdir().unwrap();
        let folder = wal::folder(data.path());
        std::fs::create_dir(&folder).unwrap();
        let mut files = Files::default();
        assert_eq!(files.highest_timeline(data.path()), None);
        for timeline in 1..4 {
            std::fs::write(folder.join(format!("{timeline:08X}0000000000000003")), "").unwrap();
            assert_eq!(files.highest_timeline(data.path()), Some(Timeline(timeline)));
        }
        assert!(last_written(data.path()).is_some());
    }
}
