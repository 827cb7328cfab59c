//! Reads a backup from end to end and says whether all of it is what was stored.
//!
//! Never writes anything, and never stops at the first damage: all of it is told.

use super::archives::Found;
use super::chain::{Kind, Link, chain};
use super::contents::Contents;
use super::fetch::{pair, send};
use super::indexed::{Bench, packing, range_of};
use super::wanted::{Depth, Wanted};
use super::whole::{By, LEAST_MEMORY, archives};
use super::{Options, RestoreError};
use crate::backup_info::BackupInfo;
use crate::base::Progress;
use crate::base::index::{Chunk, Record};
use crate::budget::{Budget, Taken};
use crate::compression::Compression;
use crate::layout::{Key, Layout};
use crate::store::{Object, Store};
use crate::workers::{WorkerLost, Workers, processors};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use std::io;
use std::sync::Arc;
use tar::Archive;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// So many damages are told in words.
const TOLD: usize = 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub backup: BackupInfo,
    pub by: By,
    pub files: u64,
    pub bytes: Bytes,
    /// The first of what is wrong, and how much it is.
    pub damages: Vec<String>,
    pub damages_in_all: u64,
}

/// Reads all of it. What keeps it from being read is an error, what is wrong with it is not.
pub async fn verify(
    (store, layout): (&Store, &Layout),
    id: &BackupId,
    options: Options,
    progress: watch::Sender<Progress>,
) -> Result<Verified, RestoreError> {
    let chain = chain((store, layout), id).await?;
    let (Some(newest), Some(full)) = (chain.first(), chain.last()) else {
        return Err(RestoreError::Missing { backup: id.clone() });
    };
    let (backup, archives) = (newest.info.clone(), archives((store, layout), full).await?);
    let count = if options.workers == 0 { processors() } else { options.workers };
    let work = Work { store, layout, count, options, progress };
    let index = store.head(&newest.index_key(layout)).await.map_err(RestoreError::store)?;
    let (by, found) = match (index, &newest.kind) {
        (Some(_), _) | (None, Kind::Incremental { .. }) => {
            (By::Contents, work.by_contents(&chain).await?)
        }
        (None, Kind::Full) => (By::Archives, work.by_archives(archives).await?),
    };
    let Seen { files, bytes, damages, damages_in_all } = found;
    Ok(Verified { backup, by, files, bytes: Bytes(bytes), damages, damages_in_all })
}

struct Work<'a> {
    store: &'a Store,
    layout: &'a Layout,
    count: usize,
    options: Options,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Seen {
    files: u64,
    bytes: u64,
    damages: Vec<String>,
    damages_in_all: u64,
}

type Outcome = Result<(u64, u64), RestoreError>;

impl Seen {
    /// Takes in what one part has shown; what is no damage ends the work.
    fn note(
        &mut self,
        finished: Result<Outcome, tokio::task::JoinError>,
    ) -> Result<(), RestoreError> {
        let outcome = finished.map_err(|_died| RestoreError::WorkerLost(WorkerLost))?;
        match outcome {
            Ok((files, bytes)) => {
                self.files += files;
                self.bytes += bytes;
            }
            Err(RestoreError::Damaged { key, what }) => self.damage(format!("{key}: {what}")),
            Err(RestoreError::Archive { key, source }) => self.damage(format!("{key}: {source}")),
            Err(error) => {
                let RestoreError::Store { source } = &error else { return Err(error) };
                let Some(what) = source.damage() else { return Err(error) };
                self.damage(what);
            }
        }
        Ok(())
    }

    fn damage(&mut self, what: String) {
        self.damages_in_all += 1;
        if self.damages.len() < TOLD {
            self.damages.push(what);
        }
    }
}

impl Work<'_> {
    /// Reads what is stored of each backup of the chain, and looks whether together they have all.
    async fn by_contents(&self, chain: &[Link]) -> Result<Seen, RestoreError> {
        let benches = (0..self.count).map(|_| Bench::new()).collect::<Result<Vec<_>, _>>();
        let workers = benches.and_then(Workers::start);
        let workers = Arc::new(workers.map_err(|source| RestoreError::Workers { source })?);
        let memory = self.options.memory.0.max(LEAST_MEMORY);
        let budget = Budget::new(usize::try_from(memory).unwrap_or(usize::MAX));
        let (began, mut seen, mut tasks) = (Instant::now(), Seen::default(), JoinSet::new());
        let mut wanted = Wanted::default();
        for (depth, link) in chain.iter().enumerate() {
            let index = link.index((self.store, self.layout)).await?;
            let (mut contents, begin) = Contents::begin(self.store, &index, &link.id).await?;
            let depth = if depth == 0 { Depth::Newest } else { Depth::Below };
            if depth == Depth::Newest {
                let total = Bytes(begin.bytes);
                self.progress.send_replace(Progress { total, ..Progress::default() });
            }
            while let Some(record) = contents.next().await? {
                let Record::Chunk(chunk) = record else { continue };
                let key = link.object(self.layout, &chunk.archive);
                let needed = u64::from(chunk.packed) + u64::from(chunk.plain);
                let taken = budget.take(usize::try_from(needed).unwrap_or(usize::MAX)).await;
                if packing(&key, &chunk).is_ok() {
                    wanted.take_in(&chunk, depth);
                }
                let one = One {
                    store: self.store.clone(),
                    workers: Arc::clone(&workers),
                    progress: self.progress.clone(),
                    depth,
                    began,
                };
                tasks.spawn(one.chunk(key, chunk, taken));
                while let Some(finished) = tasks.try_join_next() {
                    seen.note(finished)?;
                }
            }
        }
        while let Some(finished) = tasks.join_next().await {
            seen.note(finished)?;
        }
        if let Some(path) = wanted.missing() {
            seen.damage(format!("pages of {path:?} are in none of the backups it builds on"));
        }
        Ok(seen)
    }

    async fn by_archives(&self, found: Vec<Found>) -> Result<Seen, RestoreError> {
        let (began, mut seen, mut tasks) = (Instant::now(), Seen::default(), JoinSet::new());
        let total = Bytes(found.iter().map(|found| found.object.size.0).sum());
        self.progress.send_replace(Progress { total, ..Progress::default() });
        for found in found {
            while tasks.len() >= self.count.max(1) {
                if let Some(finished) = tasks.join_next().await {
                    seen.note(finished)?;
                }
            }
            let (store, progress) = (self.store.clone(), self.progress.clone());
            let Object { key, size, .. } = found.object;
            tasks.spawn(async move {
                let outcome = archive(store, key, size).await;
                progress.send_modify(|progress| {
                    progress.done = Bytes(progress.done.0 + size.0);
                    progress.moved = progress.done;
                    progress.elapsed = began.elapsed();
                });
                outcome
            });
        }
        while let Some(finished) = tasks.join_next().await {
            seen.note(finished)?;
        }
        Ok(seen)
    }
}

/// What it takes to read one chunk.
struct One {
    store: Store,
    workers: Arc<Workers<Bench>>,
    progress: watch::Sender<Progress>,
    depth: Depth,
    began: Instant,
}

impl One {
    async fn chunk(self, key: Key, chunk: Chunk, taken: Taken) -> Outcome {
        let packing = packing(&key, &chunk)?;
        let range = chunk.at..chunk.at + u64::from(chunk.packed);
        let packed = range_of(&self.store, &key, range).await?;
        if packed.len() != chunk.packed as usize {
            let what = "it is shorter than it was".to_owned();
            return Err(RestoreError::Damaged { key, what });
        }
        let moved = u64::from(chunk.packed);
        let read = self.workers.run(move |bench| {
            let (mut files, mut bytes) = (0, 0);
            let count = u64::from(self.depth == Depth::Newest);
            bench.pieces((&key, packing), &packed, &chunk, |piece, _| {
                files += u64::from(piece.is_last()) * count;
                bytes += u64::from(piece.length) * count;
                Ok(())
            })?;
            Ok((files, bytes))
        });
        let read: Outcome = read.get().await.map_err(RestoreError::WorkerLost)?;
        drop(taken);
        let bytes = read.as_ref().map_or(0, |(_, bytes)| *bytes);
        self.progress.send_modify(|progress| {
            progress.done = Bytes(progress.done.0 + bytes);
            progress.moved = Bytes(progress.moved.0 + moved);
            progress.elapsed = self.began.elapsed();
        });
        read
    }
}

/// Unpacks one archive of somebody else's, whose own sums tell whether it is whole.
async fn archive(store: Store, key: Key, size: Bytes) -> Outcome {
    let (sender, received) = pair();
    let mut work = JoinSet::new();
    work.spawn(send(store, key.clone(), size.0, sender));
    let read = tokio::task::spawn_blocking(move || {
        let failed = |source| RestoreError::Archive { key: key.clone(), source };
        let (_, compression) = Compression::of(key.name());
        let mut archive = Archive::new(compression.reader(received).map_err(failed)?);
        let (mut files, mut bytes) = (0, 0);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let length = io::copy(&mut entry, &mut io::sink()).map_err(failed)?;
            files += u64::from(entry.header().entry_type().is_file());
            bytes += length;
        }
        // Only at the end of what is packed it shows whether it is whole.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(failed)?;
        Ok((files, bytes))
    });
    read.await.map_err(|_died| RestoreError::WorkerLost(WorkerLost))?
}
