//! Opens the repository of a cluster on this machine, whether the cluster is up or not.
//!
//! Never asks an agent: what the repository holds is what counts.

use super::super::repository::{Around, Asked, Opened, follow, open_with_keys};
use super::place::Place;
use pgherd_agent::durable;
use pgherd_agent::postgres::control;
use pgherd_api::agent::ArchiveSpec;
use pgherd_api::console::no_archive;
use pgherd_core::names::InstanceName;
use pgherd_core::units::SystemId;
use pgherd_local::client;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::hint;
use pgherd_local::manifest::{self, Keys, Manifest};

/// Asks the cluster's repository, and writes what it says.
pub(super) fn ask(place: &Place, asked: &Asked) -> Result<(), Failure> {
    let form = place.output().form();
    place.inside(|folder| async move {
        let told = follow(&open(&folder)?, asked).await?;
        told.tell(form, &|text| hint::addressed(text, folder.root()))
    })
}

/// As the manifest that was given last says.
pub(super) fn open(folder: &ClusterFolder) -> Result<Opened, Failure> {
    let (_, manifest) = kept(folder)?;
    let system = own_system(folder, &manifest)?;
    let Some(spec) = manifest.checked.postgres.archive else {
        return Err(Failure::new(Kind::Refused, no_archive(folder.name()))
            .fix("add spec.backup.barmanObjectStore to its manifest, pgherd local up -f it"));
    };
    open_for((spec, &manifest.keys), folder, system)
}

/// The repository that these keys open, as the cluster in `folder` sees it.
pub(super) fn open_for(
    place: (ArchiveSpec, &Keys),
    folder: &ClusterFolder,
    system: Option<SystemId>,
) -> Result<Opened, Failure> {
    let registration = client::registered(folder)?;
    let around = Around {
        cluster: folder.name().to_string(),
        system,
        major: Some(registration.major),
        disk: Some(folder.root().to_owned()),
    };
    open_with_keys(place, around)
}

/// Where a cluster that is to be made will archive to, unless that is made with it.
pub(super) fn elsewhere(manifest: &Manifest, new: &ClusterFolder) -> Option<ArchiveSpec> {
    let archive = manifest.checked.postgres.archive.clone();
    archive.filter(|archive| !new.keeps(&archive.destination))
}

/// The manifest of a cluster, as text and as what it means.
pub(super) fn kept(folder: &ClusterFolder) -> Result<(String, Manifest), Failure> {
    client::registered(folder)?;
    let text = durable::read(&folder.manifest());
    let text = text.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
    let text = text.ok_or_else(|| client::not_found(folder))?;
    let manifest = manifest::kept(&text, None)?.with_key_files()?;
    Ok((text, manifest))
}

/// Whose data an instance of this cluster has; none before there is any.
fn own_system(folder: &ClusterFolder, manifest: &Manifest) -> Result<Option<SystemId>, Failure> {
    let instances = 1..=manifest.checked.instances;
    let mut data =
        instances.map(|serial| folder.instance(&InstanceName::new(folder.name(), serial)).pgdata());
    let found = data.find(|data| data.join(control::FILE).exists());
    let found = found.map(|data| control::read_file(&data)).transpose();
    let found = found.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    Ok(found.map(|control| control.system_id))
}
