//! Learns what is wanted, and keeps it for a start at which nobody can be asked.
//!
//! Never goes back to an older specification.

use crate::chain::chain;
use crate::config::AgentConfig;
use crate::coordinator::http::keeper;
use crate::durable::{self, Access, DurableError};
use crate::http::client::Client;
use crate::wake::{Wake, Waker};
use pgherd_api::agent::{Specification, SpecificationAfter, names};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// How long the answer may wait for something new; below the limit a server has for an answer.
const WAIT: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_secs(10);
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
pub async fn pull(
    client: Arc<Client>,
    config: watch::Receiver<Arc<AgentConfig>>,
    waker: Waker,
    mut after: u64,
) {
    let mut failing = false;
    loop {
        let keeper = keeper(&config.borrow());
        let wait_milliseconds = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        let question = SpecificationAfter { after, wait_milliseconds };
        let answer: Result<Option<Specification>, _> =
            client.call(&keeper, names::SPECIFICATION_READ, &question, DEADLINE).await;
        match answer {
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
                    warn!(error = %chain(&error), "specifications cannot be read");
                }
                tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
    }
}
