//! Restores an incremental backup: takes each page from the newest backup of its chain that has it,
//! in parallel, straight to where it belongs.
//!
//! Never writes a page twice, and never fetches a chunk of which nothing is needed.

use super::chain::Link;
use super::contents::Contents;
use super::delta;
use super::durable::Disks;
use super::indexed::{
    Bench, Done, FETCH, Listed, Tasks, create, outcome, packing, range_of, settle,
};
use super::place::Place;
use super::wanted::{Depth, Span, Wanted};
use super::{RestoreError, whole::Into};
use crate::base::index::{Chunk, Piece, Record};
use crate::base::{Packing, Progress};
use crate::budget::{Budget, Taken};
use crate::layout::{Key, Layout};
use crate::store::Store;
use crate::workers::{WorkerLost, Workers};
use bytes::Bytes;
use pgherd_core::units::Bytes as Size;
use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(super) struct Combined<'a> {
    pub(super) place_of: (&'a Store, &'a Layout),
    /// The newest first.
    pub(super) chain: &'a [Link],
    pub(super) into: Into,
    pub(super) place: Arc<Place>,
    pub(super) disks: Arc<Disks>,
    pub(super) workers: Arc<Workers<Bench>>,
    pub(super) budget: Budget,
    pub(super) progress: watch::Sender<Progress>,
}

/// Pieces that are there as they should be.
type There = HashSet<(Box<str>, u64)>;

/// A chunk, and what of its pieces is to be written.
struct Needed {
    chunk: Chunk,
    spans: Vec<Vec<Span>>,
}

/// Chunks that lie beside each other in one object.
struct Group {
    key: Key,
    packing: Packing,
    chunks: Vec<Needed>,
    at: u64,
    packed: u64,
}

impl Combined<'_> {
    pub(super) async fn restore(&self) -> Result<Done, RestoreError> {
        let began = Instant::now();
        let mut making = JoinSet::new();
        let prepared = self.prepare(&mut making, began).await;
        settle(&mut making).await;
        let mut tasks = JoinSet::new();
        let done = self.combine(&mut tasks, prepared?, began).await;
        settle(&mut tasks).await;
        done
    }

    async fn combine(
        &self,
        tasks: &mut Tasks,
        (mut done, listed, there): (Done, Listed, There),
        began: Instant,
    ) -> Result<Done, RestoreError> {
        let mut wanted = Wanted::default();
        for (number, link) in self.chain.iter().enumerate() {
            let depth = if number == 0 { Depth::Newest } else { Depth::Below };
            let mut contents = self.contents(link).await?;
            let mut waiting = BTreeMap::<String, Group>::new();
            while let Some(record) = contents.next().await? {
                let Record::Chunk(chunk) = record else { continue };
                let key = link.object(self.place_of.1, &chunk.archive);
                let packing = packing(&key, &chunk)?;
                let mut spans = wanted.take_in(&chunk, depth);
                if depth == Depth::Newest {
                    leave_out(&chunk, &mut spans, (&there, &mut wanted));
                }
                if spans.iter().flatten().all(|span| span.length == 0) {
                    continue;
                }
                let needed = Needed { chunk, spans };
                if let Some(full) = gather(&mut waiting, (key, packing), needed) {
                    self.begin(tasks, full, began).await;
                }
                while let Some(finished) = tasks.try_join_next() {
                    outcome(finished)?;
                }
            }
            for group in std::mem::take(&mut waiting).into_values() {
                self.begin(tasks, group, began).await;
            }
        }
        while let Some(finished) = tasks.join_next().await {
            outcome(finished)?;
        }
        if let (Some(path), Some(newest)) = (wanted.missing(), self.chain.first()) {
            let what = format!("pages of {path:?} are in none of the backups it builds on");
            return Err(RestoreError::Damaged { key: newest.index_key(self.place_of.1), what });
        }
        if let Some(names) = listed.names {
            done.removed = delta::remove_others(&self.place, &names)?;
        }
        Ok(done)
    }

    async fn contents(&self, link: &Link) -> Result<Contents, RestoreError> {
        let index = link.index(self.place_of).await?;
        let (contents, _) = Contents::begin(self.place_of.0, &index, &link.id).await?;
        Ok(contents)
    }

    /// Makes all folders and files in their sizes, and finds what is there already if asked to look.
    async fn prepare(
        &self,
        tasks: &mut JoinSet<Result<Vec<Piece>, RestoreError>>,
        began: Instant,
    ) -> Result<(Done, Listed, There), RestoreError> {
        let (mut listed, mut there) = (Listed::new(self.into), There::new());
        let Some(newest) = self.chain.first() else {
            return Ok((Done::default(), listed, there));
        };
        let mut contents = self.contents(newest).await?;
        let mut unchanged = 0;
        while let Some(record) = contents.next().await? {
            match record {
                Record::Folder(path) => {
                    listed.folder(&path, &self.place, || newest.index_key(self.place_of.1))?;
                }
                Record::Chunk(chunk) => {
                    packing(&newest.object(self.place_of.1, &chunk.archive), &chunk)?;
                    listed.files(&chunk);
                    let taken = self.budget.take(chunk_room(&chunk)).await;
                    let (key, into) = (newest.index_key(self.place_of.1), self.into);
                    let (place, workers) = (Arc::clone(&self.place), Arc::clone(&self.workers));
                    tasks.spawn(async move {
                        let made = workers.run(move |bench| bench.make(&place, &key, chunk, into));
                        let made = made.get().await.map_err(RestoreError::WorkerLost)?;
                        drop(taken);
                        made
                    });
                }
                Record::Begin(_) | Record::End(_) => {}
            }
            while let Some(finished) = tasks.try_join_next() {
                unchanged += note(finished, &mut there)?;
            }
        }
        while let Some(finished) = tasks.join_next().await {
            unchanged += note(finished, &mut there)?;
        }
        self.progress.send_modify(|progress| {
            progress.done = Size(unchanged);
            progress.elapsed = began.elapsed();
        });
        let counted = contents.counted();
        let (files, bytes) = (counted.files, counted.bytes);
        Ok((Done { files, bytes, unchanged, removed: 0 }, listed, there))
    }

    /// Restores a group as soon as there is memory for it.
    async fn begin(&self, tasks: &mut Tasks, group: Group, began: Instant) {
        let largest = group.chunks.iter().map(|needed| u64::from(needed.chunk.plain)).max();
        let needed = usize::try_from(group.packed + largest.unwrap_or_default());
        let taken = self.budget.take(needed.unwrap_or(usize::MAX)).await;
        let one = One {
            store: self.place_of.0.clone(),
            place: Arc::clone(&self.place),
            disks: Arc::clone(&self.disks),
            workers: Arc::clone(&self.workers),
            progress: self.progress.clone(),
            began,
        };
        tasks.spawn(one.restore(group, taken));
    }
}

/// What comparing a chunk takes: it is read piece by piece.
fn chunk_room(chunk: &Chunk) -> usize {
    chunk.pieces.iter().map(|piece| piece.length as usize).max().unwrap_or_default()
}

fn note(
    finished: Result<Result<Vec<Piece>, RestoreError>, tokio::task::JoinError>,
    there: &mut There,
) -> Result<u64, RestoreError> {
    let found = finished.map_err(|_died| RestoreError::WorkerLost(WorkerLost))??;
    let bytes = found.iter().map(|piece| u64::from(piece.length)).sum();
    there.extend(found.into_iter().map(|piece| (piece.path.into(), piece.from)));
    Ok(bytes)
}

/// Nothing is written of what is there, and nothing is looked for of it in older backups.
fn leave_out(chunk: &Chunk, spans: &mut [Vec<Span>], (there, wanted): (&There, &mut Wanted)) {
    if there.is_empty() {
        return;
    }
    for (piece, spans) in chunk.pieces.iter().zip(spans) {
        if there.contains(&(piece.path.as_str().into(), piece.from)) {
            spans.clear();
            wanted.drop(&piece.path, piece.from);
        }
    }
}

/// Puts a chunk to its neighbours; gives them when they are enough to be fetched.
fn gather(
    waiting: &mut BTreeMap<String, Group>,
    (key, packing): (Key, Packing),
    needed: Needed,
) -> Option<Group> {
    let (archive, packed) = (needed.chunk.archive.clone(), u64::from(needed.chunk.packed));
    if let Some(group) = waiting.get_mut(&archive)
        && group.at + group.packed == needed.chunk.at
        && group.packed + packed <= FETCH
    {
        group.packed += packed;
        group.chunks.push(needed);
        return None;
    }
    let at = needed.chunk.at;
    waiting.insert(archive, Group { key, packing, chunks: vec![needed], at, packed })
}

impl Bench {
    /// Makes the files that begin in a chunk, and says which of its pieces are there.
    fn make(
        &mut self,
        place: &Place,
        key: &Key,
        chunk: Chunk,
        into: Into,
    ) -> Result<Vec<Piece>, RestoreError> {
        let mut there = Vec::new();
        for piece in chunk.pieces {
            let path = place.of(&piece.path);
            let path = path.map_err(|source| RestoreError::Refused { key: key.clone(), source })?;
            // What cannot be read is written anew.
            let is_there = into == Into::Existing
                && delta::is_there(&path, &piece, self.buffer()).unwrap_or(false);
            if is_there {
                there.push(piece);
            } else {
                let made = create(&path).and_then(|file| match file.metadata()?.len() {
                    length if length == piece.size => Ok(()),
                    _ => file.set_len(piece.size),
                });
                made.map_err(|source| RestoreError::Write { path, source })?;
            }
        }
        Ok(there)
    }
}

/// What it takes to restore one group.
struct One {
    store: Store,
    place: Arc<Place>,
    disks: Arc<Disks>,
    workers: Arc<Workers<Bench>>,
    progress: watch::Sender<Progress>,
    began: Instant,
}

impl One {
    async fn restore(self, group: Group, taken: Taken) -> Result<u64, RestoreError> {
        let Group { key, packing, chunks, at, packed: length } = group;
        let packed = range_of(&self.store, &key, at..at + length).await?;
        if packed.len() as u64 != length {
            let what = "it is shorter than it was".to_owned();
            return Err(RestoreError::Damaged { key, what });
        }
        let write = Write { place: self.place, key, packing, packed };
        let written = self.workers.run(move |bench| write.all(bench, chunks)).get().await;
        let written = written.map_err(RestoreError::WorkerLost)??;
        drop(taken);
        self.disks.wrote(written).await?;
        self.progress.send_modify(|progress| {
            progress.done = Size(progress.done.0 + written);
            progress.moved = Size(progress.moved.0 + length);
            progress.elapsed = self.began.elapsed();
        });
        Ok(written)
    }
}

/// Fetched chunks that are to be written.
struct Write {
    place: Arc<Place>,
    key: Key,
    packing: Packing,
    packed: Bytes,
}

impl Write {
    fn all(mut self, bench: &mut Bench, chunks: Vec<Needed>) -> Result<u64, RestoreError> {
        let mut written = 0;
        for Needed { chunk, spans } in chunks {
            let length = (chunk.packed as usize).min(self.packed.len());
            let packed = self.packed.split_to(length);
            let mut spans = spans.iter();
            bench.pieces((&self.key, self.packing), &packed, &chunk, |piece, content| {
                let spans = spans.next().map(Vec::as_slice).unwrap_or_default();
                written += self.piece(piece, content, spans)?;
                Ok(())
            })?;
        }
        Ok(written)
    }

    fn piece(&self, piece: &Piece, content: &[u8], spans: &[Span]) -> Result<u64, RestoreError> {
        if spans.is_empty() {
            return Ok(0);
        }
        let refused = |source| RestoreError::Refused { key: self.key.clone(), source };
        let path = self.place.of(&piece.path).map_err(refused)?;
        let written = create(&path).and_then(|file| {
            let mut written = 0;
            for Span { at, length, to } in spans {
                // What lies outside was refused when the chunk was looked at.
                let content = content.get(*at..*at + *length).unwrap_or_default();
                file.write_all_at(content, *to)?;
                written += content.len() as u64;
            }
            Ok(written)
        });
        written.map_err(|source| RestoreError::Write { path, source })
    }
}

#[cfg(test)]
mod tests;
