//! Takes one backup from start to end, a full one or one that is incremental to another.
//!
//! Never leaves half of one: what a failed attempt stored is removed, its description first.

mod foundation;
mod increment;
mod parts;

pub use foundation::{Looked, Unfit};

use super::description::{Description, describe};
use super::index::End;
use super::pipeline::{Pipeline, Settled};
use super::read::Verification;
use super::session::{Session, Started, Stopped};
use super::{BackupError, BadPage, Options, Progress};
use crate::increment::Increment;
use crate::layout::Layout;
use crate::restore::RestoreError;
use crate::store::{Created, Store, StoreError};
use bytes::Bytes;
use foundation::{Foundation, Named};
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
    /// What it is to build on; a full one is taken when that does not suit.
    pub base: Option<&'a BackupId>,
    pub options: Options,
}

/// A backup that is stored and listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub started: Started,
    pub stopped: Stopped,
    /// The backup that it is incremental to.
    pub builds_on: Option<BackupId>,
    /// Why it does not build on what it was to build on.
    pub unfit: Option<Unfit>,
    pub looked: Looked,
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
    let (foundation, unfit) = match request.base {
        None => (None, None),
        Some(base) => match Foundation::open(request, base, &started).await? {
            Ok(foundation) => (Some(foundation), None),
            Err(unfit) => (None, Some(unfit)),
        },
    };
    let mut cancelled = std::pin::pin!(cancelled);
    let foundation = match foundation {
        None => None,
        Some(foundation) => {
            let named = tokio::select! {
                biased;
                () = &mut cancelled => return Err(BackupError::Cancelled),
                named = foundation.named(request, &started) => named,
            };
            Some((foundation, named))
        }
    };
    let looked = match &foundation {
        None => Looked::Full,
        Some((_, Ok(_))) => Looked::ByMap,
        Some((_, Err(why))) => {
            tracing::info!(backup = %request.id, %why, "all pages are read");
            Looked::ByScan(why.clone())
        }
    };
    let builds_on = foundation.as_ref().map(|(foundation, _)| foundation.base.clone());
    let parts = find(&started).await?;
    let verification = Verification { pages: started.pages, begin: started.begin };
    let skipped = parts.skipped.clone();
    let (base, bytes) = (builds_on.as_ref(), parts.bytes());
    let mut pipeline = Pipeline::start(request, base, verification, bytes, progress)?;
    let outcome = tokio::select! {
        biased;
        () = &mut cancelled => Err(BackupError::Cancelled),
        outcome = store(&mut pipeline, (parts, foundation), session, &started) => outcome,
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
    commit(request, base, (&started, &stopped), settled.end).await?;
    let taken = taken(started, stopped, settled, skipped);
    Ok(Taken { builds_on, unfit, looked, ..taken })
}

/// Stores all that it consists of and the table of contents.
async fn store(
    pipeline: &mut Pipeline<'_>,
    (parts, foundation): (Parts, Option<(Foundation, Named)>),
    session: &mut impl Session,
    started: &Started,
) -> Result<Stopped, BackupError> {
    let mut last = match foundation {
        None => parts.store(pipeline).await?,
        Some(foundation) => parts.store_changes(pipeline, foundation, started).await?,
    };
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
    base: Option<&BackupId>,
    (started, stopped): (&Started, &Stopped),
    end: End,
) -> Result<(), BackupError> {
    let Request { store, layout, id, name, .. } = *request;
    let size = Size(end.bytes);
    let info = describe(&Description { name, started, stopped, size });
    let (key, text) = match base {
        None => (layout.backup_info(id), info.write().into_bytes()),
        Some(base) => {
            // Retention or somebody else may have removed it meanwhile.
            if !is_listed(store, layout, base).await.map_err(BackupError::store)? {
                let source = Box::new(RestoreError::Missing { backup: base.clone() });
                return Err(BackupError::Base { base: base.clone(), source });
            }
            let increment = Increment { base: base.clone(), info };
            let text = increment.write(id);
            let text = text.map_err(|source| BackupError::Describe { source })?;
            (layout.increment_description(id), text)
        }
    };
    store.put_new(&key, text.into()).await.map(drop).map_err(BackupError::store)
}

fn taken(started: Started, stopped: Stopped, settled: Settled, skipped: Vec<PathBuf>) -> Taken {
    let Settled { stored, end } = settled;
    Taken {
        started,
        stopped,
        builds_on: None,
        unfit: None,
        looked: Looked::Full,
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
    for (folder, described) in [
        (layout.increment(id), layout.increment_description(id)),
        (layout.backup(id), layout.backup_info(id)),
    ] {
        store.delete_described(&folder, &described, |_| true).await?;
        store.clear_leftovers(&folder).await?;
    }
    let index = layout.index(id);
    store.delete(vec![index.clone()]).await?;
    store.clear_leftovers(&index.folder()).await?;
    store.delete(vec![layout.taker(id)]).await
}

/// Whether there is a backup of this id, full or incremental.
async fn is_listed(store: &Store, layout: &Layout, id: &BackupId) -> Result<bool, StoreError> {
    let (full, increment) = (layout.backup(id), layout.increment(id));
    Ok(store.is_listed(&full, &layout.backup_info(id)).await?
        || store.is_listed(&increment, &layout.increment_description(id)).await?)
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
