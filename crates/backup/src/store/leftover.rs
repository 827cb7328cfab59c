//! Finds and removes what uploads into a folder left behind when their process was killed.
//!
//! Never touches an object, and never asks a server: what one keeps of an unfinished upload is not
//! listed, and a rule of the bucket removes it.

use super::{Store, StoreError};
use crate::layout::Key;
use object_store::path::Path as Location;
use pgherd_core::units::{Bytes as Size, Moment};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What stands between the name of an object and the number of the attempt to write it.
const SIGN: char = '#';
/// Where an object is deeper than this, it is none of a repository.
const DEEPEST: u32 = 16;

/// A file under which an object was to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// Of the object.
    pub(crate) key: Key,
    pub(crate) size: Size,
    /// By the clock of the file system.
    pub(crate) modified: Moment,
    path: PathBuf,
}

impl Store {
    /// Those in a folder and below it; of a server none.
    pub(crate) async fn leftovers(&self, folder: &Key) -> Result<Vec<Leftover>, StoreError> {
        let Some(root) = self.root() else { return Ok(Vec::new()) };
        let (root, below) = (root.to_owned(), root.join(folder.as_str()));
        let found = self.blocking(move || {
            let mut found = Vec::new();
            look(&root, &below, DEEPEST, &mut found)?;
            Ok(found)
        });
        found.await.map_err(|trouble| self.listing(folder, trouble))
    }

    /// What its file system takes for now.
    pub(crate) async fn clock(&self, folder: &Key) -> Result<Moment, StoreError> {
        let Some(root) = self.root() else { return Ok(Moment::default()) };
        let folder_of_all = root.join(folder.as_str());
        let look = self.blocking(move || {
            // A name that no listing takes for an object; if we are killed now, it is a leftover.
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let prefix = format!("clock{SIGN}{}{}", std::process::id(), ours.as_nanos());
            let mut name = tempfile::Builder::new();
            let file = name.prefix(&prefix).rand_bytes(0).tempfile_in(folder_of_all)?;
            Ok(modified(&file.as_file().metadata()?))
        });
        look.await.map_err(|trouble| self.listing(folder, trouble))
    }

    /// Removes them, and folders that are empty then; those that are gone are no error.
    pub(crate) async fn remove_leftovers(&self, all: Vec<Leftover>) -> Result<(), StoreError> {
        let Some(root) = self.root().map(Path::to_owned) else { return Ok(()) };
        let remove = self.blocking(move || all.iter().try_for_each(|one| remove(&root, &one.path)));
        remove.await.map_err(|trouble| self.deleting(trouble))
    }

    /// Removes all that are in a folder to which nobody writes any more.
    pub(crate) async fn clear_leftovers(&self, folder: &Key) -> Result<(), StoreError> {
        let all = self.leftovers(folder).await?;
        for one in &all {
            tracing::info!(key = %one.key, size = %one.size, "what was left of it is removed");
        }
        self.remove_leftovers(all).await
    }
}

fn look(root: &Path, folder: &Path, deeper: u32, found: &mut Vec<Leftover>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() && deeper > 0 {
            look(root, &path, deeper - 1, found)?;
        }
        let Some(key) = kind.is_file().then(|| unfinished(root, &path)).flatten() else { continue };
        match entry.metadata() {
            Ok(facts) => {
                let (size, modified) = (Size(facts.len()), modified(&facts));
                found.push(Leftover { key, size, modified, path });
            }
            // Its writer has finished.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The key of the object that was to be written under this name: `NAME#1`, which no object has.
fn unfinished(root: &Path, path: &Path) -> Option<Key> {
    let (_, attempt) = path.file_name()?.to_str()?.split_once(SIGN)?;
    if attempt.is_empty() || !attempt.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (key, _) = path.strip_prefix(root).ok()?.to_str()?.rsplit_once(SIGN)?;
    Location::parse(key).ok().map(Key::from_path)
}

fn modified(facts: &Metadata) -> Moment {
    let seconds = facts.mtime().saturating_mul(1_000_000);
    Moment(seconds.saturating_add(facts.mtime_nsec() / 1000))
}

fn remove(root: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => done?,
    }
    // One that is not empty is not removed, nor is the root.
    let above = path.ancestors().skip(1).take_while(|folder| *folder != root);
    for folder in above {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_unfinished_uploads_are_found() {
        let root = Path::new("/srv/backups");
        let found = |name: &str| unfinished(root, &root.join(name)).map(|key| key.to_string());
        assert_eq!(found("db/base/a/data.tar#1").as_deref(), Some("db/base/a/data.tar"));
        assert_eq!(found("d#1/wals/a#17").as_deref(), Some("d#1/wals/a"));
        for other in ["data.tar", "data.tar#", "data.tar#1a", "d#1/data.tar", "#", "a#b#1"] {
            assert_eq!(found(other), None, "{other}");
        }
        assert_eq!(unfinished(root, Path::new("/srv/other/data.tar#1")), None);
    }
}
