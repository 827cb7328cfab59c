//! The outside world as the agents need it. Two real implementations exist of each.
//!
//! Never more than six methods.

use crate::record::{Record, Write};
use std::future::Future;

pub mod contract;

/// The keeper of a cluster's one record: a Lease on Kubernetes, an embedded store in local mode.
pub trait Coordinator {
    /// The record as it was at some moment between asking and answering.
    fn read(&self) -> impl Future<Output = Result<Option<Record>, CoordinatorError>> + Send;

    /// Applies `write` if and only if the record is at the revision it expects (0: no record).
    /// Once it answers `Applied`, the write survives the loss of power.
    fn write(
        &self,
        write: &Write,
    ) -> impl Future<Output = Result<Written, CoordinatorError>> + Send;
}

#[expect(clippy::large_enum_variant, reason = "made a few times a minute, and never stored")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    Applied,
    /// Not applied, and it never will be unless sent again.
    Conflict {
        current: Option<Record>,
    },
}

/// The store gave no usable answer: a write may have been applied, or may be later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{attempt}: {why}")]
pub struct CoordinatorError {
    pub attempt: &'static str,
    pub why: String,
}
