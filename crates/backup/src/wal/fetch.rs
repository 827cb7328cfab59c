//! Fetches a file of the log for a recovery.
//!
//! Never puts a file in place that is not whole, and never a partial one while there is a whole.

use super::header::{self, Damage, Header};
use super::unpack::{Failed, unpack};
use super::{Archive, WalError};
use crate::compression::Compression;
use crate::layout::Key;
use crate::store::{Retry, StoreError};
use pgherd_core::units::Bytes as Size;
use pgherd_core::wal::WalFile;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    Whole {
        key: Key,
        size: Size,
    },
    /// What was complete of it when its timeline ended.
    Partial {
        key: Key,
        size: Size,
    },
    /// It is not in the repository: PostgreSQL takes that for the end of the log.
    Absent,
}

/// Whether a partial segment may stand in for one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partials {
    Never,
    WhenAlone,
}

const LARGEST_TEXT: u64 = 16 << 20;

impl Archive {
    /// Puts the file in place, durable and checked, or leaves nothing there.
    pub async fn fetch(
        &self,
        file: WalFile,
        partials: Partials,
        target: &Path,
    ) -> Result<Fetched, WalError> {
        let found = self.look(file, partials, target).await?;
        if found != Fetched::Absent || self.witnesses.is_empty() {
            return Ok(found);
        }
        self.hear_witnesses().await.map_err(|source| WalError::Fetch { file, source })?;
        // The repository may have come back after we had looked.
        self.look(file, partials, target).await
    }

    async fn hear_witnesses(&self) -> Result<(), StoreError> {
        let mut last = Ok(());
        for witness in self.witnesses.iter() {
            if self.store.head(witness).await?.is_some() {
                return Ok(());
            }
            last = Err(self.store.gone(witness));
        }
        last
    }

    async fn look(
        &self,
        file: WalFile,
        partials: Partials,
        target: &Path,
    ) -> Result<Fetched, WalError> {
        let last = *self.seen();
        let guessed = self.layout.wal(file, last);
        if let Some(size) = self.take(file, &guessed, target).await? {
            return Ok(Fetched::Whole { key: guessed, size });
        }
        let listed = self.store.folder(&self.layout.wal_folder(file)).await;
        let listed = listed.map_err(|source| WalError::Fetch { file, source })?;
        let there = |file| {
            let keys = Compression::ALL.map(|one| (self.layout.wal(file, one), one));
            let is_there = |key: &Key| listed.objects.iter().any(|object| object.key == *key);
            keys.into_iter().find(|(key, _)| is_there(key))
        };
        if let Some((key, compression)) = there(file) {
            *self.seen() = compression;
            let size = self.take_listed(file, &key, target).await?;
            return Ok(Fetched::Whole { key, size });
        }
        let partial = match (partials, file) {
            (Partials::WhenAlone, WalFile::Segment(segment)) => there(WalFile::Partial(segment)),
            (Partials::Never | Partials::WhenAlone, _) => None,
        };
        let Some((key, _)) = partial else { return Ok(Fetched::Absent) };
        let size = self.take_listed(file, &key, target).await?;
        Ok(Fetched::Partial { key, size })
    }

    /// What was listed a moment ago and is not there is no end of the log.
    async fn take_listed(&self, file: WalFile, key: &Key, target: &Path) -> Result<Size, WalError> {
        let size = self.take(file, key, target).await?;
        size.ok_or_else(|| WalError::Fetch { file, source: self.store.vanished(key) })
    }

    /// Fetches this object; one more time if it broke on the way.
    async fn take(
        &self,
        file: WalFile,
        key: &Key,
        target: &Path,
    ) -> Result<Option<Size>, WalError> {
        match self.take_once(file, key, target).await {
            Err(failed) if failed.passes() == Retry::Soon => {
                tracing::info!(%file, "fetching once more");
                self.take_once(file, key, target).await
            }
            done => done,
        }
        .map_err(|failed| match failed {
            Failed::OnTheWay(source) => WalError::Fetch { file, source },
            Failed::Inside(error) => error,
        })
    }

    async fn take_once(
        &self,
        file: WalFile,
        key: &Key,
        target: &Path,
    ) -> Result<Option<Size>, Failed> {
        let opened: Result<_, StoreError> = self.store.stream(key).await;
        let Some((_, packed)) = opened.map_err(Failed::OnTheWay)? else { return Ok(None) };
        let (_, compression) = Compression::of(key.name());
        let expected = self.expected(file);
        let (stored, target) = (key.clone(), target.to_owned());
        let write = move |unpacked: &mut dyn Read| {
            let damaged = |source| WalError::Damaged { stored: stored.clone(), source };
            let broken = |source| WalError::Unpack { stored: stored.clone(), source };
            let mut begin = Vec::with_capacity(header::LENGTH);
            let most = header::LENGTH as u64;
            Read::take(&mut *unpacked, most).read_to_end(&mut begin).map_err(broken)?;
            let size = match expected {
                Some(expected) => {
                    let header = Header::read(&begin).map_err(damaged)?;
                    header.check(&expected).map_err(damaged)?;
                    Some(header.size.bytes())
                }
                None => None,
            };
            let limit = size.map_or(LARGEST_TEXT, |size| size.0);
            let mut draft = Draft::beside(&target)?;
            let rest = limit.saturating_sub(begin.len() as u64) + 1;
            let written = draft.fill(&mut begin.as_slice().chain(unpacked.take(rest)), &stored)?;
            match size {
                Some(said) if written != said => {
                    Err(damaged(Damage::Size { found: written, said }))
                }
                None if written.0 > limit => Err(damaged(Damage::TooLarge(written))),
                Some(_) | None => draft.publish().map(|()| written),
            }
        };
        unpack(packed, compression, write, key).await.map(Some)
    }
}

/// A file that is not in place yet; it goes away unless it is published.
pub(super) struct Draft {
    file: tempfile::NamedTempFile,
    folder: PathBuf,
    target: PathBuf,
}

impl Draft {
    pub(super) fn beside(target: &Path) -> Result<Self, WalError> {
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let file = tempfile::Builder::new().prefix(".pgherd-").tempfile_in(&folder);
        let file = file.map_err(|source| WalError::Write { path: target.to_owned(), source })?;
        Ok(Self { file, folder, target: target.to_owned() })
    }

    fn fill(&mut self, content: &mut dyn Read, stored: &Key) -> Result<Size, WalError> {
        let mut block = vec![0; 1 << 17];
        let mut written = 0;
        loop {
            let length = match content.read(&mut block) {
                Ok(0) => return Ok(Size(written)),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(WalError::Unpack { stored: stored.clone(), source }),
            };
            let piece = block.get(..length).unwrap_or_default();
            let done = self.file.as_file_mut().write_all(piece);
            done.map_err(|source| WalError::Write { path: self.target.clone(), source })?;
            written += length as u64;
        }
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// On disk first, then under its name, and the name on disk.
    pub(super) fn publish(self) -> Result<(), WalError> {
        let failed = |source| WalError::Write { path: self.target.clone(), source };
        self.file.as_file().sync_all().map_err(failed)?;
        self.file.persist(&self.target).map_err(|error| failed(error.error))?;
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| WalError::Write { path: self.target.clone(), source })
    }
}

#[cfg(test)]
mod tests;
