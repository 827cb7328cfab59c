//! The `ScheduledBackup` manifest: when backups of a cluster are taken.
//!
//! Never takes one, and never works out the next moment.

use crate::backup::{Backup, BackupMethod, BackupSpec, PluginConfiguration, manner};
use crate::cluster::backup::{BackupTarget, OnlineConfiguration};
use crate::cluster::references::LocalObjectReference;
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use crate::schedule::{Begins, Owner, ScheduleStatus, Scheduled, Timing};
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Backups of a cluster at regular moments. Each becomes a Backup object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledBackup {
    /// Always `postgresql.cnpg.io/v1`.
    pub api_version: String,
    /// Always `ScheduledBackup`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ScheduledBackupSpec,
    /// When it was done last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ScheduleStatus>,
}

kind!(ScheduledBackup, "scheduledbackups", NamespaceResourceScope);

impl Scheduled for ScheduledBackup {
    type Made = Backup;

    fn timing(&self) -> Timing<'_> {
        let spec = &self.spec;
        Timing {
            schedule: &spec.schedule,
            cluster: &spec.cluster.name,
            begins: Begins::of(spec.suspend, spec.immediate),
            owner: spec.backup_owner_reference,
        }
    }

    fn status(&self) -> Option<&ScheduleStatus> {
        self.status.as_ref()
    }

    fn made(&self, metadata: ObjectMeta) -> Backup {
        let spec = &self.spec;
        Backup {
            api_version: Backup::API_VERSION.to_owned(),
            kind: Backup::KIND.to_owned(),
            metadata: ObjectMeta { annotations: self.handed_on(), ..metadata },
            spec: BackupSpec {
                cluster: spec.cluster.clone(),
                method: spec.method,
                target: spec.target,
                online: spec.online,
                online_configuration: spec.online_configuration.clone(),
                plugin_configuration: spec.plugin_configuration.clone(),
            },
            status: None,
        }
    }
}

impl ScheduledBackup {
    /// What the schedule says of how its backups are taken.
    fn handed_on(&self) -> Option<BTreeMap<String, String>> {
        let said = |name: &str| {
            let value = self.metadata.annotations.as_ref()?.get(name)?;
            Some((name.to_owned(), value.clone()))
        };
        let all: BTreeMap<_, _> = manner::HANDED_ON.into_iter().filter_map(said).collect();
        (!all.is_empty()).then_some(all)
    }
}

impl Kind for ScheduledBackup {
    const SINGULAR: &'static str = "scheduledbackup";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("Last Backup", "date", ".status.lastScheduleTime"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// When backups are taken, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledBackupSpec {
    /// When, as six fields: second, minute, hour, day of month, month, day of week; `0 0 3 * * *`
    /// is at three every night. Also `@daily`, `@every 12h` and the like.
    pub schedule: String,
    /// The cluster to back up, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// Take the first backup at once. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immediate: Option<bool>,
    /// Take no backups for now. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Whose deletion deletes the Backup objects. Default: `none`.
    #[serde(default)]
    pub backup_owner_reference: Owner,
    /// How backups are taken. Default: `barmanObjectStore`.
    #[serde(default)]
    pub method: BackupMethod,
    /// Which instance they are taken from; `spec.backup.target` of the cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<BackupTarget>,
    /// Take volume snapshots while PostgreSQL runs; `spec.backup.volumeSnapshot.online` of the
    /// cluster when absent. Backups into an archive are always taken so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// Details of backups of a running PostgreSQL; those of the cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online_configuration: Option<OnlineConfiguration>,
    /// The plugin that takes the backups; for method `plugin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_configuration: Option<PluginConfiguration>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "scheduled-backup-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Published,
    },
    Rule {
        name: "scheduled-backup-offline-needs-snapshots",
        at: "spec",
        rule: "self.method != 'barmanObjectStore' || !has(self.online) || self.online",
        message: "method barmanObjectStore takes every backup online: remove online: false, or write method: volumeSnapshot",
        source: Source::Ours,
    },
    Rule {
        name: "scheduled-backup-plugin-needs-configuration",
        at: "spec",
        rule: "self.method != 'plugin' || (has(self.pluginConfiguration) && self.pluginConfiguration.name != '')",
        message: "method plugin needs to know which one: add pluginConfiguration with its name",
        source: Source::Webhook,
    },
];
