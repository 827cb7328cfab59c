//! Performs the tasks of a plan on the server: one file per task.
//!
//! Never decides whether a task is right, and never leaves a server behind that nobody watches.

mod checkpoint;
mod clone;
mod fetch_tail;
mod follow;
mod initialise;
mod obey;
mod open_gate;
mod promote;
mod reload;
mod rewind;
mod scan_end;
mod seal;
mod start;
mod stop;
pub mod upkeep;

use crate::accepted::Accepted;
use crate::chain::chain;
use crate::config::AgentConfig;
use crate::http::client::Client;
use crate::postgres::running::Running;
use crate::postgres::server::Postmaster;
use crate::postgres::site::Site;
use crate::process::fence::Fence;
use crate::recovery;
use crate::settings::SettingsError;
use pgherd_api::agent::Specification;
use pgherd_core::plan::{Outcome, Task};
use pgherd_core::record::{Pair, Term};
use pgherd_core::seen::{Follows, Gate, Obeyed, Pending};
use pgherd_core::units::{SystemId, WalPosition};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// What every performer works with; as it was when the task began.
#[derive(Clone)]
pub struct Bench {
    pub site: Site,
    pub config: Arc<AgentConfig>,
    pub specification: Arc<Specification>,
    pub client: Arc<Client>,
    pub fence: Arc<Fence>,
    pub accepted: Arc<Accepted>,
    /// The cluster this instance belongs to, once that is known.
    pub system_id: Option<SystemId>,
    /// The recent timelines, as the primary told them.
    pub terms: Vec<Term>,
    /// How far a recovery from a backup is.
    pub recovery: Arc<recovery::Told>,
}

/// The server between two tasks: its process, and how it was set up.
#[derive(Clone, Default)]
pub struct Hands {
    pub postmaster: Option<Arc<Postmaster>>,
    pub manner: Manner,
}

/// How the server was set up. It cannot be seen from outside, or not soon enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// The rule for commits in its configuration.
    pub commits: Option<Pair>,
    /// The rule that every process of it was proven to obey.
    pub obeys: Option<Obeyed>,
    pub follows: Option<Follows>,
    /// Where the primary was when the server was pointed at it.
    #[serde(default)]
    pub reached: Option<SocketAddr>,
    pub gate: Gate,
    /// The number of the configuration it runs with.
    pub configuration: u64,
    #[serde(default)]
    pub pending: Pending,
    /// Where the log of a dead server was found to end.
    pub end: Option<WalPosition>,
    /// Bytes of log that its last recovery replayed in a second.
    #[serde(default)]
    pub replayed_per_second: Option<u64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            commits: None,
            obeys: None,
            follows: None,
            reached: None,
            gate: Gate::Open,
            configuration: 0,
            pending: Pending::Nothing,
            end: None,
            replayed_per_second: None,
        }
    }
}

impl Manner {
    /// What still counts of a server that died: its configuration's number, and how fast it is.
    pub fn after_death(&self) -> Self {
        Self {
            configuration: self.configuration,
            replayed_per_second: self.replayed_per_second,
            ..Self::default()
        }
    }
}

/// A task that came to its end.
pub struct Ended {
    /// Which start of a task this ends.
    pub serial: u64,
    pub outcome: Outcome,
    pub hands: Hands,
}

impl std::fmt::Debug for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {} ended: {:?}", self.serial, self.outcome)
    }
}

/// There is nothing to act on, or no settings to act with.
#[derive(Debug, thiserror::Error)]
pub enum UnreadyError {
    #[error("the server does not run")]
    FindServer,
    #[error("gathering the settings")]
    Gather(#[source] SettingsError),
}

impl Hands {
    fn running<'a>(&'a self, bench: &'a Bench) -> Result<Running<'a>, UnreadyError> {
        let postmaster = self.postmaster.as_deref().ok_or(UnreadyError::FindServer)?;
        Ok(Running { site: &bench.site, postmaster })
    }
}

/// Performs one task to its end, whatever that is.
pub async fn perform(bench: Bench, hands: Hands, task: Task, serial: u64) -> Ended {
    let mut hands = hands;
    let outcome = match act(&bench, &mut hands, task).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed { why: chain(&*error).to_string() },
    };
    Ended { serial, outcome, hands }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn act(bench: &Bench, hands: &mut Hands, task: Task) -> Result<Outcome, Failure> {
    match task {
        Task::Initialise => initialise::perform(bench).await?,
        Task::Start { cut } => start::perform(bench, hands, cut).await?,
        Task::Seal { .. } => seal::perform(bench, hands).await?,
        Task::Follow { epoch, primary } => follow::perform(bench, hands, epoch, primary).await?,
        Task::Promote { timeline, obey, gate, .. } => {
            promote::perform(bench, hands, timeline, (obey, gate)).await?;
        }
        Task::Obey { pair, .. } => {
            let since = obey::perform(bench, hands, pair).await?;
            return Ok(Outcome::Obeyed { since });
        }
        Task::OpenGate { .. } => open_gate::perform(bench, hands).await?,
        Task::Checkpoint { .. } => checkpoint::perform(bench, hands).await?,
        Task::Stop { .. } => stop::perform(bench, hands).await?,
        Task::Reload { .. } => reload::perform(bench, hands).await?,
        Task::ScanEnd => scan_end::perform(bench, hands).await?,
        Task::FetchTail { from, until, .. } => {
            fetch_tail::perform(bench, hands, &from, until).await?;
        }
        Task::Rewind { epoch, primary } => rewind::perform(bench, epoch, primary).await?,
        Task::Clone { epoch, primary } => clone::perform(bench, epoch, primary).await?,
    }
    Ok(Outcome::Done)
}
