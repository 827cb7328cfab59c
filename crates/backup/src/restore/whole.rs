//! Restores one backup from start to end.
//!
//! Never begins to write before it knows that the backup can be restored and that there is room.

use super::archives::{Archives, Found};
use super::chain::{Link, chain};
use super::combined::Combined;
use super::contents::Contents;
use super::durable::{Disks, sync_folder};
use super::indexed::{Bench, Done, Indexed, make_folder};
use super::place::Place;
use super::{Options, RestoreError, Unusable, delta, space};
use crate::backup_info::BackupInfo;
use crate::base::Progress;
use crate::budget::Budget;
use crate::layout::Layout;
use crate::store::Store;
use crate::workers::{Workers, processors};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// Which backup, and where to.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub store: &'a Store,
    pub layout: &'a Layout,
    pub id: &'a BackupId,
    pub folder: &'a Path,
    /// Where tablespaces go, by name; those without an entry go where they were.
    pub tablespaces: &'a BTreeMap<String, PathBuf>,
    pub into: Into,
    pub options: Options,
}

/// What the folder may hold before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// Nothing.
    Empty,
    /// Anything: what is like in the backup stays, everything else goes.
    Existing,
}

/// Everything is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub backup: BackupInfo,
    pub by: By,
    pub files: u64,
    pub bytes: Bytes,
    /// What was there already.
    pub unchanged: Bytes,
    /// What was there and is not in the backup.
    pub removed: u64,
    /// Members of archives that are neither files nor folders.
    pub skipped: Vec<PathBuf>,
}

/// How it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// In parallel, from our table of contents.
    Contents,
    /// Archive by archive.
    Archives,
}

/// What no fetch can do without: a group of chunks and the largest of them.
pub(super) const LEAST_MEMORY: u64 = 16 << 20;

/// Restores; when it fails, what is in the folder does not start.
pub async fn restore(
    request: &Request<'_>,
    progress: watch::Sender<Progress>,
) -> Result<Restored, RestoreError> {
    let chain = chain((request.store, request.layout), request.id).await?;
    let (Some(newest), Some(full)) = (chain.first(), chain.last()) else {
        return Err(RestoreError::Missing { backup: request.id.clone() });
    };
    let backup = newest.info.clone();
    let place = Arc::new(place(request, &backup)?);
    let archives = archives((request.store, request.layout), full).await?;
    let contents = match request.store.head(&newest.index_key(request.layout)).await {
        Ok(Some(index)) => Some(Contents::begin(request.store, &index, request.id).await?),
        Ok(None) if chain.len() > 1 => return Err(unusable(newest, Unusable::NoContents)),
        Ok(None) if request.into == Into::Existing => {
            return Err(unusable(newest, Unusable::NoIndex));
        }
        Ok(None) => {
            refuse_incomplete(full, &archives)?;
            None
        }
        Err(error) => return Err(RestoreError::store(error)),
    };
    let total = contents.as_ref().map(|(_, begin)| Bytes(begin.bytes));
    prepare(request, &place, &archives, total)?;
    let (place_of, total) = (Arc::clone(&place), total.unwrap_or_default());
    progress.send_replace(Progress { total, ..Progress::default() });
    let disks = Disks::open(&place)?;
    let work = Work { request, place, disks: Arc::clone(&disks), progress };
    let restored = match contents {
        Some(_) if chain.len() > 1 => work.by_chain(&chain, backup).await?,
        Some((contents, _)) => work.by_contents(contents, backup).await?,
        None => work.by_archives(archives, backup).await?,
    };
    finish(&place_of, &disks).await?;
    Ok(restored)
}

/// The archives of a full backup, if there are any.
pub(super) async fn archives(
    (store, layout): (&Store, &Layout),
    full: &Link,
) -> Result<Vec<Found>, RestoreError> {
    let listed = store.folder(&layout.backup(&full.id)).await.map_err(RestoreError::store)?;
    let archives: Vec<Found> = listed.objects.into_iter().filter_map(Found::of).collect();
    if archives.iter().any(|found| found.tablespace.is_none() && found.is_first()) {
        Ok(archives)
    } else {
        Err(unusable(full, Unusable::NoData))
    }
}

fn unusable(link: &Link, because: Unusable) -> RestoreError {
    RestoreError::Unusable { backup: link.id.clone(), because }
}

fn place(request: &Request<'_>, backup: &BackupInfo) -> Result<Place, RestoreError> {
    let mut elsewhere = request.tablespaces.clone();
    let mut tablespaces = BTreeMap::new();
    for one in &backup.tablespaces {
        let location = elsewhere.remove(&one.name).unwrap_or_else(|| one.location.clone().into());
        tablespaces.insert(one.oid, location);
    }
    if let Some((name, _)) = elsewhere.pop_first() {
        return Err(RestoreError::NoTablespace { name });
    }
    let place = Place { data: request.folder.to_path_buf(), tablespaces };
    refuse_overlaps(&place)?;
    Ok(place)
}

/// What is written to one place must not be taken for what belongs to another.
fn refuse_overlaps(place: &Place) -> Result<(), RestoreError> {
    let roots: Vec<&PathBuf> = place.roots().collect();
    for (number, root) in roots.iter().enumerate() {
        let is_plain = root.is_absolute()
            && root.components().all(|part| !matches!(part, Component::ParentDir));
        // The data folder may be named as the caller likes.
        if number > 0 && !is_plain {
            return Err(RestoreError::TablespacePlace { path: (*root).clone() });
        }
        let before = roots.iter().take(number);
        let overlaps = before.copied().find(|one| one.starts_with(root) || root.starts_with(one));
        if let Some(other) = overlaps {
            let (path, other) = ((*root).clone(), other.clone());
            return Err(RestoreError::TablespaceOverlap { path, other });
        }
    }
    Ok(())
}

/// Archives of others say by their names alone what belongs where.
fn refuse_incomplete(full: &Link, archives: &[Found]) -> Result<(), RestoreError> {
    let known: BTreeSet<u32> = full.info.tablespaces.iter().map(|one| one.oid).collect();
    let found: BTreeSet<u32> = archives.iter().filter_map(|found| found.tablespace).collect();
    let first = |found: &Found| found.is_first().then_some(found.tablespace).flatten();
    let whole: BTreeSet<u32> = archives.iter().filter_map(first).collect();
    if let Some(oid) = found.difference(&known).next() {
        return Err(unusable(full, Unusable::UnknownTablespace(*oid)));
    }
    match known.difference(&whole).next() {
        Some(oid) => Err(unusable(full, Unusable::NoTablespaceData(*oid))),
        None => Ok(()),
    }
}

/// Makes the folders, looks whether they are empty and large enough.
fn prepare(
    request: &Request<'_>,
    place: &Place,
    archives: &[Found],
    total: Option<Bytes>,
) -> Result<(), RestoreError> {
    if request.into == Into::Empty {
        // Nothing is changed of what may be somebody else's, its rights included.
        let present = place.roots().filter(|root| root.exists());
        present.into_iter().try_for_each(|root| is_empty(root))?;
    }
    for root in place.roots() {
        make_folder(root)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(root, private)
            .map_err(|source| RestoreError::Write { path: root.clone(), source })?;
    }
    match request.into {
        Into::Existing if place.data.join("postmaster.pid").exists() => {
            Err(RestoreError::InUse { path: place.data.clone() })
        }
        Into::Existing => delta::prepare(place),
        Into::Empty => {
            place.roots().try_for_each(|root| is_empty(root))?;
            space::check(&needs(place, archives, total))
        }
    }
}

/// How much goes where: archives know only what they take packed, the table of contents how much
/// it is in all.
fn needs<'a>(place: &'a Place, archives: &[Found], total: Option<Bytes>) -> Vec<(&'a Path, Bytes)> {
    let packed = |tablespace: Option<u32>| {
        let of_it = archives.iter().filter(|found| found.tablespace == tablespace);
        of_it.map(|found| found.object.size.0).sum::<u64>()
    };
    let all: u64 = archives.iter().map(|found| found.object.size.0).sum::<u64>().max(1);
    let needed = |tablespace| {
        let packed = packed(tablespace);
        let share = total.map(|total| u128::from(total.0) * u128::from(packed) / u128::from(all));
        let share = share.and_then(|share| u64::try_from(share).ok());
        Bytes(share.unwrap_or(packed))
    };
    let spaces = place.tablespaces.iter().map(|(oid, root)| (root.as_path(), needed(Some(*oid))));
    std::iter::once((place.data.as_path(), needed(None))).chain(spaces).collect()
}

fn is_empty(folder: &Path) -> Result<(), RestoreError> {
    let path = || folder.to_path_buf();
    let mut inside =
        std::fs::read_dir(folder).map_err(|source| RestoreError::Write { path: path(), source })?;
    // A volume of its own has this one.
    let other =
        inside.find(|entry| !matches!(entry, Ok(entry) if entry.file_name() == "lost+found"));
    if other.is_none() { Ok(()) } else { Err(RestoreError::NotEmpty { path: path() }) }
}

struct Work<'a> {
    request: &'a Request<'a>,
    place: Arc<Place>,
    disks: Arc<Disks>,
    progress: watch::Sender<Progress>,
}

impl Work<'_> {
    fn count(&self) -> usize {
        match self.request.options.workers {
            0 => processors(),
            count => count,
        }
    }

    async fn by_contents(
        self,
        contents: Contents,
        backup: BackupInfo,
    ) -> Result<Restored, RestoreError> {
        let (workers, budget) = self.means()?;
        let Request { store, layout, id, into, .. } = *self.request;
        let indexed = Indexed {
            store,
            layout,
            id,
            into,
            place: self.place,
            disks: self.disks,
            workers,
            budget,
            progress: self.progress,
        };
        Ok(restored(&indexed.restore(contents).await?, backup))
    }

    /// Combines an incremental backup with what it builds on.
    async fn by_chain(self, chain: &[Link], backup: BackupInfo) -> Result<Restored, RestoreError> {
        let (workers, budget) = self.means()?;
        let Request { store, layout, into, .. } = *self.request;
        let combined = Combined {
            place_of: (store, layout),
            chain,
            into,
            place: self.place,
            disks: self.disks,
            workers,
            budget,
            progress: self.progress,
        };
        Ok(restored(&combined.restore().await?, backup))
    }

    fn means(&self) -> Result<(Arc<Workers<Bench>>, Budget), RestoreError> {
        let benches = (0..self.count()).map(|_| Bench::new()).collect::<Result<Vec<_>, _>>();
        let workers = benches.and_then(Workers::start);
        let workers = workers.map_err(|source| RestoreError::Workers { source })?;
        let memory = self.request.options.memory.0.max(LEAST_MEMORY);
        let budget = Budget::new(usize::try_from(memory).unwrap_or(usize::MAX));
        Ok((Arc::new(workers), budget))
    }

    async fn by_archives(
        self,
        found: Vec<Found>,
        backup: BackupInfo,
    ) -> Result<Restored, RestoreError> {
        let at_once = self.count();
        let Self { request, place, disks, progress } = self;
        let archives = Archives { store: request.store, place, disks, at_once, progress };
        let done = archives.restore(found).await?;
        Ok(Restored {
            backup,
            by: By::Archives,
            files: done.files,
            bytes: Bytes(done.bytes),
            unchanged: Bytes(0),
            removed: 0,
            skipped: done.skipped,
        })
    }
}

fn restored(done: &Done, backup: BackupInfo) -> Restored {
    let Done { files, bytes, unchanged, removed } = *done;
    Restored {
        backup,
        by: By::Contents,
        files,
        bytes: Bytes(bytes),
        unchanged: Bytes(unchanged),
        removed,
        skipped: Vec::new(),
    }
}

/// Links the tablespaces, makes sure that all is on disk, and only then lets PostgreSQL start.
async fn finish(place: &Place, disks: &Arc<Disks>) -> Result<(), RestoreError> {
    let written = |path: &Path, source| RestoreError::Write { path: path.to_path_buf(), source };
    // Archives of others may lack folders that were empty.
    make_folder(&place.data.join("pg_wal"))?;
    let links = place.data.join("pg_tblspc");
    make_folder(&links)?;
    for (oid, location) in &place.tablespaces {
        let link = links.join(oid.to_string());
        let made = std::os::unix::fs::symlink(location, &link);
        made.map_err(|source| written(&link, source))?;
    }
    disks.sync().await?;
    let (so_far, control) = place.control();
    std::fs::rename(&so_far, &control).map_err(|source| written(&control, source))?;
    control.parent().map_or(Ok(()), sync_folder)
}
