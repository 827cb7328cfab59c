//! How the primary is updated, and how much is logged. Never starts an update.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the primary is updated, once the standbys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PrimaryUpdateMethod {
    /// Make an updated standby the primary first.
    #[serde(rename = "switchover")]
    Switchover,
    /// Restart the primary in place.
    #[default]
    #[serde(rename = "restart")]
    Restart,
}

/// When the primary is updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum PrimaryUpdateStrategy {
    /// At once.
    #[default]
    #[serde(rename = "unsupervised")]
    Unsupervised,
    /// When somebody asks for a switchover or a restart.
    #[serde(rename = "supervised")]
    Supervised,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum LogLevel {
    /// Errors.
    #[serde(rename = "error")]
    Error,
    /// Errors and warnings.
    #[serde(rename = "warning")]
    Warning,
    /// Also what changes.
    #[default]
    #[serde(rename = "info")]
    Info,
    /// Also why.
    #[serde(rename = "debug")]
    Debug,
    /// Everything.
    #[serde(rename = "trace")]
    Trace,
}
