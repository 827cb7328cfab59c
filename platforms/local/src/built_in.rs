//! The manifest of a cluster for which none is given.
//!
//! Never takes effect on a cluster that has another one.

use crate::folder::ClusterFolder;
use pgherd_core::names::ClusterName;
use serde_json::Value;

/// How many instances it has.
pub const USUAL_INSTANCES: u32 = 3;
const MARK: &str = "# pgherd's own manifest, used when none is given\n";

/// Whether it keeps backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backups {
    /// In a folder of the cluster, each night, for a week.
    Kept,
    None,
}

impl Backups {
    /// What one that was written before says.
    pub fn of(text: &str) -> Self {
        if text.contains(STORE) { Self::Kept } else { Self::None }
    }
}

const STORE: &str = "barmanObjectStore";

/// As text: a commit is on two machines when it is acknowledged, as long as there are two.
pub fn built_in(folder: &ClusterFolder, instances: u32, backups: Backups) -> String {
    let name = folder.name();
    let synchronous = if instances > 1 {
        "  postgresql:
    synchronous:
      method: any
      number: 1
      dataDurability: preferred
"
    } else {
        ""
    };
    let repository = folder.repository();
    // A folder whose name is no text cannot be written into a manifest.
    let place = repository.to_str().filter(|_| backups == Backups::Kept);
    let backups = place.map(|place| kept(name, place)).unwrap_or_default();
    format!(
        "{MARK}apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata:
  name: {name}
spec:
  instances: {instances}
{synchronous}{backups}"
    )
}

/// Compressed as every barman reads it.
fn kept(name: &ClusterName, place: &str) -> String {
    let place = Value::from(place);
    let nightly = nightly(name);
    format!(
        "  backup:
    retentionPolicy: 7d
    {STORE}:
      destinationPath: {place}
      wal:
        compression: gzip
      data:
        compression: gzip
        immediateCheckpoint: true
{nightly}"
    )
}

/// The schedule as a document of its own. The first backup is taken at once: log alone restores nothing.
pub(crate) fn nightly(name: &ClusterName) -> String {
    format!(
        "---
apiVersion: postgresql.cnpg.io/v1
kind: ScheduledBackup
metadata:
  name: nightly
spec:
  schedule: 0 0 3 * * *
  immediate: true
  cluster:
    name: {name}
"
    )
}

/// Whether it is ours.
pub fn is_built_in(text: &str) -> bool {
    text.starts_with(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Home;
    use crate::manifest::understand;
    use pgherd_core::intent::Durability;
    use pgherd_core::units::Bytes;
    use std::path::PathBuf;

    fn db(home: &str) -> ClusterFolder {
        Home::at(PathBuf::from(home)).cluster(&ClusterName::parse("db").unwrap()).unwrap()
    }

    #[test]
    fn it_is_understood_for_any_size() {
        for (instances, backups) in
            (1..=9).flat_map(|it| [(it, Backups::Kept), (it, Backups::None)])
        {
            let text = built_in(&db("/srv"), instances, backups);
            assert!(is_built_in(&text));
            assert_eq!(Backups::of(&text), backups);
            let manifest = understand(&text, None).unwrap();
            assert_eq!(manifest.checked.instances, instances);
            let alone = Durability::Asynchronous { max_lag: Bytes(16 << 20) };
            let expected = if instances == 1 { alone } else { Durability::Preferred { acks: 1 } };
            assert_eq!(manifest.checked.durability, expected);
            let quiet = manifest.warnings.iter().all(|warning| warning.contains("instances"));
            assert!(quiet, "{:?}", manifest.warnings);
            assert_eq!(manifest.schedules.len(), usize::from(backups == Backups::Kept));
        }
    }

    #[test]
    fn its_backups_lie_with_the_cluster_wherever_that_is() {
        for home in ["/srv", "/srv/a b", "/srv/it's: \"a\" #1 100%"] {
            let text = built_in(&db(home), 3, Backups::Kept);
            let archive = understand(&text, None).unwrap().checked.postgres.archive.unwrap();
            assert_eq!(archive.destination, format!("{home}/db/repository"));
            assert_eq!(archive.retention.as_deref(), Some("7d"));
        }
    }
}
