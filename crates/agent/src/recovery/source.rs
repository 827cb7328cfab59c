//! Opens where a recovery reads from, and looks whether the cluster's own place is free.
//!
//! Never writes to either.

use super::course::NewFromBackup;
use super::failure::RecoveryError;
use crate::archive::repository;
use pgherd_backup::catalogue::Repository;
use pgherd_backup::compression::Compression;
use pgherd_backup::encryption::refuse_other_form;
use pgherd_backup::layout::Layout;
use pgherd_backup::store::{Patience, Store};
use pgherd_backup::wal::{Archive, Settings};
use pgherd_core::units::{Bytes, SystemId};

/// What may be on its way at once.
const MEMORY: Bytes = Bytes(64 << 20);

/// Two clusters in one place would spoil each other's log.
pub(super) async fn refuse_occupied(new: &NewFromBackup) -> Result<(), RecoveryError> {
    let Some((own, keys)) = &new.own else { return Ok(()) };
    let keys = repository::in_folder(keys);
    let opened = repository::open(own, own.encryption, &keys, Patience::asking());
    let (store, layout) = opened.map_err(|source| RecoveryError::OpenOwn { source })?;
    let looked = refuse_other_form(&store, &layout).await;
    looked.map_err(|source| RecoveryError::OwnForm { source })?;
    let found = archive(store, layout, None).occupied(None).await;
    match found.map_err(|source| RecoveryError::LookAtOwn { source })? {
        Some(source) => Err(RecoveryError::OwnOccupied { source }),
        None => Ok(()),
    }
}

pub(super) fn archive(store: Store, layout: Layout, system: Option<SystemId>) -> Archive {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let compression = Compression::None;
    Archive::new(store, layout, Settings { compression, system, memory: MEMORY, processors })
}

/// Where everything comes from.
pub(super) struct Source {
    pub(super) store: Store,
    pub(super) layout: Layout,
}

impl Source {
    pub(super) fn open(new: &NewFromBackup) -> Result<Self, RecoveryError> {
        Self::opened(new, Patience::carrying(MEMORY))
    }

    /// The same to be looked into: what is in the way is told soon, for the whole is tried again.
    pub(super) fn to_look_into(new: &NewFromBackup) -> Result<Repository, RecoveryError> {
        Self::opened(new, Patience::asking()).map(|source| source.repository())
    }

    fn opened(new: &NewFromBackup, patience: Patience) -> Result<Self, RecoveryError> {
        let keys = repository::in_folder(&new.keys);
        let opened = repository::open(&new.spec.source, None, &keys, patience);
        let (store, layout) = opened.map_err(|source| RecoveryError::OpenSource { source })?;
        Ok(Self { store, layout })
    }

    pub(super) fn repository(&self) -> Repository {
        Repository::new(self.store.clone(), self.layout.clone())
    }
}
