//! What only a store in a folder needs: where it is, and whether it is there.
//!
//! Never makes the folder: one that is missing may be a disk that is not mounted.

use super::{Kind, Store, Trouble};
use std::io;
use std::path::Path;

impl Store {
    pub(super) fn root(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Folder(root) => Some(root),
            Kind::S3 | Kind::OtherServer => None,
        }
    }

    /// Before anything is written: all folders on the way would be made anew.
    pub(super) async fn is_there_to_write(&self) -> Result<(), Trouble> {
        let Some(root) = self.root() else { return Ok(()) };
        let root = root.to_owned();
        let is_there = self.blocking(move || Ok(root.is_dir())).await?;
        if is_there { Ok(()) } else { Err(Trouble::NoFolder) }
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
