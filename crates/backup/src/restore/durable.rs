//! Brings what was written to the disk while more is written, and all of it in the end.
//!
//! Never says that something is on disk before the disk says so.

use super::RestoreError;
use super::place::Place;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So much is written before the disk is asked to take it, so that little is left for the end.
const AT_ONCE: u64 = 256 << 20;

/// The file systems that are written to. They are open from the start, so that no error of theirs
/// is missed.
pub(super) struct Disks {
    roots: Vec<(PathBuf, File)>,
    written: AtomicU64,
    busy: tokio::sync::Mutex<()>,
}

impl Disks {
    pub(super) fn open(place: &Place) -> Result<Arc<Self>, RestoreError> {
        let open = |path: &PathBuf| match File::open(path) {
            Ok(file) => Ok((path.clone(), file)),
            Err(source) => Err(RestoreError::Write { path: path.clone(), source }),
        };
        let roots = place.roots().map(open).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self { roots, written: AtomicU64::new(0), busy: tokio::sync::Mutex::new(()) }))
    }

    /// So much more was written. Whoever makes it enough for the disk waits for that.
    pub(super) async fn wrote(self: &Arc<Self>, bytes: u64) -> Result<(), RestoreError> {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / AT_ONCE == (before + bytes) / AT_ONCE {
            return Ok(());
        }
        // One at a time is enough: it takes everything.
        let Ok(_alone) = self.busy.try_lock() else { return Ok(()) };
        self.sync().await
    }

    /// Waits until all that was written is on disk, folders included.
    pub(super) async fn sync(self: &Arc<Self>) -> Result<(), RestoreError> {
        let disks = Arc::clone(self);
        let synced = tokio::task::spawn_blocking(move || {
            let sync = |(path, root): &(PathBuf, File)| match rustix::fs::syncfs(root) {
                Ok(()) => Ok(()),
                Err(errno) => Err(RestoreError::Write { path: path.clone(), source: errno.into() }),
            };
            disks.roots.iter().try_for_each(sync)
        });
        synced.await.map_err(|_died| RestoreError::WorkerLost(crate::workers::WorkerLost))?
    }
}

/// Makes the change to a folder's names durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), RestoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| RestoreError::Write { path: folder.to_path_buf(), source })
}
