//! What only a store in a folder needs: where it is, and how long its disk may take.
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
