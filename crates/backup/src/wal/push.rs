//! Stores a file of the log, durably and once.
//!
//! Never stores a segment whose header does not fit its name, and never takes what is stored for
//! the same without having compared it.

use super::header::{self, Damage, Header};
use super::{Archive, WalError};
use crate::blockmap::{SegmentMap, Unreadable, Walk};
use crate::compression::Compression;
use crate::layout::Key;
use crate::store::Created;
use bytes::Bytes;
use pgherd_core::units::Bytes as Size;
use pgherd_core::wal::WalFile;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    Now {
        key: Key,
        size: Size,
        packed: Size,
    },
    /// The same content was stored before: the attempt is a repetition.
    Before {
        key: Key,
    },
}

/// Histories and labels have a few lines.
const LARGEST_TEXT: u64 = 1 << 20;

/// Which pages a segment changes, or why that is not known. Other files have none.
pub type Mapped = Option<Result<SegmentMap, Unreadable>>;

/// Whether the blocks that a segment changes are noted while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    Noted,
    Ignored,
}

/// What was read of a file.
struct Packed {
    bytes: Bytes,
    size: Size,
    mapped: Mapped,
}

impl Archive {
    /// Returns once the file is durable in the repository. Repeating it changes nothing.
    pub async fn push(&self, file: WalFile, path: &Path) -> Result<Pushed, WalError> {
        self.store_file(file, path, Blocks::Ignored).await.map(|(pushed, _)| pushed)
    }

    /// The same, and says which pages a segment changes: it is read anyhow.
    pub async fn push_and_map(
        &self,
        file: WalFile,
        path: &Path,
    ) -> Result<(Pushed, Mapped), WalError> {
        self.store_file(file, path, Blocks::Noted).await
    }

    async fn store_file(
        &self,
        file: WalFile,
        path: &Path,
        blocks: Blocks,
    ) -> Result<(Pushed, Mapped), WalError> {
        let unreadable = |source| WalError::Read { path: path.to_owned(), source };
        let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
        let _held = self.memory(size).await?;
        let Packed { bytes, size, mapped } = self.pack(file, path, blocks).await?;
        let pushed = self.create(file, path, (bytes, size)).await?;
        Ok((pushed, mapped))
    }

    async fn create(
        &self,
        file: WalFile,
        path: &Path,
        (packed, size): (Bytes, Size),
    ) -> Result<Pushed, WalError> {
        let key = self.layout.wal(file, self.settings.compression);
        if let Some(other) = self.packed_otherwise(file, &key).await? {
            let compared = self.compared(file, path, other).await;
            if compared.is_err() {
                // It may be gone by now.
                *self.shared.neighbours.lock().await = None;
            }
            return compared;
        }
        let length = Size(packed.len() as u64);
        let created = self.store.create(&key, packed).await;
        match created.map_err(|source| WalError::Push { file, source })? {
            Created::Now => Ok(Pushed::Now { key, size, packed: length }),
            Created::WasThere => self.compared(file, path, key).await,
        }
    }

    async fn pack(&self, file: WalFile, path: &Path, blocks: Blocks) -> Result<Packed, WalError> {
        let (archive, path) = (self.clone(), path.to_owned());
        self.compute(move || archive.pack_here(file, &path, blocks)).await?
    }

    fn pack_here(&self, file: WalFile, path: &Path, blocks: Blocks) -> Result<Packed, WalError> {
        let unreadable = |source| WalError::Read { path: path.to_owned(), source };
        let wrong = |source| WalError::NotWhatItSays { path: path.to_owned(), source };
        let mut content = File::open(path).map_err(unreadable)?;
        let found = Size(content.metadata().map_err(unreadable)?.len());
        let mut begin = Vec::with_capacity(header::LENGTH);
        let most = header::LENGTH as u64;
        Read::by_ref(&mut content).take(most).read_to_end(&mut begin).map_err(unreadable)?;
        let mut walk = None;
        let size = match self.expected(file) {
            Some(expected) => {
                let header = Header::read(&begin).map_err(wrong)?;
                header.check(&expected).map_err(wrong)?;
                walk = match (file, blocks) {
                    (WalFile::Segment(segment), Blocks::Noted) => {
                        Some(Walk::new(segment, header.size))
                    }
                    (_, Blocks::Noted | Blocks::Ignored) => None,
                };
                header.size.bytes()
            }
            None if found.0 > LARGEST_TEXT => return Err(wrong(Damage::TooLarge(found))),
            None => found,
        };
        // One more byte than there should be would show.
        let rest = size.0.saturating_sub(begin.len() as u64) + 1;
        let mut whole =
            Passing { inner: begin.as_slice().chain(content.take(rest)), read: 0, walk };
        let mut packed = Vec::new();
        self.settings.compression.pack(&mut whole, &mut packed).map_err(unreadable)?;
        if whole.read == size.0 {
            let mapped = whole.walk.map(Walk::finish);
            return Ok(Packed { bytes: Bytes::from(packed), size, mapped });
        }
        Err(wrong(Damage::Size { found: Size(whole.read.max(found.0)), said: size }))
    }

    /// The key under which this file is stored already with other packing: the setting was changed
    /// since. Each folder is listed once, not for every file in it.
    async fn packed_otherwise(&self, file: WalFile, key: &Key) -> Result<Option<Key>, WalError> {
        let folder = self.layout.wal_folder(file);
        let mut neighbours = self.shared.neighbours.lock().await;
        if neighbours.as_ref().is_none_or(|(of, _)| *of != folder) {
            let listed = self.store.folder(&folder).await;
            let listed = listed.map_err(|source| WalError::Push { file, source })?;
            let names = listed.objects.into_iter().map(|object| object.key).collect();
            *neighbours = Some((folder, names));
        }
        let others = Compression::ALL.map(|other| self.layout.wal(file, other));
        let names = neighbours.as_ref().map(|(_, names)| names);
        Ok(others
            .into_iter()
            .find(|other| other != key && names.is_some_and(|all| all.contains(other))))
    }

    async fn compared(&self, file: WalFile, path: &Path, key: Key) -> Result<Pushed, WalError> {
        if self.is_same(file, path, &key).await? {
            Ok(Pushed::Before { key })
        } else {
            Err(WalError::Different { file, stored: key })
        }
    }
}

/// Counts what passes through, and shows it to who looks for changed pages.
struct Passing<R> {
    inner: R,
    read: u64,
    walk: Option<Walk>,
}

impl<R: Read> Read for Passing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read += length as u64;
        if let Some(walk) = &mut self.walk {
            walk.feed(buffer.get(..length).unwrap_or_default());
        }
        Ok(length)
    }
}
