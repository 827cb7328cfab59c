//! Says in the words of CloudNativePG's users how long work goes.
//!
//! Never forgets what was known of it, unless it is begun anew.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use pgherd_api::errand::{FAILED, Going, InstanceId, Told};
use pgherd_core::backup::course::Wait;
use pgherd_core::names::InstanceName;
use std::time::Duration;

const PENDING: &str = "pending";
pub(crate) const STARTED: &str = "started";
pub(crate) const RUNNING: &str = "running";
pub(crate) const FINALIZING: &str = "finalizing";
const ARCHIVING_FAILING: &str = "walArchivingFailing";

/// As Kubernetes keeps it: another one would be written again and again.
pub(crate) fn second(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// For how long it has been its turn.
pub(crate) fn turn(going: &Going, now: Timestamp) -> Duration {
    let since = going.reconciliation_started_at.as_ref();
    let since = since.map(|since| now.duration_since(since.0));
    since.and_then(|since| Duration::try_from(since).ok()).unwrap_or_default()
}

pub(crate) fn waiting<S: Told>(before: S, wait: &Wait, now: Timestamp) -> S {
    let phase = match wait {
        Wait::ForArchiving { .. } => ARCHIVING_FAILING,
        Wait::ForTurn { .. }
        | Wait::ForCluster
        | Wait::ForManifest
        | Wait::ForWaking
        | Wait::ForAgent { .. }
        | Wait::ForPause { .. }
        | Wait::ForTaker { .. } => PENDING,
    };
    let going = before.going();
    // Whoever waits for others has its whole time once they have ended.
    let is_its_turn = !matches!(wait, Wait::ForTurn { .. });
    let since = going.reconciliation_started_at.clone().filter(|_| is_its_turn);
    let session = going.session().map(|session| InstanceId {
        session_id: Some(session.to_owned()),
        ..InstanceId::default()
    });
    before.with(Going {
        phase: Some(phase.to_owned()),
        error: Some(wait.to_string()),
        reconciliation_started_at: since.or_else(|| is_its_turn.then(|| second(now))),
        // Nobody does it.
        instance_id: session,
        ..going
    })
}

/// Whose pod does it, and under which name.
pub(crate) fn instance(
    (instance, pod): (&InstanceName, Option<&Pod>),
    session: String,
) -> InstanceId {
    let containers = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
    let container = containers.into_iter().flatten().find(|it| it.name == "postgres");
    InstanceId {
        pod_name: Some(instance.to_string()),
        container_id: container.and_then(|container| container.container_id.clone()),
        session_id: Some(session),
    }
}

pub(crate) fn begun<S: Told>(before: S, instance: InstanceId, now: Timestamp) -> S {
    let going = before.going();
    let since = going.reconciliation_started_at.clone();
    before.with(Going {
        phase: Some(STARTED.to_owned()),
        error: None,
        reconciliation_started_at: since.or_else(|| Some(second(now))),
        instance_id: Some(instance),
        ..going
    })
}

/// It is begun again under another name, and nothing of the last attempt is left: nor does the time
/// count that it took.
pub(crate) fn anew<S: Told>((session, lost): (String, &str), now: Timestamp) -> S {
    S::default().with(Going {
        phase: Some(PENDING.to_owned()),
        error: Some(format!("begun anew {lost}")),
        reconciliation_started_at: Some(second(now)),
        instance_id: Some(InstanceId { session_id: Some(session), ..InstanceId::default() }),
        ..Going::default()
    })
}

pub(crate) fn ended<S: Told>(status: S, now: Timestamp) -> S {
    let going = status.going();
    status.with(Going { reconciliation_terminated_at: Some(second(now)), ..going })
}

pub(crate) fn failed<S: Told>(before: S, why: &str, now: Timestamp) -> S {
    let (phase, error) = (Some(FAILED.to_owned()), Some(why.to_owned()));
    let going = before.going();
    ended(before.with(Going { phase, error, ..going }), now)
}
