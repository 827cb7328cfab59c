//! The folder where files lie on their way between PostgreSQL's programs and the archive.
//!
//! Never lets it fill the disk that PostgreSQL writes to.

use crate::postgres::folder::{self, FolderError};
use crate::postgres::site::Site;
use crate::process::tree::{Reaper, TreeError};
use pgherd_core::units::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is left to PostgreSQL whatever happens.
pub(super) const RESERVE: Bytes = Bytes(1 << 30);
const SWEEP: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    #[error("preparing the folder that files pass through")]
    Prepare(#[source] FolderError),
    #[error("ending a program that an interrupted dump left")]
    Sweep(#[source] TreeError),
    #[error("ending a program that an interrupted dump left took longer than {SWEEP:?}")]
    SweepLate,
    #[error("using {path:?}")]
    Use { path: PathBuf, source: io::Error },
    #[error(
        "{needed} may pass through {path:?}, and {free} are free there, of which {RESERVE} are left \
         to PostgreSQL: use --format custom with one job, or make room"
    )]
    NoRoom { path: PathBuf, needed: Bytes, free: Bytes },
    #[error(
        "{path:?} has only {free} left, less than is left to PostgreSQL: use --format custom, which \
         needs no room, or make room"
    )]
    Full { path: PathBuf, free: Bytes },
    #[error("{program} left something in {path:?} that is no file of a dump: {name:?}")]
    Strange { program: &'static str, path: PathBuf, name: String },
}

/// An empty folder for PostgreSQL's programs. It is removed with this.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
}

impl Spool {
    pub(super) async fn make(path: &Path, site: &Site) -> Result<Self, SpoolError> {
        clear(path).await?;
        for path in path.parent().into_iter().chain([path]) {
            folder::make_private(path, site.owner).map_err(SpoolError::Prepare)?;
        }
        Ok(Self { path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails when there is not enough room for so much.
    pub(super) fn check_room(&self, needed: Bytes) -> Result<(), SpoolError> {
        let free = free(&self.path)?;
        if free.0 >= needed.0.saturating_add(RESERVE.0) {
            return Ok(());
        }
        Err(SpoolError::NoRoom { path: self.path.clone(), needed, free })
    }

    /// Fails when PostgreSQL's part is touched.
    pub(super) fn check_reserve(&self) -> Result<(), SpoolError> {
        let free = free(&self.path)?;
        if free >= RESERVE {
            return Ok(());
        }
        Err(SpoolError::Full { path: self.path.clone(), free })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = folder::remove_tree(&self.path) {
            tracing::warn!(%error, "files of a dump are left until the next one");
        }
    }
}

/// Ends whatever still works there, and removes it.
pub(super) async fn clear(path: &Path) -> Result<(), SpoolError> {
    if !path.exists() {
        return Ok(());
    }
    let folder = path.to_owned();
    let sweep = move || Reaper::new(&folder)?.kill(None, SWEEP);
    let swept = tokio::task::spawn_blocking(sweep).await;
    swept.map_err(|_| SpoolError::SweepLate)?.map_err(SpoolError::Sweep)?;
    folder::remove_tree(path).map_err(SpoolError::Prepare)
}

fn free(path: &Path) -> Result<Bytes, SpoolError> {
    let found = rustix::fs::statvfs(path)
        .map_err(|errno| SpoolError::Use { path: path.to_owned(), source: errno.into() })?;
    Ok(Bytes(found.f_bavail.saturating_mul(found.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_room_for_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool { path: folder.path().join("spool") };
        std::fs::create_dir(spool.path()).unwrap();
        let refused = spool.check_room(Bytes(u64::MAX / 2)).unwrap_err();
        assert!(matches!(refused, SpoolError::NoRoom { .. }), "{refused}");
    }
}
