//! Stores what an earlier primary had not stored when it was lost, from the copies that are here.
//!
//! Never stores what that primary wrote after the point at which it was left.

use super::opened::{Opened, PushError};
use super::ready;
use crate::postgres::wal::history::{self, HistoryError};
use pgherd_backup::store::StoreError;
use pgherd_backup::wal::WalError;
use pgherd_core::units::{SystemId, Timeline};
use pgherd_core::wal::WalFile;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use tracing::info;

#[derive(Debug, thiserror::Error)]
pub(super) enum CatchUpError {
    #[error("reading where earlier timelines were left")]
    Read(#[source] HistoryError),
    #[error("listing the log")]
    ListHere(#[source] io::Error),
    #[error("looking for gaps in the archive")]
    ListThere(#[source] StoreError),
    #[error("filling a gap in the archive")]
    Push(#[source] PushError),
}

/// Closes the gap that a lost primary left, up to where `timeline` began.
pub(super) async fn catch_up(
    opened: &Opened,
    data: &Path,
    timeline: Timeline,
) -> Result<(), CatchUpError> {
    let (system, folder) = (opened.system, data.to_owned());
    let here = tokio::task::spawn_blocking(move || past(&folder, timeline, system));
    // A task that broke is told by its runtime; there is nothing to store then.
    let here = here.await.unwrap_or_else(|_| Ok(BTreeSet::new()))?;
    let mut folders: BTreeMap<_, Vec<WalFile>> = BTreeMap::new();
    for file in here {
        folders.entry(opened.archive.layout().wal_folder(file)).or_default().push(file);
    }
    for (folder, files) in folders {
        let there = opened.store.folder(&folder).await.map_err(CatchUpError::ListThere)?;
        let layout = opened.archive.layout();
        let there = there.objects.iter().filter_map(|object| layout.wal_at(&object.key));
        let there: BTreeSet<_> = there.map(|(file, _)| file).collect();
        for file in files.into_iter().filter(|file| !there.contains(file)) {
            push(opened, data, file).await?;
        }
    }
    Ok(())
}

async fn push(opened: &Opened, data: &Path, file: WalFile) -> Result<(), CatchUpError> {
    match opened.push(file, &ready::path(data, file)).await {
        Ok(()) => {
            info!(%file, "archived what an earlier primary had not");
            Ok(())
        }
        // PostgreSQL keeps it only as long as it likes.
        Err(PushError::Push(WalError::Read { source, .. }))
            if source.kind() == io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(CatchUpError::Push(error)),
    }
}

/// The files here of which the past of this timeline is made, as far as they are whole.
fn past(
    data: &Path,
    timeline: Timeline,
    system: SystemId,
) -> Result<BTreeSet<WalFile>, CatchUpError> {
    let history = history::read(data, timeline).map_err(CatchUpError::Read)?.unwrap_or_default();
    let is_past = |file: &WalFile| match *file {
        // Those of timelines that nobody used are there, too: who reads them one by one, as
        // PostgreSQL does, would stop at a gap.
        WalFile::History(of) => of <= timeline,
        WalFile::Segment(segment) => history.leaves(segment.timeline()).is_some_and(|left| {
            let size = ready::size_if_whole(data, segment, system);
            size.is_some_and(|size| segment.end(size) <= left)
        }),
        WalFile::Partial(_) | WalFile::Label { .. } => false,
    };
    let here = ready::all(data).map_err(CatchUpError::ListHere)?;
    Ok(here.into_iter().filter(is_past).collect())
}
