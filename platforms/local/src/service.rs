//! Keeps the record for the agents: answers them over mutual TLS, each through its own relay.
//!
//! Never tells anybody but an instance of the cluster, and never judges a write but by its base.

use crate::store::Store;
use pgherd_agent::http::refusal::{Kind, Refusal};
use pgherd_agent::http::routes::Routes;
use pgherd_agent::tls::peer::Peer;
use pgherd_api::agent::{RecordAnswer, Specification, SpecificationAfter, WriteAnswer, names};
use pgherd_core::names::ClusterName;
use pgherd_core::ports::{Coordinator, CoordinatorError, Written};
use pgherd_core::record::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// The longest an answer waits for a newer specification; below the server's own limit.
const LONGEST_WAIT: Duration = Duration::from_secs(9);

/// What the record's service works with.
#[derive(Clone)]
pub struct Desk {
    pub cluster: ClusterName,
    pub store: Store,
    pub specification: watch::Receiver<Option<Specification>>,
    /// Told of each write that was applied.
    pub written: Arc<Notify>,
}

pub fn routes(desk: &Desk) -> Routes {
    let (reading, writing, waiting) = (desk.clone(), desk.clone(), desk.clone());
    Routes::default()
        .call(names::RECORD_READ, move |peer: Peer, (): ()| {
            let desk = reading.clone();
            async move {
                desk.admit(&peer)?;
                let record = desk.store.read().await.map_err(|error| failed(&error))?;
                Ok(RecordAnswer { record })
            }
        })
        .call(names::RECORD_WRITE, move |peer: Peer, write: Write| {
            let desk = writing.clone();
            async move {
                desk.admit(&peer)?;
                desk.write(&write).await
            }
        })
        .call(names::SPECIFICATION_READ, move |peer: Peer, after: SpecificationAfter| {
            let mut desk = waiting.clone();
            async move {
                desk.admit(&peer)?;
                Ok(desk.newer(after).await)
            }
        })
}

impl Desk {
    fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        match peer.instance() {
            Some(instance) if *instance.cluster() == self.cluster => Ok(()),
            Some(_) | None => {
                let why = format!("only instances of cluster {} may ask this", self.cluster);
                Err(Refusal::new(Kind::Forbidden, why))
            }
        }
    }

    async fn write(&self, write: &Write) -> Result<WriteAnswer, Refusal> {
        match self.store.write(write).await.map_err(|error| failed(&error))? {
            Written::Applied => {
                self.written.notify_one();
                Ok(WriteAnswer::Applied)
            }
            Written::Conflict { current } => Ok(WriteAnswer::Conflict { current }),
        }
    }

    /// The specification, once there is one newer than the asker's; `None` when time is over.
    async fn newer(&mut self, after: SpecificationAfter) -> Option<Specification> {
        let patience = Duration::from_millis(after.wait_milliseconds).min(LONGEST_WAIT);
        let is_newer = |specification: &Option<Specification>| {
            specification.as_ref().is_some_and(|present| present.number > after.after)
        };
        let found = timeout(patience, self.specification.wait_for(is_newer)).await;
        // Neither time nor the supervisor itself may be left: the asker asks again.
        found.ok()?.ok()?.clone()
    }
}

fn failed(error: &CoordinatorError) -> Refusal {
    Refusal::new(Kind::Failed, error.to_string())
}
