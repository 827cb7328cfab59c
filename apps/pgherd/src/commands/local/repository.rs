//! Opens the repository of a cluster, whether the cluster is up or not.
//!
//! Never asks an agent: what the repository holds is what counts.

use jiff::Timestamp;
use pgherd_agent::archive::{
    self,
    repository::{self, OpenError},
};
use pgherd_agent::chain::chain;
use pgherd_agent::durable;
use pgherd_agent::postgres::control;
use pgherd_api::agent::{ArchiveFile, ArchiveSpec};
use pgherd_backup::catalogue::{Catalogue, CatalogueError, Repository};
use pgherd_backup::layout::Layout;
use pgherd_backup::store::{Patience, Store};
use pgherd_core::backup::BackupId;
use pgherd_core::names::InstanceName;
use pgherd_core::units::{Bytes, Moment, SystemId};
use pgherd_local::client;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::manifest::{self, Keys, Manifest};

/// What may be on its way at once.
const PART: Bytes = Bytes(64 << 20);

/// The repository of one cluster.
pub(super) struct Opened {
    pub(super) spec: ArchiveSpec,
    pub(super) store: Store,
    pub(super) layout: Layout,
    pub(super) repository: Repository,
}

/// As the manifest that was given last says.
pub(super) fn open(folder: &ClusterFolder) -> Result<Opened, Failure> {
    let (_, manifest) = kept(folder)?;
    let Some(spec) = manifest.checked.postgres.archive else {
        let what = format!("cluster {} has no archive, and so no backups", folder.name());
        return Err(Failure::new(Kind::Refused, what)
            .fix("add spec.backup.barmanObjectStore to its manifest, pgherd local up -f it"));
    };
    open_with(spec, &manifest.keys)
}

/// The manifest of a cluster, as text and as what it means.
pub(super) fn kept(folder: &ClusterFolder) -> Result<(String, Manifest), Failure> {
    client::registered(folder)?;
    let text = durable::read(&folder.manifest());
    let text = text.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
    let text = text.ok_or_else(|| client::not_found(folder))?;
    let manifest = manifest::understand(&text, None)?;
    Ok((text, manifest))
}

/// Whose data an instance of this cluster has; none before there is any.
fn own_system(folder: &ClusterFolder) -> Result<Option<SystemId>, Failure> {
    let (_, manifest) = kept(folder)?;
    let instances = 1..=manifest.checked.instances;
    let mut data =
        instances.map(|serial| folder.instance(&InstanceName::new(folder.name(), serial)).pgdata());
    let found = data.find(|data| data.join(control::FILE).exists());
    let found = found.map(|data| control::read_file(&data)).transpose();
    let found = found.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    Ok(found.map(|control| control.system_id))
}

pub(super) fn open_with(spec: ArchiveSpec, keys: &Keys) -> Result<Opened, Failure> {
    let find = |file: ArchiveFile| {
        let found = keys.files().find(|(known, _)| *known == file);
        let missing = || OpenError::Missing { path: file.name().into() };
        found.map(|(_, content)| content.to_owned()).ok_or_else(missing)
    };
    let opened = repository::open(&spec, spec.data.encryption, &find, Patience::carrying(PART));
    let (store, layout) = opened.map_err(|error| Failure::from_error(Kind::Refused, &error))?;
    let repository = Repository::new(store.clone(), layout.clone());
    Ok(Opened { spec, store, layout, repository })
}

impl Opened {
    /// Where it lies, for people.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.spec.destination.trim_end_matches('/'), self.spec.server)
    }

    /// Refuses what is another cluster's: one that was made again under a name has not the backups
    /// of the one before.
    pub(super) async fn refuse_other(&self, folder: &ClusterFolder) -> Result<(), Failure> {
        let Some(ours) = own_system(folder)? else { return Ok(()) };
        let owner = archive::owner(&self.store, &self.layout).await;
        let owner = owner.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let Some(theirs) = owner.filter(|theirs| *theirs != ours.to_string()) else {
            return Ok(());
        };
        let what = format!("{} holds the backups of another cluster", self.place());
        let why =
            format!("its system identifier is {theirs}, and that of {} {ours}", folder.name());
        Err(Failure::new(Kind::Refused, what).because(why).fix(format!(
            "give {} a serverName of its own; what is there is restored by bootstrap.recovery of a \
             manifest: docs/features/restore.md",
            folder.name()
        )))
    }

    pub(super) fn failed(&self, error: &CatalogueError) -> Failure {
        let what = format!("the repository {} cannot be used", self.place());
        Failure::new(Kind::Failed, what).because(chain(error).to_string())
    }

    /// All backups, and which of them is meant: by its id, its name, or as the first or the last.
    pub(super) async fn find(&self, wanted: &str) -> Result<(Catalogue, BackupId), Failure> {
        let catalogue = self.repository.list().await.map_err(|error| self.failed(&error))?;
        let found = catalogue.find(wanted).map(|entry| entry.id.clone());
        let id = found.ok_or_else(|| self.unknown(wanted))?;
        Ok((catalogue, id))
    }

    pub(super) fn unknown(&self, wanted: &str) -> Failure {
        let what = format!("there is no backup {wanted:?} in {}", self.place());
        Failure::new(Kind::NotFound, what).fix("pgherd local backup list")
    }
}

pub(super) fn timestamp(moment: Moment) -> Timestamp {
    Timestamp::from_microsecond(moment.0).unwrap_or_default()
}

/// To the second, in UTC.
pub(super) fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
