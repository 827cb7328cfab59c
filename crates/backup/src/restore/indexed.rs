//! Restores a backup of ours: fetches ranges of its archives in parallel and writes each piece
//! straight to where it belongs.
//!
//! Never fetches what is there already, if asked to look.

use super::contents::Contents;
use super::delta::{self, Kept};
use super::durable::Disks;
use super::place::Place;
use super::{RestoreError, whole::Into};
use crate::base::index::{Chunk, Piece, Record};
use crate::base::{Packing, Progress, Unpacker};
use crate::budget::{Budget, Taken};
use crate::compression::Compression;
use crate::layout::{Key, Layout};
use crate::store::Store;
use crate::workers::Workers;
use bytes::Bytes;
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes as Size;
use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Neighbours are fetched together up to this size.
pub(super) const FETCH: u64 = 4 << 20;
/// What one chunk may claim to be; ours are about 4 MiB.
const LARGEST_CHUNK: u32 = 64 << 20;

/// What a worker keeps.
pub(super) struct Bench {
    unpacker: Unpacker,
    plain: Vec<u8>,
}

impl Bench {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { unpacker: Unpacker::new()?, plain: Vec::new() })
    }

    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.plain
    }

    /// Unpacks a chunk and gives out its pieces, each once its sum is right.
    pub(super) fn pieces(
        &mut self,
        (key, packing): (&Key, Packing),
        packed: &[u8],
        chunk: &Chunk,
        mut give: impl FnMut(&Piece, &[u8]) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        self.plain.resize(chunk.plain as usize, 0);
        // Nothing is stored of what is as in the backup below.
        if chunk.packed > 0 || chunk.plain > 0 {
            let unpacked = self.unpacker.unpack(packing, packed, &mut self.plain);
            unpacked.map_err(|source| RestoreError::Archive { key: key.clone(), source })?;
        }
        for piece in &chunk.pieces {
            let (start, length) = (piece.at as usize, piece.stored().unwrap_or(u32::MAX) as usize);
            let crc32c = piece.changed.as_ref().map_or(piece.crc32c, |changed| changed.crc32c);
            let content = self.plain.get(start..start.saturating_add(length));
            let content = content.filter(|content| crc_fast::crc32_iscsi(content) == crc32c);
            let Some(content) = content else {
                let what = format!("{:?} in it is not what was stored", piece.path);
                return Err(RestoreError::Damaged { key: key.clone(), what });
            };
            give(piece, content)?;
        }
        Ok(())
    }
}

pub(super) struct Indexed<'a> {
    pub(super) store: &'a Store,
    pub(super) layout: &'a Layout,
    pub(super) id: &'a BackupId,
    pub(super) into: Into,
    pub(super) place: Arc<Place>,
    pub(super) disks: Arc<Disks>,
    pub(super) workers: Arc<Workers<Bench>>,
    pub(super) budget: Budget,
    pub(super) progress: watch::Sender<Progress>,
}

/// What was done in the end.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) unchanged: u64,
    /// What was there and is not in the backup.
    pub(super) removed: u64,
}

/// Chunks that lie beside each other in one archive.
#[derive(Debug)]
struct Group {
    key: Key,
    packing: Packing,
    chunks: Vec<Chunk>,
    at: u64,
    packed: u64,
}

impl Indexed<'_> {
    pub(super) async fn restore(&self, contents: Contents) -> Result<Done, RestoreError> {
        let mut tasks = JoinSet::new();
        let done = self.all(contents, &mut tasks).await;
        settle(&mut tasks).await;
        done
    }

    async fn all(&self, mut contents: Contents, tasks: &mut Tasks) -> Result<Done, RestoreError> {
        let began = Instant::now();
        let mut waiting = BTreeMap::<String, Group>::new();
        let (mut done, mut listed) = (Done::default(), Listed::new(self.into));
        while let Some(record) = contents.next().await? {
            match record {
                Record::Folder(path) => {
                    listed.folder(&path, &self.place, || self.layout.index(self.id))?;
                }
                Record::Chunk(chunk) => {
                    listed.files(&chunk);
                    if let Some(full) = self.gather(&mut waiting, chunk)? {
                        self.begin(tasks, full, began).await;
                    }
                }
                Record::Begin(_) | Record::End(_) => {}
            }
            while let Some(finished) = tasks.try_join_next() {
                done.unchanged += outcome(finished)?;
            }
        }
        for group in std::mem::take(&mut waiting).into_values() {
            self.begin(tasks, group, began).await;
        }
        while let Some(finished) = tasks.join_next().await {
            done.unchanged += outcome(finished)?;
        }
        if let Some(names) = listed.names {
            done.removed = delta::remove_others(&self.place, &names)?;
        }
        let counted = contents.counted();
        Ok(Done { files: counted.files, bytes: counted.bytes, ..done })
    }

    /// Puts a chunk to its neighbours; gives them when they are enough to be fetched.
    fn gather(
        &self,
        waiting: &mut BTreeMap<String, Group>,
        chunk: Chunk,
    ) -> Result<Option<Group>, RestoreError> {
        let (archive, packed) = (chunk.archive.clone(), u64::from(chunk.packed));
        let key = self.layout.archive(self.id, &archive);
        let packing = packing(&key, &chunk)?;
        if let Some(group) = waiting.get_mut(&archive)
            && group.at + group.packed == chunk.at
            && group.packed + packed <= FETCH
        {
            group.packed += packed;
            group.chunks.push(chunk);
            return Ok(None);
        }
        let at = chunk.at;
        let group = Group { key, packing, chunks: vec![chunk], at, packed };
        Ok(waiting.insert(archive, group))
    }

    /// Restores a group as soon as there is memory for it.
    async fn begin(&self, tasks: &mut Tasks, group: Group, began: Instant) {
        let largest = group.chunks.iter().map(|chunk| u64::from(chunk.plain)).max();
        let needed = usize::try_from(group.packed + largest.unwrap_or_default());
        let taken = self.budget.take(needed.unwrap_or(usize::MAX)).await;
        let one = One {
            store: self.store.clone(),
            into: self.into,
            place: Arc::clone(&self.place),
            disks: Arc::clone(&self.disks),
            workers: Arc::clone(&self.workers),
            progress: self.progress.clone(),
            began,
        };
        tasks.spawn(one.restore(group, taken));
    }
}

/// A part of an object, which may be nothing.
pub(super) async fn range_of(
    store: &Store,
    key: &Key,
    range: Range<u64>,
) -> Result<Bytes, RestoreError> {
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    store.get_range(key, range).await.map_err(RestoreError::store)
}

/// How this chunk is packed, if it can be one of ours.
pub(super) fn packing(key: &Key, chunk: &Chunk) -> Result<Packing, RestoreError> {
    let Chunk { archive, at, packed, plain, pieces } = chunk;
    let packing = Packing::of(Compression::of(archive).1);
    let ends = |from: u64, length: u32| from.checked_add(length.into());
    let is_inside = |piece: &Piece| {
        let fits = ends(piece.from, piece.length).is_some_and(|end| end <= piece.size);
        fits && piece.stored().is_some()
    };
    let is_plausible = !archive.contains('/')
        && *plain <= LARGEST_CHUNK
        && ends(*at, *packed).is_some()
        && pieces.iter().all(is_inside);
    packing.filter(|_| is_plausible).ok_or_else(|| {
        let what = format!("the table of contents names a strange chunk of {archive:?}");
        RestoreError::Damaged { key: key.clone(), what }
    })
}

pub(super) type Tasks = JoinSet<Result<u64, RestoreError>>;

/// What was begun is done: whoever removes what was restored in vain must not be written to meanwhile.
pub(super) async fn settle<T: 'static>(tasks: &mut JoinSet<T>) {
    while tasks.join_next().await.is_some() {}
}

pub(super) fn outcome(
    finished: Result<Result<u64, RestoreError>, tokio::task::JoinError>,
) -> Result<u64, RestoreError> {
    finished.map_err(|_died| RestoreError::WorkerLost(crate::workers::WorkerLost))?
}

/// What is in the backup, if what is not is to be removed.
pub(super) struct Listed {
    pub(super) names: Option<HashSet<Box<str>>>,
}

impl Listed {
    pub(super) fn new(into: Into) -> Self {
        Self {
            names: match into {
                Into::Empty => None,
                Into::Existing => Some(HashSet::new()),
            },
        }
    }

    /// Makes a folder of the backup.
    pub(super) fn folder(
        &mut self,
        path: &str,
        place: &Place,
        key: impl Fn() -> Key,
    ) -> Result<(), RestoreError> {
        // The data folder and those of tablespaces are there already.
        let is_root = path.is_empty() || path.ends_with('/');
        if let Some(names) = &mut self.names {
            names.insert(path.trim_end_matches('/').into());
        }
        if is_root {
            return Ok(());
        }
        let refused = |source| RestoreError::Refused { key: key(), source };
        make_folder(&place.of(path).map_err(refused)?)
    }

    pub(super) fn files(&mut self, chunk: &Chunk) {
        let Some(names) = &mut self.names else { return };
        let first = chunk.pieces.iter().filter(|piece| piece.is_first());
        names.extend(first.map(|piece| piece.path.as_str().into()));
    }
}

pub(super) fn make_folder(path: &Path) -> Result<(), RestoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
    made.map_err(|source| RestoreError::Write { path: path.to_path_buf(), source })
}

/// What it takes to restore one group.
struct One {
    store: Store,
    into: Into,
    place: Arc<Place>,
    disks: Arc<Disks>,
    workers: Arc<Workers<Bench>>,
    progress: watch::Sender<Progress>,
    began: Instant,
}

impl One {
    /// Says how many bytes were there already.
    async fn restore(self, group: Group, taken: Taken) -> Result<u64, RestoreError> {
        let all = length(&group.chunks);
        let group = match self.into {
            Into::Empty => group,
            Into::Existing => self.compare(group).await?,
        };
        let changed = length(&group.chunks);
        let moved = group.chunks.iter().map(|chunk| u64::from(chunk.packed)).sum::<u64>();
        for run in runs(group.chunks) {
            let (first, last) = (run.first(), run.last());
            let Some((first, last)) = first.zip(last) else { continue };
            let range = first.at..last.at + u64::from(last.packed);
            let packed = range_of(&self.store, &group.key, range.clone()).await?;
            if packed.len() as u64 != range.end - range.start {
                let what = "it is shorter than it was".to_owned();
                return Err(RestoreError::Damaged { key: group.key, what });
            }
            let (place, key, packing) = (Arc::clone(&self.place), group.key.clone(), group.packing);
            let write = Write { place, key, packing, packed, chunks: run };
            let written = self.workers.run(move |bench| write.all(bench)).get().await;
            written.map_err(RestoreError::WorkerLost)??;
        }
        drop(taken);
        self.disks.wrote(changed).await?;
        self.progress.send_modify(|progress| {
            progress.done = Size(progress.done.0 + all);
            progress.moved = Size(progress.moved.0 + moved);
            progress.elapsed = self.began.elapsed();
        });
        Ok(all - changed)
    }

    /// Leaves what is not there as it should be.
    async fn compare(&self, group: Group) -> Result<Group, RestoreError> {
        let place = Arc::clone(&self.place);
        let compared = self.workers.run(move |bench| {
            let Group { key, packing, chunks, at, packed } = group;
            let mut changed = Vec::new();
            for chunk in chunks {
                let kept = delta::compare(&place, &chunk, &mut bench.plain);
                match kept.map_err(|source| RestoreError::Refused { key: key.clone(), source })? {
                    Kept::All => {}
                    Kept::Some => changed.push(chunk),
                }
            }
            Ok(Group { key, packing, chunks: changed, at, packed })
        });
        compared.get().await.map_err(RestoreError::WorkerLost)?
    }
}

fn length(chunks: &[Chunk]) -> u64 {
    let pieces = chunks.iter().flat_map(|chunk| &chunk.pieces);
    pieces.map(|piece| u64::from(piece.length)).sum()
}

/// Chunks that still lie beside each other.
fn runs(chunks: Vec<Chunk>) -> Vec<Vec<Chunk>> {
    let mut runs: Vec<Vec<Chunk>> = Vec::new();
    for chunk in chunks {
        let last = runs.last().and_then(|run| run.last());
        if last.is_some_and(|last| last.at + u64::from(last.packed) == chunk.at)
            && let Some(run) = runs.last_mut()
        {
            run.push(chunk);
        } else {
            runs.push(vec![chunk]);
        }
    }
    runs
}

/// Fetched chunks that are to be written.
struct Write {
    place: Arc<Place>,
    key: Key,
    packing: Packing,
    packed: Bytes,
    chunks: Vec<Chunk>,
}

impl Write {
    fn all(mut self, bench: &mut Bench) -> Result<(), RestoreError> {
        for chunk in std::mem::take(&mut self.chunks) {
            let length = (chunk.packed as usize).min(self.packed.len());
            let packed = self.packed.split_to(length);
            let write = |piece: &Piece, content: &[u8]| self.piece(piece, content);
            bench.pieces((&self.key, self.packing), &packed, &chunk, write)?;
        }
        Ok(())
    }

    fn piece(&self, piece: &Piece, content: &[u8]) -> Result<(), RestoreError> {
        let refused = |source| RestoreError::Refused { key: self.key.clone(), source };
        let path = self.place.of(&piece.path).map_err(refused)?;
        let written = create(&path).and_then(|file| {
            if file.metadata()?.len() != piece.size {
                file.set_len(piece.size)?;
            }
            file.write_all_at(content, piece.from)
        });
        written.map_err(|source| RestoreError::Write { path, source })
    }
}

/// A file for its owner alone; a link is not followed.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(nofollow);
    options.open(path)
}
