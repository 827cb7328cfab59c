//! Removes the segments of a timeline that a promotion prepared and never began.
//!
//! PostgreSQL makes the first segment of a new timeline before the history that says where it
//! begins. If it dies between the two, the folder seems to have log of a timeline that nothing is
//! known about.
//!
//! Never removes a byte of log: such a segment is a copy of its predecessor up to where the log
//! ended. From there it is zero, or repeats the last page of the copy, which then claims another
//! position than it has (seen with PostgreSQL 15.18).

use crate::durable::{self, DurableError};
use crate::postgres::control::{self, ControlError};
use crate::postgres::wal::history::{self, HistoryError};
use crate::postgres::wal::{self, PAGE, Segment, WalError};
use pgherd_core::units::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tracing::{info, warn};

#[derive(Debug, thiserror::Error)]
pub enum UnbegunError {
    #[error("listing the log")]
    ListLog { source: WalError },
    #[error("reading the history of the newest timeline")]
    ReadHistory { source: HistoryError },
    #[error("reading the timeline from the control file")]
    ReadControl { source: ControlError },
    #[error("looking whether there is log in {path:?}")]
    Look { path: PathBuf, source: io::Error },
    #[error("removing a segment of a timeline that was never begun")]
    Remove { source: DurableError },
}

/// No server may run in the folder.
pub fn remove(data: &Path) -> Result<(), UnbegunError> {
    let segments = wal::segments(data).map_err(|source| UnbegunError::ListLog { source })?;
    let Some(newest) = segments.last().map(|segment| segment.timeline) else { return Ok(()) };
    let history =
        history::read(data, newest).map_err(|source| UnbegunError::ReadHistory { source })?;
    if history.and_then(|history| history.begins()).is_some() {
        return Ok(());
    }
    let control =
        control::read_file(data).map_err(|source| UnbegunError::ReadControl { source })?;
    // The folder may have come here on this timeline without the history of it.
    if newest <= control.checkpoint.timeline.max(control.minimum_recovery_timeline) {
        return Ok(());
    }
    let (unbegun, others): (Vec<_>, Vec<_>) =
        segments.into_iter().partition(|segment| segment.timeline == newest);
    for segment in &unbegun {
        let copied = others.iter().rfind(|other| other.is_ancestor_of(*segment));
        if !is_empty(data, *segment, copied.copied(), control.segment_size)? {
            warn!(%segment, "there is log of a timeline whose history is missing");
            return Ok(());
        }
    }
    for segment in unbegun.iter().rev() {
        durable::remove(&wal::path(data, *segment))
            .map_err(|source| UnbegunError::Remove { source })?;
        info!(%segment, "removed what a promotion left that began nothing");
    }
    Ok(())
}

/// Whether a segment has no log that `copied` does not have.
fn is_empty(
    data: &Path,
    segment: Segment,
    copied: Option<Segment>,
    size: Bytes,
) -> Result<bool, UnbegunError> {
    let path = wal::path(data, segment);
    let look = || -> io::Result<bool> {
        let mut file = File::open(&path)?;
        let mut original = copied.map(|copied| File::open(wal::path(data, copied))).transpose()?;
        let [mut page, mut same] = [Vec::new(), Vec::new()];
        let mut at = segment.begins(size);
        while read(&mut file, &mut page)? > 0 {
            same.clear();
            if let Some(original) = &mut original {
                read(original, &mut same)?;
            }
            let shared = page.iter().zip(&same).take_while(|(one, other)| one == other).count();
            if shared < page.len() {
                original = None;
            }
            let cleared = page.iter().skip(shared).all(|byte| *byte == 0);
            if !cleared && wal::claimed(&page) == Some(at) {
                return Ok(false);
            }
            at.0 += PAGE;
        }
        Ok(true)
    };
    look().map_err(|source| UnbegunError::Look { path: path.clone(), source })
}

fn read(file: &mut File, page: &mut Vec<u8>) -> io::Result<usize> {
    page.clear();
    file.take(PAGE).read_to_end(page)
}
