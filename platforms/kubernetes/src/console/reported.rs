//! What the operator has reported in the Cluster's status: what is wrong, and for those who may not
//! look for themselves also who is who.
//!
//! Never in place of what was seen.

use super::{Part, View};
use crate::cluster::{HEALTHY, INVALID, is_change};
use pgherd_api::cluster::status::ClusterStatus;
use pgherd_core::names::InstanceName;

/// Why a state or a role is not more exact than this.
const AS_REPORTED: &str = "as the operator reported it";

fn status(view: &View) -> Option<&ClusterStatus> {
    view.cluster.status.as_ref()
}

fn phase(view: &View) -> Option<&str> {
    status(view)?.phase.as_deref()
}

/// The phase and its reason in one sentence, unless they say that all is well.
pub(super) fn trouble(view: &View) -> Option<String> {
    let phase = phase(view)?;
    // What is wrong with the manifest is told by whoever reads it.
    if phase == INVALID && !view.problems.is_empty() {
        return None;
    }
    match status(view)?.phase_reason.as_deref().filter(|reason| !reason.is_empty()) {
        Some(reason) if phase == HEALTHY => Some(format!("the operator: {reason}")),
        Some(reason) => Some(format!("the operator: {phase}: {reason}")),
        None => (phase != HEALTHY).then(|| format!("the operator: {phase}")),
    }
}

/// Whether nothing else goes on than what was asked for.
pub(super) fn is_changing(view: &View) -> bool {
    phase(view).is_some_and(is_change)
}

pub(super) fn is_healthy(view: &View) -> bool {
    phase(view) == Some(HEALTHY) && trouble(view).is_none()
}

/// Who served writes, where the record cannot be seen.
pub(super) fn serving(view: &View) -> Option<InstanceName> {
    let is_failing = status(view)?.current_primary_failing_since_timestamp.is_some();
    primary(view).filter(|_| !is_failing)
}

/// Who was the primary, where the record cannot be seen.
fn primary(view: &View) -> Option<InstanceName> {
    let hidden = !view.sees(Part::Record);
    let primary = status(view).filter(|_| hidden)?.current_primary.as_deref()?;
    InstanceName::parse(primary).ok()
}

/// What an instance was, where the record cannot be seen; sync and async are only in there.
pub(super) fn role(view: &View, name: &InstanceName) -> Option<&'static str> {
    let primary = primary(view)?;
    let role = match view.primary() {
        Some(serving) if serving == *name => "primary",
        _ if view.is_fenced(name) => "fenced",
        _ if primary == *name => "opening",
        _ => "standby",
    };
    status(view)?.instance_names.contains(&name.to_string()).then_some(role)
}

/// How an instance was, where pods cannot be seen.
pub(super) fn state(view: &View, name: &InstanceName) -> Option<(&'static str, String)> {
    let name = name.to_string();
    let mut states = status(view).filter(|_| !view.sees(Part::Pods))?.instances_status.iter();
    let (state, _) = states.find(|(_, names)| names.contains(&name))?;
    let state = match state.as_str() {
        "healthy" => "ready",
        "replicating" => "starting",
        "failed" => "failed",
        _ => return None,
    };
    Some((state, AS_REPORTED.to_owned()))
}

/// How many instances were ready, where pods cannot be seen.
pub(super) fn ready(view: &View) -> Option<usize> {
    let ready = status(view).filter(|_| !view.sees(Part::Pods))?.ready_instances?;
    usize::try_from(ready).ok()
}
