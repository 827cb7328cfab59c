//! A repository that is open, and the cluster whose it is to be.
//!
//! Never changes what another cluster left there.

use pgherd_agent::archive::{
    self,
    repository::{self, Find, OpenError},
};
use pgherd_agent::chain::chain;
use pgherd_api::agent::{ArchiveFile, ArchiveSpec};
use pgherd_backup::catalogue::{Catalogue, CatalogueError, Repository};
use pgherd_backup::layout::Layout;
use pgherd_backup::store::{Patience, Store};
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Bytes, SystemId};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::manifest::Keys;
use std::path::PathBuf;

/// What may be on its way at once.
const PART: Bytes = Bytes(64 << 20);

/// The cluster that asks.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) cluster: String,
    /// Whose data it has; none before there is any.
    pub(crate) system: Option<SystemId>,
    /// The major version of its programs, if there are any.
    pub(crate) major: Option<u32>,
    /// A folder on the disk that a restore would fill, if that is this machine's.
    pub(crate) disk: Option<PathBuf>,
}

/// The repository of one cluster.
pub(crate) struct Opened {
    pub(crate) spec: ArchiveSpec,
    pub(crate) store: Store,
    pub(crate) layout: Layout,
    pub(crate) repository: Repository,
    pub(crate) around: Around,
}

pub(crate) fn open_with(
    spec: ArchiveSpec,
    find: Find<'_>,
    around: Around,
) -> Result<Opened, Failure> {
    let opened = repository::open(&spec, spec.data.encryption, find, Patience::carrying(PART));
    let (store, layout) =
        opened.map_err(|error: OpenError| Failure::from_error(Kind::Refused, &error))?;
    let repository = Repository::new(store.clone(), layout.clone());
    Ok(Opened { spec, store, layout, repository, around })
}

/// The same with what a manifest came with.
pub(crate) fn open_with_keys(
    (spec, keys): (ArchiveSpec, &Keys),
    around: Around,
) -> Result<Opened, Failure> {
    let find = |file: ArchiveFile| {
        let found = keys.files().find(|(known, _)| *known == file);
        found.map(|(_, content)| content.to_owned()).ok_or(OpenError::Missing { file })
    };
    open_with(spec, &find, around)
}

impl Opened {
    /// Where it lies, for people.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.spec.destination.trim_end_matches('/'), self.spec.server)
    }

    /// Refuses what is another cluster's: one that was made again under a name has not the backups
    /// of the one before.
    pub(crate) async fn refuse_other(&self) -> Result<(), Failure> {
        let Some(ours) = self.around.system else { return Ok(()) };
        let owner = archive::owner(&self.store, &self.layout).await;
        let owner = owner.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let Some(theirs) = owner.filter(|theirs| *theirs != ours.to_string()) else {
            return Ok(());
        };
        let cluster = &self.around.cluster;
        let what = format!("{} holds the backups of another cluster", self.place());
        let why = format!("its system identifier is {theirs}, and that of {cluster} {ours}");
        Err(Failure::new(Kind::Refused, what).because(why).fix(format!(
            "give {cluster} a serverName of its own; what is there is restored by \
             bootstrap.recovery of a manifest: docs/features/restore.md"
        )))
    }

    pub(crate) fn failed(&self, error: &CatalogueError) -> Failure {
        let what = format!("the repository {} cannot be used", self.place());
        Failure::new(Kind::Failed, what).because(chain(error).to_string())
    }

    /// All backups, and which of them is meant: by its id, its name, or as the first or the last.
    pub(crate) async fn find(&self, wanted: &str) -> Result<(Catalogue, BackupId), Failure> {
        let catalogue = self.repository.list().await.map_err(|error| self.failed(&error))?;
        let found = catalogue.find(wanted).map(|entry| entry.id.clone());
        let id = found.ok_or_else(|| self.unknown(wanted))?;
        Ok((catalogue, id))
    }

    pub(crate) fn unknown(&self, wanted: &str) -> Failure {
        let what = format!("there is no backup {wanted:?} in {}", self.place());
        Failure::new(Kind::NotFound, what).fix("pgherd local backup list")
    }
}
