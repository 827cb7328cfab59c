//! Finds what a backup builds on, down to the full one.
//!
//! Never takes a chain for whole of which a part is missing.

use super::{RestoreError, Unusable};
use crate::backup_info::BackupInfo;
use crate::increment::Increment;
use crate::layout::{Key, Layout};
use crate::store::{Object, Store};
use pgherd_core::backup::increment::LONGEST;
use pgherd_core::backup::{BackupId, Status};
use pgherd_core::units::Bytes;

/// One backup of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) id: BackupId,
    pub(crate) kind: Kind,
    pub(crate) info: BackupInfo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Full,
    Incremental { base: BackupId },
}

/// A description is far below this.
const DESCRIPTION: Bytes = Bytes(8 << 20);

impl Link {
    /// Where one of its objects lies.
    pub(super) fn object(&self, layout: &Layout, name: &str) -> Key {
        match self.kind {
            Kind::Full => layout.archive(&self.id, name),
            Kind::Incremental { .. } => layout.increment_object(&self.id, name),
        }
    }

    pub(super) fn index_key(&self, layout: &Layout) -> Key {
        match self.kind {
            Kind::Full => layout.index(&self.id),
            Kind::Incremental { .. } => layout.increment_index(&self.id),
        }
    }

    /// Its table of contents.
    pub(super) async fn index(
        &self,
        (store, layout): (&Store, &Layout),
    ) -> Result<Object, RestoreError> {
        let found = store.head(&self.index_key(layout)).await.map_err(RestoreError::store)?;
        let (backup, because) = (self.id.clone(), Unusable::NoContents);
        found.ok_or(RestoreError::Unusable { backup, because })
    }
}

/// A backup and all that it builds on, the full one last.
pub(super) async fn chain(
    place: (&Store, &Layout),
    id: &BackupId,
) -> Result<Vec<Link>, RestoreError> {
    let first = link(place, id).await?;
    let mut chain = vec![first];
    for _ in 0..LONGEST {
        let Some(Link { id, kind: Kind::Incremental { base }, .. }) = chain.last() else {
            return Ok(chain);
        };
        // Each is older than the one before, so this comes to an end.
        let next = match link(place, base).await {
            Err(RestoreError::Missing { backup: base }) => {
                return Err(RestoreError::NoBase { backup: id.clone(), base });
            }
            next => next?,
        };
        chain.push(next);
    }
    match chain.last().map(|last| &last.kind) {
        Some(Kind::Full) => Ok(chain),
        Some(Kind::Incremental { .. }) | None => {
            Err(RestoreError::Unusable { backup: id.clone(), because: Unusable::TooLong })
        }
    }
}

/// One backup alone, if it can be restored by what is told of it.
pub(crate) async fn link(
    (store, layout): (&Store, &Layout),
    id: &BackupId,
) -> Result<Link, RestoreError> {
    let read = async |key: &Key| store.get(key, DESCRIPTION).await.map_err(RestoreError::store);
    let unusable = |because| RestoreError::Unusable { backup: id.clone(), because };
    if let Some(text) = read(&layout.backup_info(id)).await? {
        let info = BackupInfo::read(&String::from_utf8_lossy(&text));
        let because = match info.status {
            _ if info.snapshots.is_some() => Unusable::Snapshot,
            // barman restores what says nothing, too.
            Some(Status::Done) | None => {
                return Ok(Link { id: id.clone(), kind: Kind::Full, info });
            }
            Some(Status::Unfinished | Status::Failed | Status::WaitingForWal) => {
                Unusable::Unfinished
            }
        };
        return Err(unusable(because));
    }
    let Some(text) = read(&layout.increment_description(id)).await? else {
        return Err(RestoreError::Missing { backup: id.clone() });
    };
    match Increment::read(id, &text) {
        Ok(Increment { base, info }) => {
            Ok(Link { id: id.clone(), kind: Kind::Incremental { base }, info })
        }
        Err(error) => {
            let (key, what) = (layout.increment_description(id), error.to_string());
            Err(RestoreError::Damaged { key, what })
        }
    }
}
