//! Restores a backup that has no table of contents, as barman's own: unpacks its archives, one on
//! each processor.
//!
//! Never follows or makes a link, and never takes an archive for whole whose end is missing.

use super::RestoreError;
use super::durable::Disks;
use super::fetch::{Received, pair, send};
use super::indexed::{create, make_folder};
use super::place::Place;
use crate::base::Progress;
use crate::compression::Compression;
use crate::layout::{Key, Layout};
use crate::store::{Object, Store, StoreError};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tar::{Archive, Entry, EntryType};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

const BUFFER: usize = 256 << 10;

/// Whether the data of a full backup is there, as far as a listing shows it.
pub(crate) async fn has_data(
    store: &Store,
    layout: &Layout,
    id: &BackupId,
) -> Result<bool, StoreError> {
    let listed = store.folder(&layout.backup(id)).await?;
    let mut archives = listed.objects.into_iter().filter_map(Found::of);
    Ok(archives.any(|found| found.tablespace.is_none() && found.is_first()))
}

/// An archive of a backup, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) object: Object,
    /// The tablespace it belongs to.
    pub(super) tablespace: Option<u32>,
    compression: Compression,
    number: u32,
}

impl Found {
    /// What this object is, if it is an archive.
    pub(super) fn of(object: Object) -> Option<Self> {
        let (name, compression) = Compression::of(object.key.name());
        let stem = name.strip_suffix(".tar")?;
        let (part, number) = match stem.split_once('_') {
            Some((part, number)) => (part, number.parse().ok()?),
            None => (stem, 0),
        };
        let tablespace = match part {
            "data" => None,
            oid => Some(oid.parse().ok()?),
        };
        Some(Self { object, tablespace, compression, number })
    }

    pub(super) fn is_first(&self) -> bool {
        self.number == 0
    }

    fn folder(&self) -> String {
        self.tablespace.map_or_else(String::new, |oid| format!("pg_tblspc/{oid}/"))
    }
}

/// What was done in the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Members that are neither files nor folders.
    pub(super) skipped: Vec<PathBuf>,
}

pub(super) struct Archives<'a> {
    pub(super) store: &'a Store,
    pub(super) place: Arc<Place>,
    pub(super) disks: Arc<Disks>,
    pub(super) at_once: usize,
    pub(super) progress: watch::Sender<Progress>,
}

impl Archives<'_> {
    pub(super) async fn restore(&self, found: Vec<Found>) -> Result<Done, RestoreError> {
        let (began, mut done, mut tasks) = (Instant::now(), Done::default(), JoinSet::new());
        // The largest first, so that no processor is left with it in the end.
        let mut waiting = found;
        waiting.sort_by_key(|found| found.object.size);
        while let Some(next) = waiting.pop() {
            while tasks.len() >= self.at_once.max(1) {
                self.one_done(&mut tasks, &mut done).await?;
            }
            let unpacked = unpack(self.store.clone(), Arc::clone(&self.place), next);
            let (progress, disks) = (self.progress.clone(), Arc::clone(&self.disks));
            tasks.spawn(async move {
                let (done, moved) = unpacked.await?;
                disks.wrote(done.bytes).await?;
                progress.send_modify(|progress| {
                    progress.done = Bytes(progress.done.0 + done.bytes);
                    progress.moved = Bytes(progress.moved.0 + moved);
                    progress.elapsed = began.elapsed();
                });
                Ok(done)
            });
        }
        while !tasks.is_empty() {
            self.one_done(&mut tasks, &mut done).await?;
        }
        Ok(done)
    }

    async fn one_done(
        &self,
        tasks: &mut JoinSet<Result<Done, RestoreError>>,
        done: &mut Done,
    ) -> Result<(), RestoreError> {
        let lost = || RestoreError::WorkerLost(crate::workers::WorkerLost);
        let Some(finished) = tasks.join_next().await else { return Ok(()) };
        let one = finished.map_err(|_died| lost())??;
        done.files += one.files;
        done.bytes += one.bytes;
        done.skipped.extend(one.skipped);
        Ok(())
    }
}

/// Fetches and unpacks one archive; says how large it was, too.
async fn unpack(
    store: Store,
    place: Arc<Place>,
    found: Found,
) -> Result<(Done, u64), RestoreError> {
    let (sender, received) = pair();
    let Object { key, size, .. } = found.object.clone();
    let mut work = JoinSet::new();
    work.spawn(send(store, key, size.0, sender));
    let unpacking = tokio::task::spawn_blocking(move || unpack_all(received, &place, &found));
    let done = unpacking.await;
    let done = done.map_err(|_died| RestoreError::WorkerLost(crate::workers::WorkerLost))??;
    Ok((done, size.0))
}

fn unpack_all(received: Received, place: &Place, found: &Found) -> Result<Done, RestoreError> {
    let key = &found.object.key;
    let failed = |source| RestoreError::Archive { key: key.clone(), source };
    let plain = found.compression.reader(received).map_err(failed)?;
    let mut archive = Archive::new(plain);
    let (mut done, mut buffer) = (Done::default(), vec![0; BUFFER]);
    for entry in archive.entries().map_err(failed)? {
        member(entry.map_err(failed)?, place, found, (&mut done, &mut buffer))?;
    }
    // Only at the end of what is packed it shows whether it is whole.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(failed)?;
    Ok(done)
}

fn member(
    mut entry: Entry<'_, impl Read>,
    place: &Place,
    found: &Found,
    (done, buffer): (&mut Done, &mut [u8]),
) -> Result<(), RestoreError> {
    let key = || found.object.key.clone();
    let name = entry.path_bytes().into_owned();
    let Ok(name) = String::from_utf8(name) else {
        let what = "the name of a file in it is no text".to_owned();
        return Err(RestoreError::Damaged { key: key(), what });
    };
    let at = |name: &str| {
        let at = place.of_member(&found.folder(), name);
        at.map_err(|source| RestoreError::Refused { key: key(), source })
    };
    match entry.header().entry_type() {
        // The folder itself is there.
        EntryType::Directory if ["", "."].contains(&name.trim_end_matches('/')) => Ok(()),
        EntryType::Directory => make_folder(&at(&name)?),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let path = at(&name)?;
            done.files += 1;
            done.bytes += file(&mut entry, &path, buffer, found)?;
            Ok(())
        }
        _ => {
            done.skipped.push(name.into());
            Ok(())
        }
    }
}

fn file(
    content: &mut impl Read,
    path: &Path,
    buffer: &mut [u8],
    found: &Found,
) -> Result<u64, RestoreError> {
    let writing = |source| RestoreError::Write { path: path.to_path_buf(), source };
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut file = create(path).map_err(writing)?;
    let mut written = 0;
    loop {
        let read = match content.read(buffer) {
            Ok(0) => return Ok(written),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => {
                return Err(RestoreError::Archive { key: key_of(found), source });
            }
        };
        file.write_all(buffer.get(..read).unwrap_or_default()).map_err(writing)?;
        written += read as u64;
    }
}

fn key_of(found: &Found) -> Key {
    found.object.key.clone()
}

#[cfg(test)]
mod tests;
