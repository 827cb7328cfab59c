//! Ends the agent on SIGTERM: the office is handed over or given up, PostgreSQL is stopped.
//!
//! Never ends while a process of PostgreSQL lives, and never takes longer than it was given.

use super::Agent;
use crate::process::clock;
use pgherd_core::plan::Task;
use pgherd_core::record::Phase;
use pgherd_core::units::Time;
use std::time::Duration;
use tracing::{info, warn};

/// Beyond the clean stop: to find a successor before it, and to tell of it after it.
const BESIDES_STOPPING: Duration = Duration::from_secs(7);
/// How long a successor is waited for after the office was released.
const SUCCESSION: Duration = Duration::from_secs(1);
/// How long the record is tried to be told that the office is free, once PostgreSQL is down. It
/// may be out of reach, or gone with the whole cluster.
const RELEASE: Duration = Duration::from_secs(5);
/// Until PostgreSQL is stopped when nothing is known of what is wanted, or while a folder is only
/// being made: that begins anew.
const STOP_AT_ONCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
pub(super) struct Leaving {
    /// When the office is given up and PostgreSQL stopped.
    from: Time,
    until: Time,
    /// Since when nothing of PostgreSQL is left.
    down: Option<Time>,
}

impl Agent {
    pub(super) fn leave(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        let makes = self.seen.task.as_ref().is_some_and(|it| it.task == Task::Initialise);
        let intent = self.intent.as_ref().filter(|_| !makes);
        let stop = intent.map_or(STOP_AT_ONCE, |intent| intent.stop_delay);
        let others = self.seen.my_office().map(|record| self.seen.others(&record.members));
        let has_clients_to_lead = others.is_some_and(|mut others| others.next().is_some());
        let headway =
            if has_clients_to_lead { self.outside.platform.headway() } else { Duration::ZERO };
        let at_most = headway + stop + BESIDES_STOPPING;
        info!(?headway, ?at_most, "asked to stop");
        let now = clock::now();
        let (from, until) = (now.after(headway), now.after(at_most));
        self.leaving = Some(Leaving { from, until, down: None });
        self.intend();
    }

    /// Whether this instance is to be out of office by now.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some_and(|leaving| clock::now() >= leaving.from)
    }

    /// When the next look is due at the latest.
    pub(super) fn no_later_than_leaving(&self, look: Time) -> Time {
        let from = self.leaving.map(|leaving| leaving.from);
        from.filter(|from| *from > clock::now()).map_or(look, |from| look.min(from))
    }

    /// Whether nothing is left to do for one who leaves.
    pub(super) async fn has_left(&mut self) -> bool {
        let now = clock::now();
        let is_down = self.hands.postmaster.is_none() && self.running.is_none();
        let Some(leaving) = &mut self.leaving else { return false };
        leaving.down = leaving.down.filter(|_| is_down).or(is_down.then_some(now));
        let Leaving { until, down, .. } = *leaving;
        let linger = self.outside.platform.linger();
        let lingered = down.is_some_and(|down| now >= down.after(linger));
        if lingered && (self.intent.is_none() || self.is_succeeded()) {
            return true;
        }
        if down.is_some_and(|down| now >= down.after(RELEASE.max(linger))) {
            warn!("the office could not be given up: it is lost when its term is over");
            return true;
        }
        let late = now >= until;
        if late {
            warn!("the time to stop is over: what is left of PostgreSQL is killed");
            self.kill_server().await;
        }
        late
    }

    /// Whether the office is in no need of this instance any more.
    fn is_succeeded(&self) -> bool {
        let Some(record) = self.seen.my_office() else { return true };
        let vacated = matches!(record.phase, Phase::Vacant { .. });
        let nobody_else = self.seen.others(&record.members).next().is_none();
        let told = self.seen.release_sent.is_some_and(|at| clock::now() >= at.after(SUCCESSION));
        vacated && (told || nobody_else)
    }
}
