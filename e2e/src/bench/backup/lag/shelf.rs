//! Says up to where a store has the log without a hole, by the names of what lies there.
//!
//! Never goes back: pieces go when their segment has come.

use anyhow::{Context, Result};
use pgherd_backup::compression::Compression;
use pgherd_backup::credentials::Credentials;
use pgherd_backup::destination::{Destination, ServerName};
use pgherd_backup::layout::Layout;
use pgherd_backup::store::{Patience, Store};
use pgherd_backup::wal::{Archive, Settings};
use pgherd_core::units::{Bytes, Lsn};
use pgherd_core::wal::stream::{Piece, cover};
use pgherd_core::wal::{Segment, SegmentSize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::runtime::Runtime;

const SIZE: SegmentSize = SegmentSize::DEFAULT;
/// Nothing is fetched.
const MEMORY: Bytes = Bytes(1 << 20);

/// What is looked at, and how far that was.
pub(in super::super) struct Shelf {
    whose: Whose,
    /// All before are there.
    next: Segment,
    stored: Lsn,
}

enum Whose {
    Ours {
        archive: Box<Archive>,
        runtime: Runtime,
    },
    /// A folder with one for each version of PostgreSQL.
    BackRest(PathBuf),
}

impl Shelf {
    /// Of ours, from this segment on. A bucket that is a folder, too, is looked at as a folder: to
    /// list it so often would be work for its server.
    pub(in super::super) fn ours(folder: &Path, server: &str, from: Segment) -> Result<Self> {
        let destination = Destination::parse(&folder.display().to_string())?;
        let store = Store::open(&destination, &Credentials::Folder, Patience::asking())?;
        let layout = Layout::new(&destination.prefix, &ServerName::parse(server)?);
        let settings = Settings {
            compression: Compression::None,
            system: None,
            memory: MEMORY,
            processors: 1,
        };
        let archive = Archive::new(store, layout, settings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self::of(Whose::Ours { archive: Box::new(archive), runtime }, from))
    }

    /// Of pgBackRest.
    pub(in super::super) fn backrest(folder: PathBuf, from: Segment) -> Self {
        Self::of(Whose::BackRest(folder), from)
    }

    fn of(whose: Whose, next: Segment) -> Self {
        Self { whose, next, stored: next.start(SIZE) }
    }

    /// Up to where it goes now.
    pub(in super::super) fn stored(&mut self) -> Result<Lsn> {
        loop {
            // Pieces first: they go when the segment has come, and then that is found.
            let (_, covered) = cover(&self.whose.pieces(self.next)?, self.next, SIZE);
            let is_there = covered == self.next.end(SIZE) || self.whose.has(self.next)?;
            if !is_there {
                self.stored = self.stored.max(covered);
                return Ok(self.stored);
            }
            self.stored = self.next.end(SIZE);
            self.next = self.next.next(SIZE);
        }
    }
}

impl Whose {
    fn pieces(&self, segment: Segment) -> Result<Vec<Piece>> {
        match self {
            Self::Ours { archive, runtime } => {
                let pieces = runtime.block_on(archive.pieces(Some(segment)))?;
                Ok(pieces.into_values().flat_map(BTreeMap::into_keys).collect())
            }
            Self::BackRest(_) => Ok(Vec::new()),
        }
    }

    fn has(&self, segment: Segment) -> Result<bool> {
        match self {
            Self::Ours { archive, runtime } => {
                Ok(!runtime.block_on(archive.whole([segment]))?.is_empty())
            }
            Self::BackRest(folder) => has(folder, segment),
        }
    }
}

/// pgBackRest adds a sum of the content to the name, and writes under another one.
fn has(folder: &Path, segment: Segment) -> Result<bool> {
    let begin = format!("{segment}-");
    for version in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let Ok(files) = fs::read_dir(version?.path().join(segment.folder())) else { continue };
        for file in files {
            let name = file?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&begin) && !name.contains(".tmp") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
