//! The `ScheduledDump` manifest: when logical dumps of a cluster are taken.
//!
//! Never takes one, and never works out the next moment.

use crate::cluster::references::LocalObjectReference;
use crate::dump::{Dump, DumpContent, DumpSpec, JOBS_IN_A_DIRECTORY, TABLES_OF_ONE_DATABASE};
use crate::kind::{AGE, Column, Kind, Rule, Scope, Source, Subresources, kind};
use crate::schedule::{Begins, Owner, ScheduleStatus, Scheduled, Timing};
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logical dumps of databases of a cluster at regular moments. Each becomes a Dump object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledDump {
    /// Always `pgherd.dev/v1alpha1`.
    pub api_version: String,
    /// Always `ScheduledDump`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ScheduledDumpSpec,
    /// When it was done last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ScheduleStatus>,
}

kind!(ScheduledDump, "scheduleddumps", NamespaceResourceScope, own);

impl Scheduled for ScheduledDump {
    type Made = Dump;

    fn timing(&self) -> Timing<'_> {
        let spec = &self.spec;
        Timing {
            schedule: &spec.schedule,
            cluster: &spec.cluster.name,
            begins: Begins::of(spec.suspend, spec.immediate),
            owner: spec.dump_owner_reference,
        }
    }

    fn status(&self) -> Option<&ScheduleStatus> {
        self.status.as_ref()
    }

    fn made(&self, metadata: ObjectMeta) -> Dump {
        let spec = &self.spec;
        Dump {
            api_version: Dump::API_VERSION.to_owned(),
            kind: Dump::KIND.to_owned(),
            metadata,
            spec: DumpSpec { cluster: spec.cluster.clone(), content: spec.content.clone() },
            status: None,
        }
    }
}

impl Kind for ScheduledDump {
    const SINGULAR: &'static str = "scheduleddump";
    const SHORT_NAMES: &'static [&'static str] = &["sdump"];
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("Schedule", "string", ".spec.schedule"),
        Column::new("Last Dump", "date", ".status.lastScheduleTime"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// When dumps are taken, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduledDumpSpec {
    /// When, as six fields: second, minute, hour, day of month, month, day of week; `0 0 3 * * *`
    /// is at three every night. Also `@daily`, `@every 12h` and the like.
    pub schedule: String,
    /// The cluster, in the same namespace. It cannot be changed.
    pub cluster: LocalObjectReference,
    /// Take the first dump at once. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immediate: Option<bool>,
    /// Take no dumps for now. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Whose deletion deletes the Dump objects. Default: `none`.
    #[serde(default)]
    pub dump_owner_reference: Owner,
    /// What is dumped, and how.
    #[serde(flatten)]
    pub content: DumpContent,
}

const RULES: &[Rule] = &[
    Rule {
        name: "scheduled-dump-cluster-stays",
        at: "spec.cluster",
        rule: "self == oldSelf",
        message: "cluster cannot be changed: make a new object for another one",
        source: Source::Ours,
    },
    Rule { name: "scheduled-dump-jobs-in-a-directory", ..JOBS_IN_A_DIRECTORY },
    Rule { name: "scheduled-dump-tables-of-one-database", ..TABLES_OF_ONE_DATABASE },
];
