//! What an instance must not forget: its promises, its seal, and which volume this is.
//!
//! Never starts with an empty memory beside a data folder that has one: a forgotten promise is how
//! two primaries come about.

use crate::config::Folder;
use crate::durable::{self, Access, DurableError};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Holder;
use pgherd_core::seen::Durable;
use pgherd_core::units::Epoch;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("remembering promises")]
    Remember(#[source] DurableError),
    #[error("drawing a random number")]
    Draw(#[source] io::Error),
    #[error("creating the folder {path:?}")]
    CreateFolder { path: PathBuf, source: io::Error },
    #[error(
        "the folder {path:?} belongs to instance {owner}, not to {instance}: give each instance a folder of its own"
    )]
    OtherInstance { path: PathBuf, owner: InstanceName, instance: InstanceName },
    #[error(
        "{data:?} holds data but the memory of its instance, {path:?}, is gone: put it back, or move the data away to have the instance cloned anew"
    )]
    Forgotten { data: PathBuf, path: PathBuf },
}

/// What is in `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    instance: InstanceName,
    volume: u64,
    durable: Durable,
}

/// The memory of one instance, on disk.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    document: Document,
}

impl Memory {
    /// Opens the memory beside a data folder, or begins one.
    pub fn open(folder: &Folder, instance: &InstanceName) -> Result<Self, StateError> {
        create_folder(folder.root())?;
        durable::sweep(folder.root()).map_err(StateError::Remember)?;
        let path = folder.state();
        let found: Option<Document> = durable::load(&path).map_err(StateError::Remember)?;
        let has_data = holds_data(&folder.pgdata());
        let document = match found {
            Some(document) if document.instance != *instance => {
                let (owner, path) = (document.instance, folder.root().to_owned());
                return Err(StateError::OtherInstance { path, owner, instance: instance.clone() });
            }
            Some(document) if has_data || !has_had_data(&document) => {
                return Ok(Self { path, document });
            }
            Some(document) => wiped(document)?,
            None if has_data => return Err(StateError::Forgotten { data: folder.pgdata(), path }),
            None => Document {
                instance: instance.clone(),
                volume: draw()?,
                durable: Durable::default(),
            },
        };
        let memory = Self { path, document };
        memory.save(&memory.document).map_err(StateError::Remember)?;
        Ok(memory)
    }

    pub fn durable(&self) -> &Durable {
        &self.document.durable
    }

    /// Who this process is: the instance and volume, and a life of their own.
    pub fn new_holder(&self) -> Result<Holder, StateError> {
        let Document { instance, volume, .. } = &self.document;
        Ok(Holder { instance: instance.clone(), volume: *volume, incarnation: draw()? })
    }

    /// Returns when a loss of power cannot take it back.
    pub fn persist(&mut self, durable: &Durable) -> Result<(), DurableError> {
        if self.document.durable != *durable {
            let next = Document { durable: durable.clone(), ..self.document.clone() };
            self.save(&next)?;
            self.document = next;
        }
        Ok(())
    }

    fn save(&self, document: &Document) -> Result<(), DurableError> {
        durable::save(&self.path, document, Access::PRIVATE)
    }
}

fn holds_data(pgdata: &Path) -> bool {
    pgdata.join("PG_VERSION").exists() || pgdata.join("global/pg_control").exists()
}

fn has_had_data(document: &Document) -> bool {
    document.durable.served > Epoch(0) || document.durable.system_id.is_some()
}

/// The memory of a folder whose data is gone: what was promised to others still holds, what was
/// known of the data does not, and it is not the volume that an office was held on.
fn wiped(document: Document) -> Result<Document, StateError> {
    let durable =
        Durable { served: Epoch(0), rewinding: false, rejoin_failures: 0, ..document.durable };
    Ok(Document { volume: draw()?, durable, ..document })
}

fn create_folder(path: &Path) -> Result<(), StateError> {
    std::fs::create_dir_all(path)
        .map_err(|source| StateError::CreateFolder { path: path.to_owned(), source })
}

/// A random number that every JSON reader keeps exact.
fn draw() -> Result<u64, StateError> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(StateError::Draw)?;
    Ok(u64::from_le_bytes(bytes) >> 11)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::message::Known;
    use pgherd_core::units::SystemId;

    fn instance(name: &str) -> InstanceName {
        InstanceName::parse(name).unwrap()
    }

    fn promised() -> Durable {
        Durable {
            known: Known { epoch: Epoch(4), promise: Epoch(5) },
            seal: Epoch(5),
            served: Epoch(4),
            rewinding: true,
            system_id: Some(SystemId(7)),
            ..Durable::default()
        }
    }

    fn with_data(folder: &Folder) {
        std::fs::create_dir_all(folder.pgdata()).unwrap();
        std::fs::write(folder.pgdata().join("PG_VERSION"), "15\n").unwrap();
    }

    #[test]
    fn promises_and_the_volume_survive_a_restart_and_an_incarnation_does_not() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().join("db-1"));
        let mut memory = Memory::open(&folder, &instance("db-1")).unwrap();
        memory.persist(&promised()).unwrap();
        with_data(&folder);
        let first = memory.new_holder().unwrap();
        let again = Memory::open(&folder, &instance("db-1")).unwrap();
        assert_eq!(again.durable(), &promised());
        let second = again.new_holder().unwrap();
        assert_eq!((&first.instance, first.volume), (&second.instance, second.volume));
        assert_ne!(first.incarnation, second.incarnation);
        assert!(first.incarnation < 1 << 53);
    }

    #[test]
    fn a_wiped_folder_is_another_volume_that_keeps_its_word() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().to_owned());
        let mut memory = Memory::open(&folder, &instance("db-1")).unwrap();
        memory.persist(&promised()).unwrap();
        let again = Memory::open(&folder, &instance("db-1")).unwrap();
        assert_ne!(memory.document.volume, again.document.volume);
        assert_eq!((again.durable().known, again.durable().seal), (promised().known, Epoch(5)));
        assert_eq!((again.durable().served, again.durable().rewinding), (Epoch(0), false));
    }

    #[test]
    fn data_without_its_memory_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().to_owned());
        with_data(&folder);
        let refused = Memory::open(&folder, &instance("db-1")).unwrap_err();
        assert!(matches!(refused, StateError::Forgotten { .. }), "{refused}");
    }

    #[test]
    fn the_folder_of_another_instance_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().to_owned());
        Memory::open(&folder, &instance("db-1")).unwrap();
        for other in ["db-2", "shop-1"] {
            let refused = Memory::open(&folder, &instance(other)).unwrap_err();
            assert!(matches!(refused, StateError::OtherInstance { .. }), "{refused}");
        }
    }

    #[test]
    fn a_damaged_memory_is_not_an_empty_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::at(root.path().to_owned());
        Memory::open(&folder, &instance("db-1")).unwrap();
        std::fs::write(folder.state(), "{}").unwrap();
        let refused = Memory::open(&folder, &instance("db-1")).unwrap_err();
        assert!(matches!(refused, StateError::Remember(_)), "{refused}");
    }
}
