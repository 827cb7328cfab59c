//! Waits until the log that makes a backup consistent is in the archive.
//!
//! Never takes a backup back for its log: it is whole, and its log may come later.

use pgherd_backup::catalogue::{CatalogueError, Repository};
use pgherd_backup::layout::Layout;
use pgherd_backup::store::{Retry, Store, StoreError};
use pgherd_core::backup::{BackupId, Extent};
use pgherd_core::wal::{Segment, WalFile};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between looks.
const LOOK: Duration = Duration::from_secs(1);
/// Before it is asked for anew that the primary finishes its segment.
const ASK: Duration = Duration::from_secs(30);
/// Longer than a primary that nobody asks keeps a segment to itself: `archive_timeout` is 5 minutes.
const PATIENCE: Duration = Duration::from_mins(15);

#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("looking for the log in the archive")]
    Look(#[source] StoreError),
    #[error("working out what can be recovered")]
    Work(#[source] CatalogueError),
    #[error(
        "{missing} has not come into the archive for {} minutes: the backup is stored as {id} and \
         can be restored once that is there; look at what keeps the archive",
        PATIENCE.as_secs() / 60
    )]
    Late { id: BackupId, missing: Segment },
}

/// The backup whose log is waited for, and where.
pub(super) struct Awaited<'a> {
    pub(super) store: &'a Store,
    pub(super) layout: &'a Layout,
    pub(super) id: &'a BackupId,
    pub(super) extent: Extent,
}

/// `ask` makes the primary finish the segment that it is at; `tell` is told what is missing.
pub(super) async fn wait<Asking: Future<Output = ()>>(
    awaited: &Awaited<'_>,
    mut ask: impl FnMut() -> Asking,
    mut tell: impl FnMut(Option<Segment>),
) -> Result<(), LogError> {
    let mut asked: Option<Instant> = None;
    let mut stuck: Option<(Segment, Instant)> = None;
    let mut away: Option<Instant> = None;
    loop {
        let missing = match missing(awaited, stuck.map(|(at, _)| at)).await {
            Ok(missing) => missing,
            // What is stored stays: a store that is away for a while costs nothing but time.
            Err(error) if error.retry() == Retry::Soon => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    return Err(LogError::Look(error));
                }
                sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(LogError::Look(error)),
        };
        away = None;
        tell(missing);
        let Some(missing) = missing else { return Ok(()) };
        let since = match stuck {
            Some((at, since)) if at == missing => since,
            Some(_) | None => Instant::now(),
        };
        stuck = Some((missing, since));
        if asked.is_none_or(|asked| asked.elapsed() >= ASK) {
            // A promotion may have put a copy of the last segment on a timeline of its own.
            if asked.is_some() && is_usable(awaited).await.map_err(LogError::Work)? {
                tell(None);
                return Ok(());
            }
            ask().await;
            asked = Some(Instant::now());
        }
        if since.elapsed() >= PATIENCE {
            return Err(LogError::Late { id: awaited.id.clone(), missing });
        }
        sleep(LOOK).await;
    }
}

/// The first segment that is not there, none before `from` being in doubt.
async fn missing(
    awaited: &Awaited<'_>,
    from: Option<Segment>,
) -> Result<Option<Segment>, StoreError> {
    let (size, last) = (awaited.extent.segment_size, awaited.extent.last_segment());
    let mut segment = from.unwrap_or(awaited.extent.first_segment());
    let mut there: (String, BTreeSet<WalFile>) = Default::default();
    while segment <= last {
        let folder = awaited.layout.wal_folder(WalFile::Segment(segment));
        if there.0 != folder.as_str() {
            let listed = awaited.store.folder(&folder).await?;
            let files = listed.objects.iter().filter_map(|it| awaited.layout.wal_at(&it.key));
            there = (folder.as_str().to_owned(), files.map(|(file, _)| file).collect());
        }
        if !there.1.contains(&WalFile::Segment(segment)) {
            return Ok(Some(segment));
        }
        segment = segment.next(size);
    }
    Ok(None)
}

async fn is_usable(awaited: &Awaited<'_>) -> Result<bool, CatalogueError> {
    let repository = Repository::new(awaited.store.clone(), awaited.layout.clone());
    let catalogue = repository.list().await?;
    let (_, window) = repository.window(&catalogue).await?;
    let is_listed = catalogue.entries.iter().any(|entry| entry.id == *awaited.id);
    Ok(is_listed && window.unusable.iter().all(|one| one.backup != *awaited.id))
}
