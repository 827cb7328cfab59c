//! The `Dump` manifest: one logical dump of databases of a cluster, and how it went.
//!
//! Never takes one.

use crate::agent::{DumpFormat, DumpOrder, DumpPasswords};
use crate::cluster::backup::BackupTarget;
use crate::cluster::references::LocalObjectReference;
use crate::errand::{Errand, Going, Told};
use crate::kind::{AGE, Column, Kind, Rule, Scope, Shown, Source, Subresources, kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many tables are dumped at once in the directory format, unless it is said otherwise.
const JOBS: i64 = 2;
/// For how long a snapshot may be held, unless it is said otherwise.
const SNAPSHOT_LIMIT_SECONDS: i64 = 24 * 60 * 60;

/// One logical dump of databases of a cluster. Making the object takes the dump; it cannot be changed
/// afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dump {
    /// Always `pgherd.dev/v1alpha1`.
    pub api_version: String,
    /// Always `Dump`.
    pub kind: String,
    /// Name, labels and annotations.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DumpSpec,
    /// How it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DumpStatus>,
}

kind!(Dump, "dumps", NamespaceResourceScope, own);

impl Errand for Dump {
    type Status = DumpStatus;

    fn cluster(&self) -> &str {
        &self.spec.cluster.name
    }

    fn told(&self) -> Option<&DumpStatus> {
        self.status.as_ref()
    }

    fn target(&self) -> Option<BackupTarget> {
        self.spec.content.target
    }
}

impl Kind for Dump {
    const SINGULAR: &'static str = "dump";
    const SCOPE: Scope = Scope::Namespaced;
    const SUBRESOURCES: Subresources = Subresources::Status;
    const COLUMNS: &'static [Column] = &[
        AGE,
        Column::new("Cluster", "string", ".spec.cluster.name"),
        Column::new("Phase", "string", ".status.phase"),
        Column { name: "Databases", form: "string", path: ".status.databases", shown: Shown::Wide },
        Column::new("Dump", "string", ".status.dumpId"),
        Column::new("Error", "string", ".status.error"),
    ];
    const RULES: &'static [Rule] = RULES;
}

/// What a dump shall be of, and how it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DumpSpec {
    /// The cluster, in the same namespace.
    pub cluster: LocalObjectReference,
    /// What is dumped, and how.
    #[serde(flatten)]
    pub content: DumpContent,
}

/// What a dump is of, and how it is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DumpContent {
    /// The databases; all but templates when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63)))]
    pub databases: Vec<String>,
    /// Only these tables of the one database, as patterns of `pg_dump`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 256)))]
    pub tables: Vec<String>,
    /// How each database is stored. Default: `custom`.
    pub format: DumpFormat,
    /// How many tables are dumped at once, with format `directory`. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub jobs: Option<i64>,
    /// As `pg_dump --compress` takes it; its own default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^[a-zA-Z0-9:=,]+$"))]
    pub compress: Option<String>,
    /// Whether the passwords of roles are dumped. Default: `kept`.
    pub role_passwords: DumpPasswords,
    /// Which instance it is taken from; `spec.backup.target` of the cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<BackupTarget>,
    /// The dump of a database is given up when it has gone on for so long, in seconds. Default: 86400.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub snapshot_limit_seconds: Option<i64>,
    /// Which dumps of the same databases are kept after this one: days, weeks or months, such as `30d`,
    /// or a number of dumps; `spec.backup.retentionPolicy` of the cluster when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 9), regex(pattern = r"^[1-9][0-9]*[dwm]?$"))]
    pub retention_policy: Option<String>,
}

impl DumpContent {
    /// What an agent is asked for, under this name.
    pub fn order(&self, name: String) -> DumpOrder {
        let usual_jobs = match self.format {
            DumpFormat::Custom => 1,
            DumpFormat::Directory => JOBS,
        };
        let seconds = self.snapshot_limit_seconds.unwrap_or(SNAPSHOT_LIMIT_SECONDS);
        DumpOrder {
            name,
            databases: self.databases.clone(),
            tables: self.tables.clone(),
            format: self.format,
            // What cannot be is refused by whoever is asked.
            jobs: u32::try_from(self.jobs.unwrap_or(usual_jobs)).unwrap_or_default(),
            compress: self.compress.clone(),
            passwords: self.role_passwords,
            snapshot_limit_seconds: u64::try_from(seconds).unwrap_or_default(),
            retention: self.retention_policy.clone(),
            asked_by: None,
        }
    }
}

/// How a dump went, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DumpStatus {
    /// How far it is.
    #[serde(flatten)]
    pub going: Going,
    /// The dump's id in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump_id: Option<String>,
    /// The dump's name in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dump_name: Option<String>,
    /// The folder of the server in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Where the archive lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_path: Option<String>,
    /// The object store's endpoint.
    #[serde(rename = "endpointURL", skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The databases that are in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
    /// What its databases took in the server, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// What is stored of it, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<i64>,
    /// When it was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Time>,
    /// What is wrong although it is completed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Told for DumpStatus {
    fn going(&self) -> Going {
        self.going.clone()
    }

    fn with(self, going: Going) -> Self {
        Self { going, ..self }
    }
}

const RULES: &[Rule] = &[
    Rule {
        name: "dump-stays",
        at: "spec",
        rule: "oldSelf == self",
        message: "a Dump cannot be changed: make a new one",
        source: Source::Ours,
    },
    Rule { name: "dump-jobs-in-a-directory", ..JOBS_IN_A_DIRECTORY },
    Rule { name: "dump-tables-of-one-database", ..TABLES_OF_ONE_DATABASE },
];

/// The custom format is one stream.
pub(crate) const JOBS_IN_A_DIRECTORY: Rule = Rule {
    name: "",
    at: "spec",
    rule: "!has(self.jobs) || self.jobs == 1 || self.format == 'directory'",
    message: "the custom format is one stream: write format: directory for more jobs",
    source: Source::Ours,
};

/// Patterns of tables mean something in one database only.
pub(crate) const TABLES_OF_ONE_DATABASE: Rule = Rule {
    name: "",
    at: "spec",
    rule: "!has(self.tables) || self.tables.size() == 0 || (has(self.databases) && self.databases.size() == 1)",
    message: "tables are of one database: name it in databases",
    source: Source::Ours,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let spec = |text: &str| serde_json::from_str::<DumpSpec>(text).unwrap().content;
        let order = spec(r#"{"cluster": {"name": "db"}}"#).order("a".to_owned());
        assert_eq!((order.jobs, order.format), (1, DumpFormat::Custom));
        assert_eq!(order.snapshot_limit_seconds, 86_400);
        let order = spec(r#"{"cluster": {"name": "db"}, "format": "directory"}"#);
        assert_eq!(order.order("a".to_owned()).jobs, 2);
    }
}
