//! Cuts off log that never was in the primary's past, where no page has come from it yet.
//!
//! A primary that dies in the middle of a record leaves the first part of it on its standbys; the next
//! timeline begins before that record. A standby whose first part fills its segment asks for the
//! next one on the old timeline, which no primary has, and `pg_rewind` finds nothing to do: the
//! record was never replayed.
//!
//! Never touches a byte before the fork, and keeps a copy of the rest.

use crate::chain::chain;
use crate::durable::{self, DurableError};
use crate::postgres::control::{self, ControlError};
use crate::postgres::lost_and_found::{self, KeepError};
use crate::postgres::site::Site;
use crate::postgres::wal::{self, Segment};
use pgherd_core::units::{Bytes, WalPosition};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tracing::{info, warn};

const PIECE: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum CutError {
    #[error("reading the size of a segment from the control file")]
    ReadControl { source: ControlError },
    #[error("finding the log behind the fork")]
    FindTail { source: KeepError },
    #[error("removing log that no primary has")]
    Remove { source: DurableError },
    #[error("clearing the end of {path:?}")]
    Clear { path: PathBuf, source: io::Error },
}

/// Removes what the log has beyond `fork` on its timeline. No server may run in the folder.
pub fn cut(site: &Site, fork: WalPosition) -> Result<(), CutError> {
    let size = control::read_file(&site.data)
        .map_err(|source| CutError::ReadControl { source })?
        .segment_size;
    let behind =
        lost_and_found::behind(site, fork).map_err(|source| CutError::FindTail { source })?;
    let holds_fork = |segment: &Segment| segment.begins(size) < fork.lsn;
    let (mut split, mut whole) = (None, Vec::new());
    for segment in behind.into_iter().filter(|segment| segment.timeline == fork.timeline) {
        if holds_fork(&segment) { split = Some(segment) } else { whole.push(segment) }
    }
    let split = match split.map(|segment| Split { segment, fork, size }) {
        Some(split) if split.has_log(site)? => Some(split),
        Some(_) | None => None,
    };
    if split.is_none() && whole.is_empty() {
        return Ok(());
    }
    match lost_and_found::keep_tail(site, fork) {
        Ok(kept) => info!(%fork, ?kept, "cutting off log that is not in the primary's past"),
        // Nobody was told that it is committed, and without the cut the instance never follows.
        Err(error) => warn!(error = %chain(&error), "log is cut off and could not be kept"),
    }
    for segment in whole.iter().rev() {
        durable::remove(&wal::path(&site.data, *segment))
            .map_err(|source| CutError::Remove { source })?;
    }
    split.map_or(Ok(()), |split| split.clear(site))
}

/// The segment in which the fork lies.
#[derive(Debug, Clone, Copy)]
struct Split {
    segment: Segment,
    fork: WalPosition,
    size: Bytes,
}

impl Split {
    /// Where in the file the rest begins.
    fn at(self) -> u64 {
        self.fork.lsn.ahead_of(self.segment.begins(self.size)).0
    }

    /// Calls `each` with every piece of the file behind the fork.
    fn pieces(self, mut each: impl FnMut(u64, usize) -> io::Result<bool>) -> io::Result<bool> {
        let mut at = self.at();
        while at < self.size.0 {
            let length = usize::try_from(self.size.0 - at).unwrap_or(PIECE).min(PIECE);
            if !each(at, length)? {
                return Ok(false);
            }
            at += length as u64;
        }
        Ok(true)
    }

    fn has_log(self, site: &Site) -> Result<bool, CutError> {
        let path = wal::path(&site.data, self.segment);
        let mut piece = vec![0; PIECE];
        let mut look = || -> io::Result<bool> {
            let file = File::open(&path)?;
            let empty = self.pieces(|at, length| {
                piece.truncate(length);
                file.read_exact_at(&mut piece, at)?;
                Ok(piece.iter().all(|byte| *byte == 0))
            })?;
            Ok(!empty)
        };
        look().map_err(|source| CutError::Clear { path: path.clone(), source })
    }

    /// In place, since the disk may be full. What a crash leaves half-cleared is found again by the
    /// next start.
    fn clear(self, site: &Site) -> Result<(), CutError> {
        let path = wal::path(&site.data, self.segment);
        let zero = vec![0; PIECE];
        let clear = || -> io::Result<()> {
            let file = File::options().write(true).open(&path)?;
            self.pieces(|at, length| {
                file.write_all_at(zero.get(..length).unwrap_or_default(), at).map(|()| true)
            })?;
            file.sync_all()
        };
        clear().map_err(|source| CutError::Clear { path: path.clone(), source })
    }
}
