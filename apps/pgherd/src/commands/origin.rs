//! Decides what a clone of a cluster begins with, and what people are told of it.
//!
//! Never asks a cluster or a repository.

use super::repository::counted;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_local::failure::{Failure, Kind};

/// What somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Origin {
    /// The newest backup, and the log after it
    Backup,
    /// The running primary, which is copied
    Running,
}

/// How it is to be made.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wanted {
    /// What it begins with (default: backup where the source has an archive, else running)
    #[arg(long, value_enum)]
    pub(crate) from: Option<Origin>,
    /// How many instances the new cluster has (default: as many as the source)
    #[arg(long, value_name = "N")]
    pub(crate) instances: Option<u32>,
    /// Only show how it would go
    #[arg(long)]
    pub(crate) plan: bool,
}

/// Whether the source has an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Archive {
    There,
    Missing,
}

impl Wanted {
    /// A backup burdens nobody who serves, and is there without a primary.
    pub(crate) fn origin(&self, source: &ClusterName, archive: Archive) -> Result<Origin, Failure> {
        match (self.from, archive) {
            (Some(Origin::Backup), Archive::Missing) => {
                let what =
                    format!("cluster {source} has no archive, and so no backup to begin with");
                Err(Failure::new(Kind::Refused, what)
                    .fix("--from running copies its primary, or add spec.backup.barmanObjectStore"))
            }
            (Some(Origin::Running), _) | (None, Archive::Missing) => Ok(Origin::Running),
            (Some(Origin::Backup) | None, Archive::There) => Ok(Origin::Backup),
        }
    }
}

/// How a copy of a server that runs goes.
pub(crate) fn plan(primary: &InstanceName, new: &ClusterName, instances: u32) -> [String; 2] {
    [
        format!("Plan   a copy of {primary}, the running primary of cluster {}", primary.cluster()),
        format!(
            "       new cluster {new} with {}, source untouched",
            counted(instances.into(), "instance")
        ),
    ]
}

/// What came out of it.
pub(crate) fn sentence(primary: &InstanceName, new: &ClusterName, seconds: f64) -> String {
    let source = primary.cluster();
    format!(
        "cluster/{new} cloned from {primary}, the primary of cluster/{source}, in {seconds:.1}s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_begun_with_where_there_can_be_one() {
        let source = ClusterName::parse("shop").unwrap();
        let origin = |from, archive| {
            let wanted = Wanted { from, instances: None, plan: false };
            wanted.origin(&source, archive)
        };
        for (from, archive, begins) in [
            (None, Archive::There, Origin::Backup),
            (None, Archive::Missing, Origin::Running),
            (Some(Origin::Running), Archive::There, Origin::Running),
            (Some(Origin::Running), Archive::Missing, Origin::Running),
            (Some(Origin::Backup), Archive::There, Origin::Backup),
        ] {
            assert_eq!(origin(from, archive).unwrap(), begins, "{from:?} {archive:?}");
        }
        let refused = origin(Some(Origin::Backup), Archive::Missing).unwrap_err();
        assert!(refused.fix.unwrap().contains("--from running"));
    }
}
