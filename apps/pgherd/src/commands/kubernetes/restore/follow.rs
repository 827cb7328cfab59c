//! Follows a cluster that is made until it is whole, or cannot become so.
//!
//! Never ends what it follows.

use super::super::super::progress::{Headway, Progress};
use super::super::super::recovery::words;
use super::super::place::Reached;
use super::super::wait::BETWEEN_LOOKS;
use pgherd_api::agent::{RecoveryPhase, RecoveryReport, Status};
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::inside::{self, within_reach};
use pgherd_kubernetes::console::{Part, View};
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;
use tokio::time::sleep;

/// What fails so often in a row will fail again.
const FAILURES: u32 = 2;

/// What a cluster begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Begins {
    /// A backup: its first instance tells of that.
    Recovered,
    /// A copy of a server.
    Copied,
}

/// Until every instance is ready. What is told of a recovery is there if there was one.
pub(in super::super) async fn follow(
    to: &Reached,
    (begins, wanted): (Begins, u32),
    patience: Duration,
) -> Result<Option<RecoveryReport>, Failure> {
    let (mut progress, mut headway) = (Progress::new(), Headway::new());
    let mut report = None;
    loop {
        let (step, detail) = match to.look().await {
            Err(failure) if failure.kind == Kind::NotFound => return Err(failure),
            Err(failure) => (failure.what, String::new()),
            Ok(view) => {
                let said = agent(to, &view).await;
                if let Some(why) = said.as_ref().and_then(|said| hopeless(&view, said)) {
                    return Err(failed(to, why));
                }
                let heard = said.and_then(|said| said.recovery);
                report = heard.or(report);
                let is_whole = is_whole(&view, wanted);
                match (&report, begins) {
                    (None, Begins::Copied) if is_whole => return Ok(None),
                    (Some(_), _) if is_whole => return Ok(report),
                    (Some(report), _) if report.phase != RecoveryPhase::Completed => words(report),
                    (Some(_) | None, _) => (missing(&view, wanted), String::new()),
                }
            }
        };
        progress.tell_step(&step, &detail);
        headway.at((step, detail));
        if headway.stands() >= patience {
            return Err(timed_out(to, patience));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// What the first instance says, which makes the cluster.
async fn agent(to: &Reached, view: &View) -> Option<Status> {
    let first = InstanceName::new(&view.name, 1);
    let is_there = within_reach(view).any(|name| *name == first);
    if !is_there {
        return None;
    }
    Box::pin(inside::agent(&to.client, &to.namespace, &first)).await.ok()
}

fn is_whole(view: &View, wanted: u32) -> bool {
    let ready = view.instances().iter().filter(|name| view.is_ready(name)).count();
    view.primary().is_some() && u32::try_from(ready).is_ok_and(|ready| ready >= wanted)
}

fn missing(view: &View, wanted: u32) -> String {
    if let Some(note) = view.note(Part::Pods) {
        return note;
    }
    let status = view.cluster.status.as_ref();
    let phase = status.and_then(|status| status.phase.clone());
    let reason = status.and_then(|status| status.phase_reason.clone());
    let ready = view.instances().iter().filter(|name| view.is_ready(name)).count();
    let reason = reason.filter(|reason| !reason.is_empty());
    match (phase, reason) {
        (Some(phase), Some(reason)) => format!("{phase}: {reason}"),
        (Some(phase), None) => format!("{phase} ({ready} of {wanted} ready)"),
        (None, _) => "waiting for the operator".to_owned(),
    }
}

/// What the first instance failed at. It tries again, and would fail again.
fn hopeless(view: &View, said: &Status) -> Option<String> {
    if view.record.is_some() {
        return None;
    }
    let failure = said.failure.as_ref()?;
    let fell_short = said.recovery.as_ref().is_some_and(|report| report.fell_short.is_some());
    (fell_short || failure.times >= FAILURES).then(|| failure.why.clone())
}

fn failed(to: &Reached, why: String) -> Failure {
    let what = format!("cluster {} cannot be made", to.cluster);
    Failure::new(Kind::Failed, what).because(why).fix(format!(
        "kubectl delete clusters.postgresql.cnpg.io {} -n {} removes what was made of it",
        to.cluster, to.namespace
    ))
}

fn timed_out(to: &Reached, patience: Duration) -> Failure {
    let what = format!("cluster {} has not got on for {patience:?}", to.cluster);
    Failure::new(Kind::TimedOut, what)
        .fix(format!("it goes on: pgherd explain {} -n {}", to.cluster, to.namespace))
}
