//! Remembers which folders were the cluster's archive.
//!
//! Never of a place that somebody serves: only what is mounted may be gone from under its path, and
//! looks like an empty place then.

use crate::chain::chain;
use crate::durable::{self, Access};
use pgherd_api::agent::{ArchiveIdentity, ArchiveSpec};
use pgherd_core::units::SystemId;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tracing::warn;

/// The oldest are forgotten then.
const AT_MOST: usize = 16;

/// The file in which they are noted.
pub(super) struct Remembered {
    file: PathBuf,
    /// What is looked for there; nothing when the archive is no folder.
    place: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    destination: String,
    server: String,
    system: String,
}

impl Remembered {
    pub(super) fn new(file: &Path, spec: &ArchiveSpec, system: SystemId) -> Self {
        let place = (spec.identity == ArchiveIdentity::User).then(|| Place {
            destination: spec.destination.clone(),
            server: spec.server.clone(),
            system: system.to_string(),
        });
        Self { file: file.to_owned(), place }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Whether there is something to note that is not.
    pub(super) fn lacks(&self) -> bool {
        self.place.is_some() && !self.has()
    }

    pub(super) fn has(&self) -> bool {
        self.place.as_ref().is_some_and(|place| self.read().contains(place))
    }

    /// What cannot be noted holds up no log: it is told.
    pub(super) fn note(&self) {
        let Some(place) = &self.place else { return };
        let mut places = self.read();
        if places.contains(place) {
            return;
        }
        places.push(place.clone());
        let known = places.split_off(places.len().saturating_sub(AT_MOST));
        if let Err(error) = durable::save(&self.file, &known, Access::PRIVATE) {
            warn!(error = %chain(&error), "where the archive lies is not remembered");
        }
    }

    fn read(&self) -> Vec<Place> {
        let read = durable::load(&self.file);
        let read = read.inspect_err(|error| {
            warn!(error = %chain(error), "where the archive lay is not known any more");
        });
        read.ok().flatten().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_api::agent::DataSpec;
    use std::collections::BTreeSet;

    fn spec(destination: &str, identity: ArchiveIdentity) -> ArchiveSpec {
        ArchiveSpec {
            destination: destination.to_owned(),
            endpoint: None,
            server: "db".to_owned(),
            identity,
            files: BTreeSet::new(),
            compression: None,
            encryption: None,
            at_once: 1,
            data: DataSpec::default(),
            retention: None,
            stream: None,
        }
    }

    #[test]
    fn folders_are_remembered_as_long_as_there_is_room_and_buckets_never() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("archives.json");
        let of = |place: &str, identity, system| {
            Remembered::new(&file, &spec(place, identity), SystemId(system))
        };
        let one = of("/srv/0", ArchiveIdentity::User, 7);
        assert!(!one.has() && one.lacks());
        one.note();
        one.note();
        assert!(one.has() && !of("/srv/0", ArchiveIdentity::User, 8).has());
        let bucket = of("s3://backups", ArchiveIdentity::S3Role, 7);
        bucket.note();
        assert!(!bucket.has() && !bucket.lacks());
        let places = (1..=AT_MOST).map(|n| of(&format!("/srv/{n}"), ArchiveIdentity::User, 7));
        let places: Vec<Remembered> = places.collect();
        places.iter().for_each(Remembered::note);
        assert!(!one.has() && places.iter().all(Remembered::has));
        std::fs::write(&file, "damaged").unwrap();
        assert!(!places[0].has());
        places[0].note();
        assert!(places[0].has());
    }
}
