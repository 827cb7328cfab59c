//! How instances are probed, and how long the primary's lease lasts. Never decides who is primary.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How Kubernetes probes the instances.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Probes {
    /// Whether an instance has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<ReplicaProbe>,
    /// Whether an instance may serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReplicaProbe>,
    /// Whether an instance has to be restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<LivenessProbe>,
}

/// A probe that can also look at a standby's lag.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ReplicaProbe {
    /// What is probed. Default: `pg_isready`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub type_: Option<ProbeType>,
    /// How far behind a standby may be, as a quantity such as `64Mi`; for `streaming`. No limit
    /// when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_lag: Option<Quantity>,
    /// How long to wait before the first probe, in seconds. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i32>,
    /// How often to probe, in seconds. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// How long a probe may take, in seconds. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// How many successes in a row count. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i32>,
    /// How many failures in a row count. Default: 3; for `startup` as many as `startDelay` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
    /// How long the pod has to stop after a failure, in seconds. Default: `stopDelay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// What is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeType {
    /// PostgreSQL accepts connections.
    #[serde(rename = "pg_isready")]
    PgIsready,
    /// A standby streams, and lags by `maximumLag` at most.
    #[serde(rename = "streaming")]
    Streaming,
    /// PostgreSQL answers a query.
    #[serde(rename = "query")]
    Query,
}

/// Whether an instance has to be restarted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LivenessProbe {
    /// Whether a primary that is cut off counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation_check: Option<IsolationCheck>,
    /// How long to wait before the first probe, in seconds. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i32>,
    /// How often to probe, in seconds. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i32>,
    /// How long a probe may take, in seconds. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// How many successes in a row count. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i32>,
    /// How many failures in a row count. Default: as many as `livenessProbeTimeout` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i32>,
    /// How long the pod has to stop after a failure, in seconds. Default: `stopDelay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// Whether a primary that is cut off counts as failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct IsolationCheck {
    /// Look for the other instances at all. Default: true.
    pub enabled: bool,
    /// How long a connection may take, in milliseconds. Default: 1000.
    pub connection_timeout: i64,
    /// How long an answer may take, in milliseconds. Default: 1000.
    pub request_timeout: i64,
}

impl Default for IsolationCheck {
    fn default() -> Self {
        Self { enabled: true, connection_timeout: 1000, request_timeout: 1000 }
    }
}

/// Times of the lease that the primary holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct PrimaryLease {
    /// How long the lease is valid after a renewal, in seconds. Default: 15.
    #[schemars(range(min = 1))]
    pub lease_duration_seconds: i32,
    /// How long the primary tries to renew before it gives up, in seconds. Default: 10.
    #[schemars(range(min = 1))]
    pub renew_deadline_seconds: i32,
    /// How long to wait between two tries, in seconds. Default: 2.
    #[schemars(range(min = 1))]
    pub retry_period_seconds: i32,
    /// How long a lease that was given back stays valid, in seconds. Default: 1.
    #[schemars(range(min = 1))]
    pub released_lease_duration_seconds: i32,
}

impl Default for PrimaryLease {
    fn default() -> Self {
        Self {
            lease_duration_seconds: 15,
            renew_deadline_seconds: 10,
            retry_period_seconds: 2,
            released_lease_duration_seconds: 1,
        }
    }
}
