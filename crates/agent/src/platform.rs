//! The platform an agent runs on: keeps the record, says what is wanted, knows where the others are.
//!
//! Never decides anything, and the agent never waits for it: an answer may be late or never come.

pub mod keeper;

use crate::config::AgentConfig;
use crate::http::client::Client;
use crate::process::fence::Fence;
use crate::tls::identity::Identity;
use crate::wake::Waker;
use pgherd_api::agent::Specification;
use pgherd_core::ports::{CoordinatorError, Written};
use pgherd_core::record::{Record, Write};
use pgherd_core::units::Epoch;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Two real ones exist: a supervisor's service over HTTP, and a Kubernetes.
pub trait Platform: Send + Sync {
    /// See [`Coordinator::read`](pgherd_core::ports::Coordinator::read).
    fn read_record(&self) -> Answer<'_, Result<Option<Record>, CoordinatorError>>;

    /// See [`Coordinator::write`](pgherd_core::ports::Coordinator::write).
    fn write_record(&self, write: Write) -> Answer<'_, Result<Written, CoordinatorError>>;

    /// A specification with a higher number than `after`; `None` if there is none for now: then
    /// the question may be asked again at once.
    fn specification(&self, after: u64) -> Answer<'_, Result<Option<Specification>, SilentError>>;

    /// How long a primary that is asked to leave goes on before it hands over, where the way to it
    /// changes as it is asked, and takes up the next change, to its successor, only after a while.
    fn headway(&self) -> Duration {
        Duration::ZERO
    }

    /// How long an instance that has left stays there with nothing open, where its address goes
    /// with it: clients that are still led to it are then refused at once, and ask again, rather
    /// than wait for somebody who is gone.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }
}

/// The platform, or why there is none.
pub type Raised = Result<Arc<dyn Platform>, Box<dyn Error + Send + Sync>>;

/// The platform could not say what is wanted.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SilentError {
    pub why: String,
}

/// What an agent lends to its platform for as long as it runs.
pub struct Lent {
    /// Who this instance is towards others.
    pub identity: Arc<Identity>,
    /// Calls other holders of a certificate of the cluster.
    pub client: Arc<Client>,
    /// Where others are reached: a platform that learns it while the agent runs changes it here.
    pub config: watch::Sender<Arc<AgentConfig>>,
    /// The epoch this instance serves writes under, while it does.
    pub serves: watch::Receiver<Option<Epoch>>,
    /// Wakes the agent's loop, for example with a question.
    pub waker: Waker,
    /// What kills PostgreSQL in time: an agent is alive while it ticks.
    pub fence: Arc<Fence>,
}
