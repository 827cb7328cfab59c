//! Sees to it that a running server has what it needs besides its plan.
//!
//! Never in the way of a task that changes the server: it waits until none runs.

use super::Agent;
use crate::chain::chain;
use crate::perform::upkeep::{self, Configured, Duty, Given, Round};
use crate::postgres::config::{SLOT_PREFIX, slot_of};
use crate::process::clock;
use crate::wake::Wake;
use pgherd_core::plan::Task;
use pgherd_core::seen::Server;
use pgherd_core::units::Time;
use std::time::Duration;
use tracing::warn;

/// What failed is tried again after this; what was done is looked at again when a standby is away.
const AGAIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The duty that was last carried out or begun.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    done: Option<Duty>,
    begun: Option<(Duty, Time)>,
    /// Which settings waited for a restart when it was last done.
    pub(super) pending_restart: Vec<String>,
}

impl Upkeep {
    /// The configuration that was looked at last.
    pub(super) fn looked_at(&self) -> Option<u64> {
        self.done.as_ref().map(Duty::configuration)
    }

    fn is_done(&self, duty: &Duty) -> bool {
        self.done.as_ref() == Some(duty)
    }
}

impl Agent {
    pub(super) fn keep_up(&mut self) {
        let Some(duty) = self.duty() else { return };
        let now = clock::now();
        let round = if self.upkeep.is_done(&duty) { Round::Later } else { Round::First };
        let due = match (&self.upkeep.begun, round) {
            (Some((begun, at)), Round::First) if *begun == duty => now.since(*at) >= AGAIN,
            (Some((_, at)), Round::Later) => self.misses_standby() && now.since(*at) >= LOOK_AGAIN,
            (Some(_) | None, Round::First) | (None, Round::Later) => true,
        };
        let Some(bench) = self.bench().filter(|_| due && self.allows_upkeep()) else { return };
        self.upkeep.begun = Some((duty.clone(), now));
        let waker = self.outside.waker.clone();
        let work = async move {
            match upkeep::keep(&bench, &duty, round).await {
                Ok(pending) => waker.wake(Wake::KeptUp(duty, pending)).await,
                Err(error) => warn!(error = %chain(&error), "upkeep is tried again"),
            }
        };
        self.outside.tasks.spawn_at_most(1, "upkeep", work);
    }

    /// Whether a running server has what it needs; none if none runs.
    pub(super) fn is_kept_up(&self) -> Option<bool> {
        self.duty().map(|duty| self.upkeep.is_done(&duty))
    }

    /// A checkpoint may take long, and upkeep is in nobody's way then.
    fn allows_upkeep(&self) -> bool {
        let task = self.seen.task.as_ref().map(|running| &running.task);
        task.is_none_or(|task| matches!(task, Task::Checkpoint { .. }))
    }

    pub(super) fn kept_up(&mut self, duty: Duty, pending_restart: Vec<String>) {
        self.upkeep.done = Some(duty);
        self.upkeep.pending_restart = pending_restart;
    }

    fn duty(&self) -> Option<Duty> {
        let postmaster = self.hands.postmaster.as_ref()?.pid().as_raw_pid();
        let server = Configured { postmaster, configuration: self.seen.health.configuration };
        let specification = self.specification.as_ref()?;
        let others = specification.intent.instances.iter().filter(|name| **name != self.me);
        let slots = others.map(|name| slot_of(SLOT_PREFIX, name)).collect();
        match &self.seen.server {
            Server::Primary(_) => {
                let superuser = specification.postgres.superuser;
                let owner = specification.postgres.initdb.owner.clone();
                let given = Given::look(&self.folder.secrets());
                Some(Duty::Primary { server, slots, superuser, owner, given })
            }
            Server::Standby(_) => Some(Duty::Standby { server, slots }),
            Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting => None,
        }
    }

    /// Somebody who should stream does not: its slot may have been lost.
    fn misses_standby(&self) -> bool {
        let Server::Primary(primary) = &self.seen.server else { return false };
        let intent = self.intent.as_ref();
        intent.is_some_and(|intent| {
            let mut others = intent.instances.iter().filter(|name| **name != self.me);
            others.any(|name| !primary.senders.contains_key(name))
        })
    }
}
