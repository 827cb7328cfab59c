//! Says in numbers how this instance is doing, to Prometheus and what reads the same.
//!
//! Never asks PostgreSQL or the store: it tells what the agent knows already, at once, and nothing secret.

mod catalogue;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fixtures;
mod measure;
mod serve;
mod text;

pub use catalogue::{ALL, Kind, Metric};
pub(crate) use serve::{Source, serve};

use crate::archive::Counts;
use crate::backup::Known;
use pgherd_api::agent::Status;

/// Where metrics are asked for.
pub const PATH: &str = "/metrics";

/// All that metrics are made from, as the agent's loop knows it.
#[derive(Debug, Clone)]
pub struct Facts {
    pub status: Status,
    /// Whether this instance is kept down on request.
    pub fenced: bool,
    pub archived: Counts,
    pub backups: Known,
}
