//! Takes one backup from start to end.
//!
//! Never leaves half of one: what a failed attempt stored is removed, its description first.

mod parts;

use super::description::{Description, describe};
use super::index::End;
use super::pipeline::{Pipeline, Settled};
use super::read::Verification;
use super::session::{Session, Started, Stopped};
use super::{BackupError, BadPage, Options, Progress};
use crate::layout::{Key, Layout};
use crate::store::{Created, Store, StoreError};
use bytes::Bytes;
use futures_util::TryStreamExt;
use parts::{Parts, find};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes as Size;
use std::path::PathBuf;
use tokio::sync::watch;

/// Names are far below this.
const LARGEST_TAKER: Size = Size(4 << 10);

/// Which backup, where to, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub store: &'a Store,
    pub layout: &'a Layout,
    pub id: &'a BackupId,
    /// What people call it.
    pub name: Option<&'a str>,
    /// Who takes it; nobody else takes one under this id meanwhile.
    pub by: &'a str,
    pub options: Options,
}

/// A backup that is stored and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub started: Started,
    pub stopped: Stopped,
    pub files: u64,
    /// Of the files, and of the archives.
    pub bytes: Size,
    pub stored: Size,
    /// The first of the pages that are bad, and how many there are.
    pub bad_pages: Vec<BadPage>,
    pub bad_pages_in_all: u64,
    /// What was found and is not in the backup: sockets, links, names that are no text.
    pub skipped: Vec<PathBuf>,
}

/// Takes a backup, unless `cancelled` comes first. The session has to be closed by whoever
/// opened it when this fails: that ends the backup in PostgreSQL.
pub async fn take(
    request: &Request<'_>,
    session: &mut impl Session,
    progress: watch::Sender<Progress>,
    cancelled: impl Future<Output = ()>,
) -> Result<Taken, BackupError> {
    if is_listed(request.store, request.layout, request.id).await.map_err(BackupError::store)? {
        return Err(BackupError::AlreadyThere(request.id.clone()));
    }
    let taker = request.layout.taker(request.id);
    let claimed = request.store.create(&taker, Bytes::from(request.by.to_owned())).await;
    match claimed.map_err(BackupError::store)? {
        Created::Now => {}
        Created::WasThere => return Err(BackupError::AlreadyThere(request.id.clone())),
    }
    let attempt = attempt(request, session, progress, cancelled).await;
    let cleared = match &attempt {
        Ok(_) => request.store.delete(vec![taker]).await,
        Err(_) => sweep(request.store, request.layout, request.id).await,
    };
    if let Err(error) = cleared {
        tracing::warn!(backup = %request.id, %error, "what a backup left was not removed");
    }
    attempt
}

async fn attempt(
    request: &Request<'_>,
    session: &mut impl Session,
    progress: watch::Sender<Progress>,
    cancelled: impl Future<Output = ()>,
) -> Result<Taken, BackupError> {
    let label = format!("pgherd backup {}", request.id);
    let started = session.start(&label).await.map_err(|source| BackupError::Start { source })?;
    let parts = find(&started).await?;
    let verification = Verification { pages: started.pages, begin: started.begin };
    let skipped = parts.skipped.clone();
    let mut pipeline = Pipeline::start(request, verification, parts.bytes(), progress)?;
    let outcome = tokio::select! {
        biased;
        () = cancelled => Err(BackupError::Cancelled),
        outcome = store(&mut pipeline, parts, session, &started) => outcome,
    };
    // What is under way is stored or taken back before anything else is done.
    let settled = pipeline.settle().await;
    let (stopped, settled) = match (outcome, settled) {
        (Ok(stopped), Ok(settled)) => (stopped, settled),
        // That the work was abandoned only follows from another failure.
        (Ok(_) | Err(BackupError::Abandoned), Err(cause)) | (Err(cause), Ok(_) | Err(_)) => {
            return Err(cause);
        }
    };
    commit(request, &started, &stopped, settled.end).await?;
    Ok(taken(started, stopped, settled, skipped))
}

/// Stores all archives and the table of contents.
async fn store(
    pipeline: &mut Pipeline<'_>,
    parts: Parts,
    session: &mut impl Session,
    started: &Started,
) -> Result<Stopped, BackupError> {
    let mut last = parts.store(pipeline).await?;
    // Recovery begins where this file says, so it is read when all others have been.
    last.control(pipeline).await?;
    let stopped = session.stop().await.map_err(|source| BackupError::Stop { source })?;
    last.label(pipeline, &stopped).await?;
    last.manifest(pipeline, started, &stopped).await?;
    pipeline.end().await?;
    Ok(stopped)
}

/// From here on it is a backup.
async fn commit(
    request: &Request<'_>,
    started: &Started,
    stopped: &Stopped,
    end: End,
) -> Result<(), BackupError> {
    let Request { store, layout, id, name, .. } = *request;
    let size = Size(end.bytes);
    let text = describe(&Description { name, started, stopped, size });
    let key = layout.backup_info(id);
    store.put_new(&key, text.into()).await.map(drop).map_err(BackupError::store)
}

fn taken(started: Started, stopped: Stopped, settled: Settled, skipped: Vec<PathBuf>) -> Taken {
    let Settled { stored, end } = settled;
    Taken {
        started,
        stopped,
        files: end.files,
        bytes: Size(end.bytes),
        stored: Size(stored.bytes),
        bad_pages: stored.bad,
        bad_pages_in_all: stored.bad_in_all,
        skipped,
    }
}

/// Removes all that is stored of a backup: its description first, so that nobody begins to read
/// it, then the rest.
pub async fn sweep(store: &Store, layout: &Layout, id: &BackupId) -> Result<(), StoreError> {
    store.delete(vec![layout.backup_info(id)]).await?;
    let folder = layout.backup(id);
    let listed = store.list(&folder, None);
    let keys: Vec<Key> = listed.map_ok(|object| object.key).try_collect().await?;
    let described = layout.backup_info(id);
    if keys.contains(&described) {
        return Err(store.remains(&described));
    }
    store.delete(keys).await?;
    store.delete(vec![layout.index(id)]).await?;
    store.delete(vec![layout.taker(id)]).await
}

async fn is_listed(store: &Store, layout: &Layout, id: &BackupId) -> Result<bool, StoreError> {
    store.is_listed(&layout.backup(id), &layout.backup_info(id)).await
}

/// What was found of a backup whose taker has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It is whole and listed.
    Listed,
    /// Half of it was there, and is removed.
    Removed,
    /// Nothing, or somebody else's.
    Nothing,
}

/// Ends what `by` began and did not end itself.
pub async fn clear(
    store: &Store,
    layout: &Layout,
    id: &BackupId,
    by: &str,
) -> Result<Left, StoreError> {
    let taker = layout.taker(id);
    let is_listed = is_listed(store, layout, id).await?;
    match store.get(&taker, LARGEST_TAKER).await? {
        Some(found) if found == by.as_bytes() && is_listed => {
            store.delete(vec![taker]).await?;
            Ok(Left::Listed)
        }
        Some(found) if found == by.as_bytes() => {
            sweep(store, layout, id).await?;
            Ok(Left::Removed)
        }
        Some(_) | None if is_listed => Ok(Left::Listed),
        Some(_) | None => Ok(Left::Nothing),
    }
}
