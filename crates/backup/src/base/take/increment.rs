//! Stores what has changed since the backup that this one builds on, along its table of contents.
//!
//! Never holds that table: files are read in the order in which it names them. What it does not
//! name is stored whole.

use super::foundation::{self, Foundation, reading};
use super::parts::{Last, Parts};
use crate::base::batch::{Content, is_compared};
use crate::base::changes::Known;
use crate::base::index::{Piece, Record};
use crate::base::page::PAGE;
use crate::base::pipeline::{Archive, Pipeline};
use crate::base::planner::Planner;
use crate::base::read::Opened;
use crate::base::scan::{FoundFile, Part, Relation, Source};
use crate::base::session::{Pages, Started};
use crate::base::sums::Sums;
use crate::base::{BackupError, CHUNK};
use crate::blockmap::{Named, Touched};
use crate::layout::Key;
use crate::restore::RestoreError;
use pgherd_core::units::Lsn;
use std::collections::HashMap;
use std::sync::Arc;

/// So many files share a chunk at most.
const FILES: usize = 512;

impl Parts {
    /// Stores what has changed, and says where the files that end a backup belong.
    pub(super) async fn store_changes(
        self,
        pipeline: &mut Pipeline<'_>,
        (foundation, named): (Foundation, foundation::Named),
        started: &Started,
    ) -> Result<Last, BackupError> {
        let Foundation { base, begin, mut contents, .. } = foundation;
        let named = named.ok().zip(match started.pages {
            Pages::Checksums { of_a_file } => Some(of_a_file),
            Pages::Unverifiable => None,
        });
        let mut changes = Changes::new(pipeline, begin, named);
        let Self { data, owner, control, found, tablespaces, outside, .. } = self;
        let parts = std::iter::once((Arc::clone(&data), found)).chain(tablespaces);
        let mut sources = Vec::new();
        for (source, found) in parts {
            for path in std::iter::once("").chain(found.folders.iter().map(String::as_str)) {
                pipeline.note_folder(source.part.within_data(path)).await?;
            }
            changes.expect(&source, found.files);
            sources.push(source);
        }
        let failed = |source| reading(&base, source);
        while let Some(record) = contents.next().await.map_err(failed)? {
            let Record::Chunk(chunk) = record else { continue };
            for piece in chunk.pieces {
                let key = contents.key();
                changes.piece(pipeline, piece, key).await.map_err(|error| match error {
                    Trouble::Backup(error) => error,
                    Trouble::Base(source) => reading(&base, source),
                })?;
            }
            changes.flush(pipeline).await?;
        }
        let mut packs = changes.finish(pipeline, sources).await?;
        for (source, found) in outside {
            packs.add(pipeline, vec![Content::File { source, found, known: None }]).await?;
        }
        packs.current.wait().await?;
        Ok(Last { main: packs.current, owner, data, control })
    }
}

/// The objects that all is packed into, one after the other.
struct Packs {
    current: Archive,
    opened: u32,
}

impl Packs {
    async fn add(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        contents: Vec<Content>,
    ) -> Result<(), BackupError> {
        if self.current.is_full() {
            let next = pipeline.open(Part::Data, self.opened);
            self.opened += 1;
            // Pieces of a file are noted in their order, also when it is in two packs.
            std::mem::replace(&mut self.current, next).end().await?.wait().await?;
        }
        pipeline.add(&mut self.current, contents).await
    }
}

/// A file that is still to be found in the base.
struct Expected {
    source: Arc<Source>,
    found: FoundFile,
}

/// A large file, and how much of it was dealt out.
struct Current {
    file: Arc<Opened>,
    next: u64,
}

struct Changes {
    begin: Lsn,
    /// What the log names, and how many pages a file has.
    named: Option<(Touched, u32)>,
    packs: Packs,
    /// By their paths as seen from the data folder.
    expected: HashMap<String, Expected>,
    open: HashMap<String, Current>,
    small: Vec<Content>,
    small_bytes: u64,
}

enum Trouble {
    Backup(BackupError),
    Base(RestoreError),
}

impl From<BackupError> for Trouble {
    fn from(error: BackupError) -> Self {
        Self::Backup(error)
    }
}

impl Changes {
    fn new(pipeline: &mut Pipeline<'_>, begin: Lsn, named: Option<(Touched, u32)>) -> Self {
        Self {
            begin,
            named,
            packs: Packs { current: pipeline.open(Part::Data, 0), opened: 1 },
            expected: HashMap::new(),
            open: HashMap::new(),
            small: Vec::new(),
            small_bytes: 0,
        }
    }

    fn expect(&mut self, source: &Arc<Source>, files: Vec<FoundFile>) {
        for found in files {
            let path = source.part.within_data(&found.path);
            self.expected.insert(path, Expected { source: Arc::clone(source), found });
        }
    }

    /// Compares what is there now with a piece of the base.
    async fn piece(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        piece: Piece,
        key: &Key,
    ) -> Result<(), Trouble> {
        let (is_first, is_last) = (piece.is_first(), piece.is_last());
        let Piece { path, from, pages, .. } = piece;
        if is_first {
            let Some(sums) = pages else { return Ok(()) };
            let Some(Expected { source, found }) = self.take(&path) else { return Ok(()) };
            if is_last && found.size <= CHUNK as u64 {
                let known = self.known((source.part, &*found.path), (0, found.size), sums);
                let known = Some(known);
                return Ok(self.small(pipeline, Content::File { source, found, known }).await?);
            }
            let opened = Opened::open(&source, &found).map_err(|error| BackupError::Read {
                path: source.root.join(&*found.path),
                source: error,
            })?;
            // What has vanished was not needed.
            let Some(file) = opened else { return Ok(()) };
            let file = if self.named.is_some() { file.of_some_pages() } else { file };
            self.open.insert(path.clone(), Current { file: Arc::new(file), next: 0 });
            self.range(pipeline, &path, Some(sums)).await?;
        } else if let Some(current) = self.open.get(&path) {
            if current.next != from {
                let what = format!("a part of {path:?} is missing in it");
                return Err(Trouble::Base(RestoreError::Damaged { key: key.clone(), what }));
            }
            let sums = pages.unwrap_or_default();
            self.range(pipeline, &path, Some(sums)).await?;
        }
        if is_last {
            self.rest(pipeline, &path).await?;
        }
        Ok(())
    }

    /// What the base holds of a piece, and which of its pages may be others by now.
    fn known(&self, (part, path): (Part, &str), (from, length): (u64, u64), sums: Sums) -> Known {
        let named = self.named.as_ref().zip(Relation::of(part, path));
        let Some(((touched, of_a_file), relation)) = named else {
            return Known::of_all(self.begin, sums);
        };
        let first = u64::from(relation.segment) * u64::from(*of_a_file) + from / PAGE as u64;
        let pages = usize::try_from(length / PAGE as u64).unwrap_or(usize::MAX);
        // There are no pages with greater numbers.
        let named = u32::try_from(first).map(|first| touched.named(relation.named, first, pages));
        let named = match named.unwrap_or(Named::All) {
            // SP-GiST notes in its first page where there is room, and logs nothing of that.
            Named::Only(pages) if first == 0 && pages.first() != Some(&0) => {
                Named::Only(std::iter::once(0).chain(pages).collect())
            }
            named => named,
        };
        Known::of_named(self.begin, sums, (named, pages))
    }

    /// A file whose pages may be compared; all others are stored whole.
    fn take(&mut self, path: &str) -> Option<Expected> {
        let is_rows = |expected: &Expected| is_compared(expected.source.part, &expected.found.path);
        self.expected.get(path).filter(|expected| is_rows(expected))?;
        self.expected.remove(path)
    }

    /// Deals out the next piece of a large file.
    async fn range(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        path: &str,
        sums: Option<Sums>,
    ) -> Result<(), BackupError> {
        let Some(current) = self.open.get_mut(path) else { return Ok(()) };
        let (file, from) = (Arc::clone(&current.file), current.next);
        let length = (file.size - from).min(CHUNK as u64);
        current.next = from + length;
        if current.next >= file.size {
            self.open.remove(path);
        }
        let place = (file.part, &*file.path);
        let known = sums.map(|sums| self.known(place, (from, length), sums));
        let length = usize::try_from(length).unwrap_or(CHUNK);
        self.packs.add(pipeline, vec![Content::Range { file, from, length, known }]).await
    }

    /// What the base does not have of a file.
    async fn rest(&mut self, pipeline: &mut Pipeline<'_>, path: &str) -> Result<(), BackupError> {
        while self.open.contains_key(path) {
            self.range(pipeline, path, None).await?;
        }
        Ok(())
    }

    async fn small(
        &mut self,
        pipeline: &mut Pipeline<'_>,
        content: Content,
    ) -> Result<(), BackupError> {
        let size = content.room() as u64;
        if self.small_bytes + size > CHUNK as u64 || self.small.len() >= FILES {
            self.flush(pipeline).await?;
        }
        self.small_bytes += size;
        self.small.push(content);
        Ok(())
    }

    async fn flush(&mut self, pipeline: &mut Pipeline<'_>) -> Result<(), BackupError> {
        self.small_bytes = 0;
        let small = std::mem::take(&mut self.small);
        if small.is_empty() { Ok(()) } else { self.packs.add(pipeline, small).await }
    }

    /// Stores what the base does not name.
    async fn finish(
        mut self,
        pipeline: &mut Pipeline<'_>,
        sources: Vec<Arc<Source>>,
    ) -> Result<Packs, BackupError> {
        let begun: Vec<String> = self.open.keys().cloned().collect();
        for path in begun {
            self.rest(pipeline, &path).await?;
        }
        let mut files: HashMap<Part, Vec<FoundFile>> = HashMap::new();
        for Expected { source, found } in self.expected.into_values() {
            files.entry(source.part).or_default().push(found);
        }
        for source in sources {
            let (part, all) = (source.part, files.remove(&source.part).unwrap_or_default());
            let mut planner = Planner::new(source, all, 1);
            let failed = |(path, source): (String, _)| BackupError::Read {
                path: part.within_data(&path).into(),
                source,
            };
            while let Some(next) = planner.next().map_err(failed)? {
                self.packs.add(pipeline, next.contents).await?;
            }
        }
        Ok(self.packs)
    }
}
