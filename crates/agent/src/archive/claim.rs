//! Makes sure that a place is ours before anything is stored there.
//!
//! Never writes to one that holds another cluster's log, nor to one of which that is not certain.

use super::opened::Opened;
use bytes::Bytes;
use futures_util::StreamExt;
use pgherd_backup::encryption::{FormError, refuse_other_form};
use pgherd_backup::layout::{Key, Layout, OwnObject};
use pgherd_backup::store::{Created, Store, StoreError};
use pgherd_backup::wal::header::Damage;
use pgherd_backup::wal::{Fetched, Partials, WalError};
use pgherd_core::units::{Bytes as Size, SystemId};
use pgherd_core::wal::WalFile;
use std::path::PathBuf;

/// What stands before the number in the object that says whose log this is.
const SAID: &str = "system identifier ";
const LARGEST: Size = Size(4096);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("looking whose log is there")]
    Look(#[source] StoreError),
    #[error("using this place in the repository")]
    Form(#[source] FormError),
    #[error("saying whose log is there")]
    Say(#[source] StoreError),
    #[error("comparing {file}, which is there")]
    Compare { file: WalFile, source: Box<WalError> },
    #[error(
        "the archive is of another cluster, with system identifier {theirs}, and ours is {ours}: \
         choose another serverName or destinationPath; what is there comes back by bootstrap.recovery"
    )]
    Other { theirs: String, ours: SystemId },
    #[error(
        "the archive is not empty: it holds {key}, which is not known to be of this cluster; \
         choose another serverName or destinationPath, or remove what is there"
    )]
    Occupied { key: Key },
    #[error(
        "the archive was here before, and the folder is empty: mount its disk again, or, if it is \
         meant to begin anew, remove {note:?}"
    )]
    Gone { note: PathBuf },
}

/// What there is without our mark, and is in nobody's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    None,
    Ours,
}

/// The system identifier of the cluster that an archive belongs to, if that is written there.
pub async fn owner(store: &Store, layout: &Layout) -> Result<Option<String>, StoreError> {
    let content = store.get(&layout.own(OwnObject::System), LARGEST).await?;
    Ok(content.map(|content| {
        let text = String::from_utf8_lossy(&content);
        text.trim_end().trim_start_matches(SAID).to_owned()
    }))
}

impl Opened {
    /// Makes certain that the place is ours.
    pub(crate) async fn claim(&self) -> Result<(), ClaimError> {
        let mark = self.archive.layout().own(OwnObject::System);
        if !self.is_marked().await? {
            let looked = refuse_other_form(&self.store, self.archive.layout()).await;
            looked.map_err(ClaimError::Form)?;
            if self.refuse_others().await? == Log::None && self.remembered.has() {
                return Err(ClaimError::Gone { note: self.remembered.file().to_owned() });
            }
            let content = Bytes::from(format!("{SAID}{}\n", self.system));
            match self.store.create(&mark, content).await.map_err(ClaimError::Say)? {
                Created::Now => {}
                // Somebody was faster; that may be us, before the agent was started again.
                Created::WasThere => drop(self.is_marked().await?),
            }
        }
        self.remembered.note();
        Ok(())
    }

    /// Notes that it is ours where somebody else has said so: who is primary later has to miss it.
    pub(super) async fn remember(&self) {
        if self.is_marked().await.is_ok_and(|is_ours| is_ours) {
            self.remembered.note();
        }
    }

    /// Whether it is ours for certain; it is an error when it is another's.
    async fn is_marked(&self) -> Result<bool, ClaimError> {
        match owner(&self.store, self.archive.layout()).await.map_err(ClaimError::Look)? {
            None => Ok(false),
            Some(theirs) if theirs == self.system.to_string() => Ok(true),
            Some(theirs) => Err(ClaimError::Other { theirs, ours: self.system }),
        }
    }

    /// Log without our mark is of this cluster if a segment says so: another tool may have
    /// archived it.
    async fn refuse_others(&self) -> Result<Log, ClaimError> {
        let wals = self.archive.layout().wals();
        let mut objects = std::pin::pin!(self.store.list(&wals, None));
        let mut other = None;
        while let Some(object) = objects.next().await {
            let key = object.map_err(ClaimError::Look)?.key;
            match self.archive.layout().wal_at(&key) {
                Some((file @ WalFile::Segment(_), _)) => {
                    return self.compare(file, key).await.map(|()| Log::Ours);
                }
                Some(_) => other = other.or(Some(key)),
                None => {}
            }
        }
        other.map_or(Ok(Log::None), |key| Err(ClaimError::Occupied { key }))
    }

    async fn compare(&self, file: WalFile, key: Key) -> Result<(), ClaimError> {
        let target = self.scratch.join("claim");
        let fetched = self.archive.fetch(file, Partials::Never, &target).await;
        // It is of no use any more, and is cleared away with the folder otherwise.
        let _gone = std::fs::remove_file(&target).is_ok();
        match fetched {
            Ok(Fetched::Whole { .. }) => Ok(()),
            Ok(Fetched::Partial { .. } | Fetched::Absent) => Err(ClaimError::Occupied { key }),
            Err(WalError::Damaged { source: Damage::System { found, ours }, .. }) => {
                Err(ClaimError::Other { theirs: found.to_string(), ours })
            }
            Err(error) => Err(ClaimError::Compare { file, source: Box::new(error) }),
        }
    }
}
