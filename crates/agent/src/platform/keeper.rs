//! The platform of local mode: a supervisor that answers over HTTP.
//!
//! Never asks anybody but the keeper that the configuration names.

use super::{Answer, Lent, Platform, SilentError};
use crate::chain::chain;
use crate::config::AgentConfig;
use crate::coordinator::http::HttpCoordinator;
use crate::http::client::{Client, Endpoint};
use crate::tls::holder::Holder;
use pgherd_api::agent::{Specification, SpecificationAfter, names};
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::{Record, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long the answer may wait for something new; below the limit a server has for an answer.
const WAIT: Duration = Duration::from_secs(8);
const DEADLINE: Duration = Duration::from_secs(10);

/// The supervisor that started this agent.
pub struct Keeper {
    client: Arc<Client>,
    config: watch::Receiver<Arc<AgentConfig>>,
}

impl Keeper {
    pub fn new(lent: &Lent) -> Self {
        Self { client: Arc::clone(&lent.client), config: lent.config.subscribe() }
    }

    fn endpoint(&self) -> Result<Endpoint, String> {
        let config = self.config.borrow();
        let record = config.record.as_ref().ok_or("the configuration names no keeper")?;
        Ok(Endpoint::Certified { holder: Holder::Record, address: record.address })
    }

    fn coordinator(&self, attempt: &'static str) -> Result<HttpCoordinator, CoordinatorError> {
        let keeper = self.endpoint().map_err(|why| CoordinatorError { attempt, why })?;
        Ok(HttpCoordinator::new(Arc::clone(&self.client), keeper))
    }

    async fn newer(&self, after: u64) -> Result<Option<Specification>, SilentError> {
        let keeper = self.endpoint().map_err(|why| SilentError { why })?;
        let wait_milliseconds = u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX);
        let question = SpecificationAfter { after, wait_milliseconds };
        let answer = self.client.call(&keeper, names::SPECIFICATION_READ, &question, DEADLINE);
        answer.await.map_err(|error| SilentError { why: chain(&error).to_string() })
    }
}

impl Platform for Keeper {
    fn read_record(&self) -> Answer<'_, Result<Option<Record>, CoordinatorError>> {
        Box::pin(async { self.coordinator("reading the record")?.read().await })
    }

    fn write_record(&self, write: Write) -> Answer<'_, Result<Written, CoordinatorError>> {
        Box::pin(async move { self.coordinator("writing the record")?.write(&write).await })
    }

    fn specification(&self, after: u64) -> Answer<'_, Result<Option<Specification>, SilentError>> {
        Box::pin(self.newer(after))
    }
}
