//! What is promised on a Kubernetes, as much of it as fits a test; `kubernetes prove` has all.
//!
//! Never against a cluster that others use: it makes a namespace, and removes it at the end.
#![expect(clippy::print_stderr, reason = "what is measured and what is skipped must be seen")]

use pgherd_e2e::proof::figures::Table;
use pgherd_e2e::proof::place::Place;
use pgherd_e2e::proof::scenario::Scenario;
use pgherd_e2e::proof::{self, Asked};
use std::time::Duration;

#[test]
fn a_cluster_comes_up_and_survives_what_happens_to_its_pods_and_nodes() {
    if std::env::var_os("KUBECONFIG").is_none() {
        eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach a Kubernetes");
        return;
    }
    let place = Place::find(env!("CARGO_BIN_EXE_pgherd-e2e").into(), None).unwrap();
    let asked = Asked {
        scenarios: vec![
            Scenario::Creation,
            Scenario::PostmasterKilled,
            Scenario::PodDeleted,
            Scenario::NodeLost,
            Scenario::ApiAway,
        ],
        rounds: Some(1),
        // A term of the office would be over by then.
        away: Duration::from_secs(20),
        keep: None,
    };
    let outcomes = proof::prove(&place, &asked, |_| {}).unwrap();
    eprintln!("{}", Table(&outcomes));
    for outcome in &outcomes {
        assert!(!outcome.is_broken(), "{}", outcome.scenario);
    }
    let away = outcomes.iter().find(|outcome| outcome.scenario == Scenario::ApiAway).unwrap();
    let stood_still = away.rounds.iter().filter_map(|round| round.seconds);
    assert!(stood_still.into_iter().all(|seconds| seconds < 1.0), "writes stood still");
}
