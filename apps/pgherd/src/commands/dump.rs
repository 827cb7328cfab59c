//! What people say and are told of logical dumps, wherever their cluster is.
//!
//! Never asks anybody.

mod follow;
mod restore;
mod what;

pub(crate) use follow::{Follower, words};
pub(crate) use restore::Restoring;
pub(crate) use what::What;

use super::repository::dump::list::Listed;
use jiff::SignedDuration;
use pgherd_api::agent::DumpWork;
use pgherd_core::names::InstanceName;

pub(crate) fn word(work: DumpWork) -> &'static str {
    match work {
        DumpWork::Dump => "dump",
        DumpWork::Restore => "restore",
    }
}

/// That a dump is in the repository.
pub(crate) fn completed(
    cluster: &str,
    listed: &Listed,
    (instance, took): (&InstanceName, SignedDuration),
    databases: &[String],
) -> String {
    format!(
        "dump/{} of cluster/{cluster} completed in {:.1}s: {}, {} stored (from {instance})",
        listed.id.as_deref().unwrap_or("?"),
        took.as_secs_f64(),
        databases.join(", "),
        listed.stored_bytes.unwrap_or_default(),
    )
}
