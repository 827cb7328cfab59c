//! What only a store in a folder needs: where it is, and whether it is there.
//!
//! Never makes the folder: one that is missing may be a disk that is not mounted.

use super::{Kind, Store, Trouble};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

/// Where it is, and which one it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    path: Arc<Path>,
    device: u64,
    inode: u64,
}

impl Root {
    pub(super) fn look(folder: &Path) -> io::Result<Self> {
        let path = folder.canonicalize()?;
        let found = path.metadata()?;
        Ok(Self { path: path.into(), device: found.dev(), inode: found.ino() })
    }

    /// Whether it can be written to: what is found in place of a folder that was opened, and is
    /// empty, is where its disk was mounted.
    fn check(&self) -> io::Result<Result<(), Trouble>> {
        if !self.path.is_dir() {
            return Ok(Err(Trouble::NoFolder));
        }
        let is_same = *self == Self::look(&self.path)?;
        let has_some = is_same || self.path.read_dir()?.next().is_some();
        Ok(if has_some { Ok(()) } else { Err(Trouble::Emptied) })
    }
}

impl Store {
    pub(super) fn root(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Folder(root) => Some(&root.path),
            Kind::S3 | Kind::OtherServer => None,
        }
    }

    /// Before anything is written: all folders on the way would be made anew.
    pub(super) async fn is_there_to_write(&self) -> Result<(), Trouble> {
        let Kind::Folder(root) = &self.kind else { return Ok(()) };
        let root = root.clone();
        self.blocking(move || root.check()).await?
    }

    /// Does what may take long, and waits no longer than we have patience.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Trouble> {
        let work = tokio::task::spawn_blocking(work);
        match tokio::time::timeout(self.patience.whole(), work).await {
            Ok(Ok(done)) => done.map_err(|error| Trouble::of_file(&error)),
            Ok(Err(died)) => Err(Trouble::Other(died.to_string())),
            Err(_elapsed) => Err(Trouble::TimedOut),
        }
    }
}
