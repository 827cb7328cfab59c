//! Decides from a Backup object how it is to be taken, and by whom.
//!
//! Never passes over a word that it does not understand.

use super::mode::{self, ModeRefusal};
use super::rate::{self, BACKUP_RATE, RateRefusal};
use super::{Backup, BackupMethod};
use crate::agent::{BackupOrder, Incremental, ReadRate};
use pgherd_core::names::InstanceName;
use std::collections::BTreeMap;

/// The instance that a backup is taken from, by its name. On a Backup, and on a ScheduledBackup for all
/// that it makes. Default: whoever suits `target`.
pub const BACKUP_INSTANCE: &str = "pgherd.dev/backupInstance";

/// What a schedule hands on to the backups that it makes.
pub const HANDED_ON: [&str; 4] =
    [mode::BACKUP_MODE, mode::FULL_EVERY, BACKUP_RATE, BACKUP_INSTANCE];

/// How a backup is taken, as far as it says so itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manner {
    /// How it builds on others; on none when absent.
    pub incremental: Option<Incremental>,
    /// How fast it reads; as the cluster says when absent.
    pub rate: Option<ReadRate>,
    /// Who takes it; whoever suits the target when absent.
    pub instance: Option<InstanceName>,
}

/// Why a backup is not taken as it is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what the variants are")]
pub enum MannerRefusal {
    #[error(transparent)]
    Mode(ModeRefusal),
    #[error("annotation {BACKUP_RATE} {0}")]
    Rate(RateRefusal),
    #[error(
        "annotation {BACKUP_INSTANCE} is {given:?}, which is no instance of cluster {cluster}: write a name \
         such as \"{cluster}-2\""
    )]
    Instance { given: String, cluster: String },
    #[error("annotation {BACKUP_INSTANCE} and target both say who takes it: remove one of them")]
    Twice,
    #[error("an archive is only backed up to while PostgreSQL runs: remove online: false")]
    Offline,
}

impl Backup {
    /// How it is to be taken.
    pub fn manner(&self) -> Result<Manner, MannerRefusal> {
        let said = |name| self.metadata.annotations.as_ref().and_then(|all| all.get(name));
        let rate = said(BACKUP_RATE).map(|given| rate::parse(given)).transpose();
        let instance = said(BACKUP_INSTANCE).map(|given| self.own(given)).transpose()?;
        if instance.is_some() && self.spec.target.is_some() {
            return Err(MannerRefusal::Twice);
        }
        if self.spec.method == BackupMethod::BarmanObjectStore && self.spec.online == Some(false) {
            return Err(MannerRefusal::Offline);
        }
        Ok(Manner {
            incremental: mode::incremental(&self.metadata).map_err(MannerRefusal::Mode)?,
            rate: rate.map_err(MannerRefusal::Rate)?,
            instance,
        })
    }

    /// Why it is not taken, whatever the cluster is.
    pub fn refusal(&self) -> Option<String> {
        let why = match self.spec.method {
            BackupMethod::BarmanObjectStore => {
                return self.manner().err().map(|refusal| refusal.to_string());
            }
            BackupMethod::VolumeSnapshot => {
                "method volumeSnapshot is not acted upon yet: write method: barmanObjectStore"
            }
            BackupMethod::Plugin => "no plugin takes backups here: write method: barmanObjectStore",
        };
        Some(why.to_owned())
    }

    /// What an agent is asked for, under this name.
    pub fn ordered(&self, name: String) -> BackupOrder {
        // What is refused is told before this.
        let manner = self.manner().unwrap_or_default();
        let online = self.spec.online_configuration.as_ref();
        BackupOrder {
            name,
            immediate_checkpoint: online.map(|online| online.immediate_checkpoint),
            wait_for_archive: online.is_none_or(|online| online.wait_for_archive),
            incremental: manner.incremental,
            rate: manner.rate,
            asked_by: None,
        }
    }

    /// An instance of its cluster.
    fn own(&self, given: &str) -> Result<InstanceName, MannerRefusal> {
        let cluster = &self.spec.cluster.name;
        let found = InstanceName::parse(given).ok();
        found.filter(|name| name.cluster().as_str() == cluster).ok_or_else(|| {
            MannerRefusal::Instance { given: given.to_owned(), cluster: cluster.clone() }
        })
    }
}

impl Manner {
    /// The annotations that say so.
    pub fn annotations(&self) -> Option<BTreeMap<String, String>> {
        let mut all = mode::annotations(self.incremental).unwrap_or_default();
        all.extend(self.rate.map(|rate| (BACKUP_RATE.to_owned(), rate::written(rate))));
        let instance = self.instance.as_ref();
        all.extend(instance.map(|name| (BACKUP_INSTANCE.to_owned(), name.to_string())));
        (!all.is_empty()).then_some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::units::Bytes;
    use serde_json::{Value, json};

    fn backup(annotations: &Value, spec: &Value) -> Backup {
        let mut object = json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup",
            "metadata": {"name": "b", "annotations": annotations},
            "spec": {"cluster": {"name": "db"}},
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let manner = Manner {
            incremental: Some(Incremental { full_every: Some(7) }),
            rate: Some(ReadRate::AtMost(Bytes(50 << 20))),
            instance: Some(InstanceName::parse("db-2").unwrap()),
        };
        let said = backup(&json!(manner.annotations()), &json!({}));
        assert_eq!(said.manner(), Ok(manner));
        assert_eq!(backup(&json!({}), &json!({})).manner(), Ok(Manner::default()));
        assert_eq!(Manner::default().annotations(), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_a_sentence() {
        let refused = |annotations: Value, spec: Value| {
            format!("{}\n", backup(&annotations, &spec).manner().unwrap_err())
        };
        expect![[r#"
            annotation pgherd.dev/backupRate is "10": write off, or how much is read in a second, 1Mi at least, such as 50Mi
            annotation pgherd.dev/backupInstance is "other-1", which is no instance of cluster db: write a name such as "db-2"
            annotation pgherd.dev/backupInstance is "2", which is no instance of cluster db: write a name such as "db-2"
            annotation pgherd.dev/backupInstance and target both say who takes it: remove one of them
            annotation pgherd.dev/backupMode is "half": write full or incremental
            an archive is only backed up to while PostgreSQL runs: remove online: false
        "#]]
        .assert_eq(
            &[
                refused(json!({BACKUP_RATE: "10"}), json!({})),
                refused(json!({BACKUP_INSTANCE: "other-1"}), json!({})),
                refused(json!({BACKUP_INSTANCE: "2"}), json!({})),
                refused(json!({BACKUP_INSTANCE: "db-2"}), json!({"target": "primary"})),
                refused(json!({mode::BACKUP_MODE: "half"}), json!({})),
                refused(json!({}), json!({"online": false})),
            ]
            .concat(),
        );
    }
}
