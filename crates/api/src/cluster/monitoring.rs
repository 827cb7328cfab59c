//! Which metrics are served and how they are scraped. Never reads one.

use super::references::{ConfigMapKeySelector, SecretKeySelector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which metrics are served and how they are scraped.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Monitoring {
    /// Leave out the default set of queries. Default: false.
    pub disable_default_queries: bool,
    /// Further queries, in ConfigMaps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_queries_config_map: Vec<ConfigMapKeySelector>,
    /// Further queries, in Secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub custom_queries_secret: Vec<SecretKeySelector>,
    /// How long results of queries are reused, as a duration such as `30s`. Default: 30 seconds.
    #[serde(rename = "metricsQueriesTTL", skip_serializing_if = "Option::is_none")]
    pub metrics_queries_ttl: Option<String>,
    /// Make a PodMonitor for the cluster. Deprecated: make your own. Default: false.
    pub enable_pod_monitor: bool,
    /// Rules of the PodMonitor for samples.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_monitor_metric_relabelings: Vec<Relabeling>,
    /// Rules of the PodMonitor for targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pod_monitor_relabelings: Vec<Relabeling>,
    /// Encryption of the metrics endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<MonitoringTls>,
}

/// Encryption of the metrics endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct MonitoringTls {
    /// Serve metrics over TLS. Default: false.
    pub enabled: bool,
}

/// A relabelling rule, as Prometheus knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Relabeling {
    /// What the rule does: `replace`, `keep`, `drop`, `labelmap` and so on. Default: `replace`.
    #[schemars(extend("enum" = ["replace", "Replace", "keep", "Keep", "drop", "Drop", "hashmod", "HashMod", "labelmap", "LabelMap", "labeldrop", "LabelDrop", "labelkeep", "LabelKeep", "lowercase", "Lowercase", "uppercase", "Uppercase", "keepequal", "KeepEqual", "dropequal", "DropEqual"]))]
    pub action: String,
    /// The labels whose values are joined and matched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_labels: Vec<String>,
    /// What the values are joined with. Default: `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// The regular expression to match. Default: `(.*)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// The modulus of the hash of the source labels; for `hashmod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modulus: Option<i64>,
    /// The label that is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// What is written. Default: `$1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
}

impl Default for Relabeling {
    fn default() -> Self {
        Self {
            action: "replace".to_owned(),
            source_labels: Vec::new(),
            separator: None,
            regex: None,
            modulus: None,
            target_label: None,
            replacement: None,
        }
    }
}
