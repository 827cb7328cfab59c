//! Keeps the part of the log that a rewind cuts off, for people to look into.
//!
//! Never fills the disk, and never keeps more than a few of them.

use crate::postgres::clone::free_space;
use crate::postgres::control::{self, ControlError};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::site::Site;
use crate::postgres::wal::{self, Segment, WalError};
use crate::process::owner::Owner;
use pgherd_core::units::{Bytes, Lsn, WalPosition};
use std::io;
use std::path::{Path, PathBuf};

/// How many tails are kept; the oldest go first.
const KEPT: usize = 4;
/// The part of the free space that a tail may take.
const SHARE: u64 = 4;

/// What became of the tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    In(PathBuf),
    /// There was none.
    Nothing,
    /// It would have taken too much of the disk.
    TooLarge(Bytes),
}

#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("reading the control file")]
    ReadControl { source: ControlError },
    #[error("listing the log")]
    ListLog { source: WalError },
    #[error("preparing the folder for it")]
    PrepareFolder { source: FolderError },
    #[error("copying {path:?}")]
    CopySegment { path: PathBuf, source: io::Error },
    #[error("listing what was kept earlier in {path:?}")]
    ListKept { path: PathBuf, source: io::Error },
}

/// Copies the segments that hold log behind `fork`, on its timeline or on one begun here later.
pub fn keep_tail(site: &Site, fork: WalPosition) -> Result<Kept, KeepError> {
    let tail = behind(site, fork)?;
    if tail.is_empty() {
        return Ok(Kept::Nothing);
    }
    let size = segment_size(site)?;
    let total = Bytes(size.0.saturating_mul(tail.len() as u64));
    if free_space(&site.base).is_none_or(|free| total.0 > free.0 / SHARE) {
        return Ok(Kept::TooLarge(total));
    }
    let name =
        format!("timeline-{}-from-{}", fork.timeline, fork.lsn.to_string().replace('/', "-"));
    let into = site.lost_and_found().join(name);
    copy(site, &tail, &into)?;
    forget_oldest(&site.lost_and_found())?;
    Ok(Kept::In(into))
}

/// The segments that hold log behind `fork`, on its timeline or on one begun here later.
pub fn behind(site: &Site, fork: WalPosition) -> Result<Vec<Segment>, KeepError> {
    let size = segment_size(site)?;
    let segments = wal::segments(&site.data).map_err(|source| KeepError::ListLog { source })?;
    Ok(segments.into_iter().filter(|s| is_behind(&site.data, *s, fork, size)).collect())
}

fn segment_size(site: &Site) -> Result<Bytes, KeepError> {
    let control = control::read_file(&site.data);
    Ok(control.map_err(|source| KeepError::ReadControl { source })?.segment_size)
}

/// Segments that are only kept for reuse begin with log of an earlier time.
fn is_behind(data: &Path, segment: Segment, fork: WalPosition, size: Bytes) -> bool {
    let end = WalPosition {
        timeline: segment.timeline,
        lsn: Lsn(segment.begins(size).0.saturating_add(size.0)),
    };
    end > fork && first_page(data, segment) == Some(segment.begins(size))
}

/// The position that the first page of a segment claims for itself.
fn first_page(data: &Path, segment: Segment) -> Option<Lsn> {
    use std::os::unix::fs::FileExt;
    let mut header = [0; 16];
    wal::open(data, &segment.to_string()).ok()?.read_exact_at(&mut header, 0).ok()?;
    wal::claimed(&header)
}

fn copy(site: &Site, tail: &[Segment], into: &Path) -> Result<(), KeepError> {
    let prepare = |source| KeepError::PrepareFolder { source };
    folder::make_private(&site.lost_and_found(), site.owner).map_err(prepare)?;
    folder::make_private(into, site.owner).map_err(prepare)?;
    for segment in tail {
        let path = wal::path(&site.data, *segment);
        let to = into.join(segment.to_string());
        let attempt = || -> io::Result<()> {
            std::fs::copy(&path, &to)?;
            if let Some(Owner { user, group }) = site.owner {
                std::os::unix::fs::chown(&to, Some(user), Some(group))?;
            }
            Ok(())
        };
        attempt().map_err(|source| KeepError::CopySegment { path: path.clone(), source })?;
    }
    Ok(())
}

fn forget_oldest(folder: &Path) -> Result<(), KeepError> {
    let list = || -> io::Result<Vec<_>> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            kept.push((entry.metadata()?.modified()?, entry.path()));
        }
        kept.sort();
        Ok(kept)
    };
    let kept = list().map_err(|source| KeepError::ListKept { path: folder.to_owned(), source })?;
    for (_, path) in kept.iter().take(kept.len().saturating_sub(KEPT)) {
        folder::remove_tree(path).map_err(|source| KeepError::PrepareFolder { source })?;
    }
    Ok(())
}
