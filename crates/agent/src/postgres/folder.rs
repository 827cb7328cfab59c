//! Says what an instance's folder holds, and gives finished data folders their name.
//!
//! Never takes a folder that is somebody else's, and never leaves a half-made data folder under
//! its final name.

use crate::durable::{self, DurableError};
use crate::postgres::control::{self, Control, ControlError};
use crate::postgres::site::Site;
use crate::process::owner::Owner;
use pgherd_core::names::InstanceName;
use rustix::fs::RenameFlags;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Raised when what lies beside the data folder changes its meaning.
const FORMAT: u32 = 1;
const PRIVATE: u32 = 0o700;

/// What an instance's folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folder {
    /// No data, and nothing of anybody else.
    Empty,
    /// What an interrupted initdb or clone left: to be removed and begun anew.
    HalfMade,
    /// A data folder of this instance.
    Ours(Box<Ours>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub control: Control,
    pub rewind: Rewind,
}

/// Whether a rewind was begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewind {
    None,
    Unfinished,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("looking into {path:?}")]
    Look { path: PathBuf, source: io::Error },
    #[error(
        "{base:?} holds {found:?} and does not belong to pgherd: choose an empty folder, or move its content away"
    )]
    FindForeign { base: PathBuf, found: String },
    #[error(
        "{base:?} belongs to instance {found} of another pgherd cluster, and not to {expected}: choose another folder"
    )]
    FindOther { base: PathBuf, found: String, expected: InstanceName },
    #[error(
        "{base:?} was written by a newer pgherd (format {found}, this one knows {FORMAT}): run the newer one"
    )]
    FindNewer { base: PathBuf, found: u32 },
    #[error(
        "{data:?} was made by PostgreSQL {found} and the installation is {installed}: install PostgreSQL {found} or name its programs' folder"
    )]
    MatchVersion { data: PathBuf, found: String, installed: u32 },
    #[error(
        "{path:?} belongs to user {found} and PostgreSQL would run as {expected}: change its owner (chown -R) or run as that user"
    )]
    MatchOwner { path: PathBuf, found: u32, expected: u32 },
    #[error("{path:?} has mode {found:o} and PostgreSQL accepts 700 or 750: chmod 700 it")]
    MatchMode { path: PathBuf, found: u32 },
    #[error("reading the marker of the folder")]
    ReadMarker { source: DurableError },
    #[error("writing the marker of the folder")]
    WriteMarker { source: DurableError },
    #[error("reading the control file of {data:?}")]
    ReadControl { data: PathBuf, source: ControlError },
    #[error("making {path:?}")]
    Make { path: PathBuf, source: io::Error },
    #[error("removing {path:?}")]
    Remove { path: PathBuf, source: io::Error },
    #[error("giving {from:?} the name {to:?}")]
    Publish { from: PathBuf, to: PathBuf, source: io::Error },
}

/// The marker beside the data folder.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    cluster: String,
    instance: String,
}

/// Looks at the folder of `instance`. `companions` are the names that the agent itself keeps there.
pub async fn inspect(
    site: &Site,
    instance: &InstanceName,
    companions: &BTreeSet<String>,
) -> Result<Folder, FolderError> {
    let Some(marker) = read_marker(site)? else { return refuse_foreign(site, companions) };
    if marker.format > FORMAT {
        return Err(FolderError::FindNewer { base: site.base.clone(), found: marker.format });
    }
    if marker.instance != instance.to_string() {
        return Err(FolderError::FindOther {
            base: site.base.clone(),
            found: marker.instance,
            expected: instance.clone(),
        });
    }
    if !exists(&site.data)? {
        let half_made = exists(&site.staging())?;
        return Ok(if half_made { Folder::HalfMade } else { Folder::Empty });
    }
    examine(site).await.map(|ours| Folder::Ours(Box::new(ours)))
}

/// Marks the folder as this instance's, before anything else is put into it.
pub fn claim(site: &Site, instance: &InstanceName) -> Result<(), FolderError> {
    make_if_absent(&site.base, site.owner)?;
    let marker = Marker {
        format: FORMAT,
        cluster: instance.cluster().to_string(),
        instance: instance.to_string(),
    };
    durable::save(&site.marker(), &marker, site.private())
        .map_err(|source| FolderError::WriteMarker { source })
}

async fn examine(site: &Site) -> Result<Ours, FolderError> {
    let data = &site.data;
    let look = |source| FolderError::Look { path: data.clone(), source };
    let facts = std::fs::metadata(data).map_err(look)?;
    let expected =
        site.owner.map_or_else(|| rustix::process::geteuid().as_raw(), |owner| owner.user);
    if facts.uid() != expected {
        let found = facts.uid();
        return Err(FolderError::MatchOwner { path: data.clone(), found, expected });
    }
    let found = facts.mode() & 0o777;
    if ![0o700, 0o750].contains(&found) {
        return Err(FolderError::MatchMode { path: data.clone(), found });
    }
    let version = std::fs::read_to_string(data.join("PG_VERSION")).map_err(look)?;
    let installed = site.installation.version.major;
    if version.trim() != installed.to_string() {
        let found = version.trim().to_owned();
        return Err(FolderError::MatchVersion { data: data.clone(), found, installed });
    }
    let control = control::read(&site.installation, data)
        .await
        .map_err(|source| FolderError::ReadControl { data: data.clone(), source })?;
    let unfinished = exists(&site.rewind_marker())?;
    Ok(Ours { control, rewind: if unfinished { Rewind::Unfinished } else { Rewind::None } })
}

fn refuse_foreign(site: &Site, companions: &BTreeSet<String>) -> Result<Folder, FolderError> {
    let look = |source| FolderError::Look { path: site.base.clone(), source };
    let entries = match std::fs::read_dir(&site.base) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Folder::Empty),
        other => other.map_err(look)?,
    };
    for entry in entries {
        let name = entry.map_err(look)?.file_name().to_string_lossy().into_owned();
        // A fresh file system has this one of its own.
        if name != "lost+found" && !companions.contains(&name) {
            return Err(FolderError::FindForeign { base: site.base.clone(), found: name });
        }
    }
    Ok(Folder::Empty)
}

fn read_marker(site: &Site) -> Result<Option<Marker>, FolderError> {
    durable::load(&site.marker()).map_err(|source| FolderError::ReadMarker { source })
}

fn exists(path: &Path) -> Result<bool, FolderError> {
    path.try_exists().map_err(|source| FolderError::Look { path: path.to_owned(), source })
}

/// Makes an empty folder for a data folder to be made in, in place of a half-made one.
pub fn begin_staging(site: &Site) -> Result<PathBuf, FolderError> {
    let staging = site.staging();
    make_if_absent(&site.base, site.owner)?;
    remove_tree(&staging)?;
    make_private(&staging, site.owner)?;
    Ok(staging)
}

/// Gives a finished data folder its name. One that has the name already is removed afterwards, so
/// that at any moment there is a whole one.
pub fn publish(site: &Site) -> Result<(), FolderError> {
    let (from, to) = (site.staging(), site.base.join("pgdata"));
    let attempt = || -> io::Result<()> {
        File::open(&from)?.sync_all()?;
        let flags = if to.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let here = rustix::fs::CWD;
        rustix::fs::renameat_with(here, &from, here, &to, flags)?;
        File::open(&site.base)?.sync_all()
    };
    attempt().map_err(|source| FolderError::Publish {
        from: from.clone(),
        to: to.clone(),
        source,
    })?;
    remove_tree(&from)
}

/// The mount point of a volume is not ours to change.
fn make_if_absent(path: &Path, owner: Option<Owner>) -> Result<(), FolderError> {
    if exists(path)? { Ok(()) } else { make_private(path, owner) }
}

/// Makes a folder that only its owner can enter, or makes sure that it is one.
pub fn make_private(path: &Path, owner: Option<Owner>) -> Result<(), FolderError> {
    let attempt = || -> io::Result<()> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(PRIVATE).create(path)?;
        }
        let facts = std::fs::metadata(path)?;
        if let Some(owner) = owner
            && (facts.uid(), facts.gid()) != (owner.user, owner.group)
        {
            std::os::unix::fs::chown(path, Some(owner.user), Some(owner.group))?;
        }
        if facts.mode() & 0o777 != PRIVATE {
            std::fs::set_permissions(path, Permissions::from_mode(PRIVATE))?;
        }
        Ok(())
    };
    attempt().map_err(|source| FolderError::Make { path: path.to_owned(), source })
}

/// Removes a folder with everything in it; an absent one is fine.
pub fn remove_tree(path: &Path) -> Result<(), FolderError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| FolderError::Remove { path: path.to_owned(), source }),
    }
}

/// Removes what is in a folder, and not the folder.
pub(crate) fn empty(path: &Path) -> Result<(), FolderError> {
    let look = |source| FolderError::Look { path: path.to_owned(), source };
    for entry in std::fs::read_dir(path).map_err(look)? {
        remove_tree(&entry.map_err(look)?.path())?;
    }
    Ok(())
}
