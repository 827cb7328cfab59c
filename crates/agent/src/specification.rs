//! Learns what is wanted, and keeps it for a start at which nobody can be asked.
//!
//! Never goes back to an older specification.

use crate::chain::chain;
use crate::durable::{self, Access, DurableError};
use crate::platform::Platform;
use crate::wake::{Wake, Waker};
use pgherd_api::agent::Specification;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The newest specification this instance was given. It is no promise: one that cannot be read is
/// asked for again.
pub fn cached(path: &Path) -> Option<Specification> {
    match durable::load(path) {
        Ok(cached) => cached,
        Err(error) => {
            warn!(error = %chain(&error), "the kept specification is asked for again");
            None
        }
    }
}

pub fn keep(path: &Path, specification: &Specification) -> Result<(), DurableError> {
    durable::save(path, specification, Access::PRIVATE)
}

/// Asks for newer specifications as long as the agent runs.
pub async fn pull(platform: Arc<dyn Platform>, waker: Waker, mut after: u64) {
    let mut failing = false;
    loop {
        match platform.specification(after).await {
            Ok(newer) => {
                if std::mem::take(&mut failing) {
                    info!("specifications can be read again");
                }
                if let Some(specification) = newer.filter(|newer| newer.number > after) {
                    after = specification.number;
                    waker.wake(Wake::Specified(Box::new(specification))).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "specifications cannot be read");
                }
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}
