//! Makes the data folder of a new cluster from a backup, and replays its source's log up to a target.
//!
//! Never writes to the source's archive, never opens short of the target, and never leaves a
//! half-made cluster under the final name.

mod course;
mod failure;
mod feed;
pub mod plan;
mod source;
mod target;

pub use course::{NewFromBackup, Patience, Told, recover};
pub use failure::RecoveryError;
pub use feed::Feed;
pub use plan::{Plan, PlanError};
pub use target::words;
