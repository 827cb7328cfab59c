//! Says when Kubernetes looks whether an instance has started, lives and may serve.
//!
//! Never decides what is looked at: the agent answers.

use crate::pod::STATUS_PORT;
use k8s_openapi::api::core::v1::{HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pgherd_api::cluster::probes::{LivenessProbe, ReplicaProbe};
use pgherd_api::cluster::spec::ClusterSpec;

/// Seconds between two probes, unless it is said otherwise.
const PERIOD: i32 = 10;
/// Readiness decides where reads go, so that it is looked at more often.
const READINESS_PERIOD: i32 = 2;
const TIMEOUT: i32 = 5;
const LIVENESS_TIMEOUT: i32 = 30;

pub(super) fn startup(wanted: &ClusterSpec) -> Probe {
    let given = wanted.probes.as_ref().and_then(|probes| probes.startup.clone());
    let given = given.unwrap_or_default();
    let mut probe = of_replica("/startupz", PERIOD, &given);
    probe.failure_threshold =
        given.failure_threshold.or(Some(rounds(wanted.start_delay, probe.period_seconds)));
    // Kubernetes takes no other number of successes here.
    probe.success_threshold = None;
    probe
}

pub(super) fn readiness(wanted: &ClusterSpec) -> Probe {
    let given = wanted.probes.as_ref().and_then(|probes| probes.readiness.clone());
    let mut probe = of_replica("/readyz", READINESS_PERIOD, &given.unwrap_or_default());
    // Kubernetes refuses it here, because nothing is stopped.
    probe.termination_grace_period_seconds = None;
    probe
}

pub(super) fn liveness(wanted: &ClusterSpec) -> Probe {
    let given = wanted.probes.as_ref().and_then(|probes| probes.liveness.clone());
    let LivenessProbe {
        isolation_check: _,
        initial_delay_seconds,
        period_seconds,
        timeout_seconds,
        // Kubernetes takes no other number of successes here.
        success_threshold: _,
        failure_threshold,
        termination_grace_period_seconds,
    } = given.unwrap_or_default();
    let period_seconds = period_seconds.or(Some(PERIOD));
    let timeout = wanted.liveness_probe_timeout.unwrap_or(LIVENESS_TIMEOUT);
    Probe {
        http_get: Some(ask("/healthz")),
        initial_delay_seconds,
        period_seconds,
        timeout_seconds: timeout_seconds.or(Some(TIMEOUT)),
        failure_threshold: failure_threshold.or(Some(rounds(timeout, period_seconds))),
        termination_grace_period_seconds,
        ..Probe::default()
    }
}

fn of_replica(path: &str, period: i32, given: &ReplicaProbe) -> Probe {
    Probe {
        http_get: Some(ask(path)),
        initial_delay_seconds: given.initial_delay_seconds,
        period_seconds: given.period_seconds.or(Some(period)),
        timeout_seconds: given.timeout_seconds.or(Some(TIMEOUT)),
        success_threshold: given.success_threshold,
        failure_threshold: given.failure_threshold,
        termination_grace_period_seconds: given.termination_grace_period_seconds,
        ..Probe::default()
    }
}

fn ask(path: &str) -> HTTPGetAction {
    HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::Int(i32::from(STATUS_PORT)),
        scheme: Some("HTTPS".to_owned()),
        ..HTTPGetAction::default()
    }
}

/// How many probes fit into so many seconds; one at least, and a begun one counts.
fn rounds(seconds: i32, period: Option<i32>) -> i32 {
    let period = period.unwrap_or(PERIOD).max(1);
    let whole = seconds.checked_div(period).unwrap_or(0);
    let begun = seconds.checked_rem(period).unwrap_or(0);
    whole.saturating_add(i32::from(begun > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_begun_round_counts() {
        let cases = [(3600, 10), (3601, 10), (10, 10), (5, 10), (0, 10), (30, 7), (30, 0), (-5, 3)];
        let shown = cases.map(|(seconds, period)| {
            format!("{seconds} s every {period} s: {}\n", rounds(seconds, Some(period)))
        });
        expect![[r#"
            3600 s every 10 s: 360
            3601 s every 10 s: 361
            10 s every 10 s: 1
            5 s every 10 s: 1
            0 s every 10 s: 1
            30 s every 7 s: 5
            30 s every 0 s: 30
            -5 s every 3 s: 1
        "#]]
        .assert_eq(&shown.concat());
    }
}
