//! The record behind an HTTP service, as local mode keeps it.
//!
//! Never says that a write was not applied unless the keeper said so.

use crate::chain::chain;
use crate::http::client::{CallError, Client, Endpoint};
use pgherd_api::agent::{RecordAnswer, WriteAnswer, names};
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Record, Write};
use std::sync::Arc;
use std::time::Duration;

/// A store that takes longer is out of reach for this time; the plan asks again.
const DEADLINE: Duration = Duration::from_secs(2);

/// Reads and writes the record of one cluster over HTTP.
#[derive(Clone)]
pub struct HttpCoordinator {
    client: Arc<Client>,
    keeper: Endpoint,
}

impl HttpCoordinator {
    pub fn new(client: Arc<Client>, keeper: Endpoint) -> Self {
        Self { client, keeper }
    }
}

impl Coordinator for HttpCoordinator {
    async fn read(&self) -> Result<Option<Record>, CoordinatorError> {
        let answer = self.client.call(&self.keeper, names::RECORD_READ, &(), DEADLINE).await;
        let answer: RecordAnswer = answer.map_err(|error| failed("reading the record", &error))?;
        Ok(answer.record)
    }

    async fn write(&self, write: &Write) -> Result<Written, CoordinatorError> {
        let answer = self.client.call(&self.keeper, names::RECORD_WRITE, write, DEADLINE).await;
        match answer.map_err(|error| failed("writing the record", &error))? {
            WriteAnswer::Applied => Ok(Written::Applied),
            WriteAnswer::Conflict { current } => Ok(Written::Conflict { current }),
        }
    }
}

fn failed(attempt: &'static str, error: &CallError) -> CoordinatorError {
    CoordinatorError { attempt, why: chain(error).to_string() }
}
