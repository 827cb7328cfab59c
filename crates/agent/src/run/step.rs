//! Performs the steps of a plan, in order.
//!
//! Never goes on after a step that failed: the steps after it may rely on it.

use super::Agent;
use crate::durable::DurableError;
use crate::process::clock;
use crate::process::fence::{FenceError, State};
use crate::process::tree::TreeError;
use pgherd_core::notice::Event;
use pgherd_core::plan::Step;
use pgherd_core::units::{Epoch, Time};
use tracing::{error, warn};

#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("remembering on disk")]
    Persist(#[source] DurableError),
    #[error("making sure that no process of PostgreSQL is left")]
    FindProcesses(#[source] TreeError),
    #[error("the right of epoch {0} ended before this step was reached")]
    Over(Epoch),
    #[error("setting the deadline")]
    Arm(#[source] FenceError),
}

impl Agent {
    pub(super) async fn perform(&mut self, step: Step) -> Result<(), StepError> {
        match step {
            Step::Persist(durable) => {
                self.memory.persist(&durable).map_err(StepError::Persist)?;
                self.see(Event::Persisted(durable));
            }
            Step::Remember(note) => self.see(Event::Remembered(note)),
            Step::Send { to, request } => self.send(to, request),
            Step::ReadRecord => self.read_record(),
            Step::WriteRecord { write, change } => self.write_record(write, change),
            Step::Arm { epoch, until } => self.arm(epoch, until)?,
            Step::Disarm => self.disarm()?,
            Step::Fence { because } => {
                error!(%because, "every process of PostgreSQL is killed");
                self.kill_server().await;
            }
            Step::Perform(task) => self.begin(task),
        }
        Ok(())
    }

    /// What follows, for example an opening, relies on it: this agent, or its machine, may have
    /// stood still since the plan was made.
    fn arm(&mut self, epoch: Epoch, until: Time) -> Result<(), StepError> {
        self.fence.arm(epoch, until).map_err(StepError::Arm)?;
        self.see(Event::Armed { until });
        if clock::now() < until { Ok(()) } else { Err(StepError::Over(epoch)) }
    }

    fn disarm(&mut self) -> Result<(), StepError> {
        let State::Armed { epoch, .. } = self.fence.state() else { return Ok(()) };
        let dead = self.evidence().map_err(StepError::FindProcesses)?;
        if let Err(error) = self.fence.disarm(epoch, dead) {
            warn!(%error, "the deadline stays");
        }
        Ok(())
    }
}
