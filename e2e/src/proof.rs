//! PROVES what is promised on a Kubernetes: things happen to clusters, and a client measures.
//!
//! Never judges by the clock: a slow answer is reported, a broken promise fails.

mod backups;
mod catalog;
mod changes;
pub mod cluster;
mod creation;
mod crowd;
mod depot;
mod dumps;
mod encrypted;
pub mod figures;
mod network;
mod nodes;
mod operators;
pub mod place;
mod pods;
mod processes;
pub mod scenario;
mod stage;
mod upgrade;
pub mod writer;

use crate::wait;
use anyhow::{Context, Result};
use cluster::Commits;
use figures::{Ended, Outcome, Round};
use place::Place;
use scenario::Scenario;
use stage::Stage;
use std::path::PathBuf;
use std::time::Duration;

/// What is to be proven.
pub struct Asked {
    pub scenarios: Vec<Scenario>,
    /// How often each, instead of its usual number.
    pub rounds: Option<u32>,
    /// How long the API server is away when it is.
    pub away: Duration,
    /// Where logs and objects are kept when a promise was broken, or a target missed.
    pub keep: Option<PathBuf>,
}

/// What is heard while it goes on.
pub enum Told<'a> {
    Round(Scenario, &'a Round),
    Outcome(&'a Outcome),
}

/// Goes through the scenarios, in the order in which they stand. One that fails does not keep the
/// others from being proven.
pub fn prove(place: &Place, asked: &Asked, mut tell: impl FnMut(Told<'_>)) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let mut stage = None;
    for scenario in &asked.scenarios {
        wait::go_on()?;
        let mut outcome = Outcome { scenario: *scenario, rounds: Vec::new(), ended: Ended::Well };
        if scenario.needs_testbed() && !place.has_testbed() {
            outcome.ended = Ended::Skipped("only the nodes of a testbed can be hurt".to_owned());
        } else {
            let mut note = |round: Round| {
                tell(Told::Round(*scenario, &round));
                let most = scenario.target().max.unwrap_or(Duration::MAX).as_secs_f64();
                let is_late = round.seconds.is_some_and(|seconds| seconds > most);
                outcome.rounds.push(round);
                if let Some(folder) = asked.keep.as_ref().filter(|_| is_late) {
                    let folder = folder.join(format!("{scenario}-{}", outcome.rounds.len()));
                    // What cannot be kept is no reason to stop.
                    let _kept = cluster::keep_evidence(place, &folder).is_ok();
                }
            };
            let gone_through = go_through(place, &mut stage, (*scenario, asked), &mut note);
            if let Err(error) = gone_through {
                wait::go_on()?;
                outcome.ended = Ended::Failed(format!("{error:#}"));
            }
        }
        tell(Told::Outcome(&outcome));
        if outcome.is_broken() {
            begin_anew(place, &mut stage, (*scenario, asked))
                .with_context(|| format!("putting right what {scenario} left"))?;
        }
        outcomes.push(outcome);
    }
    clear(&mut stage)?;
    Ok(outcomes)
}

/// How a scenario is gone through.
enum Way<'a> {
    /// With clusters of its own.
    Once(fn(&Place) -> Result<Round>),
    /// The same, with rounds that follow from each other.
    InTurn,
    /// In a cluster in which commits are worth so much.
    Staged(Commits, fn(&Stage<'a>) -> Result<Round>),
}

fn way<'a>(scenario: Scenario) -> Way<'a> {
    let required = |act| Way::Staged(Commits::Required, act);
    let asynchronous = |act| Way::Staged(Commits::Asynchronous, act);
    match scenario {
        Scenario::Creation => Way::Once(creation::create),
        Scenario::PostmasterKilled => required(Stage::postmaster_killed),
        Scenario::BackendKilled => required(Stage::backend_killed),
        Scenario::PrimaryDataRemoved => required(Stage::primary_data_removed),
        Scenario::PodDeleted => required(Stage::pod_deleted),
        Scenario::PodForceDeleted => required(Stage::pod_force_deleted),
        Scenario::NodeDrained => required(Stage::node_drained),
        Scenario::Switchover => required(Stage::switchover),
        Scenario::StandbyVolumeDeleted => required(Stage::standby_volume_deleted),
        Scenario::Rolled => required(Stage::rolled),
        Scenario::Reconfigured => required(Stage::reconfigured),
        Scenario::Grown => required(Stage::grown),
        Scenario::Scaled => required(Stage::scaled),
        Scenario::Hibernated => required(Stage::hibernated),
        Scenario::Upgraded => required(Stage::upgraded),
        Scenario::NodeLost => required(Stage::node_lost),
        Scenario::NodeLostAlone => required(Stage::node_lost_alone),
        Scenario::NodeLostWithOperator => required(Stage::node_lost_with_operator),
        Scenario::Frozen => required(Stage::frozen),
        Scenario::AllNodesLost => required(Stage::all_nodes_lost),
        Scenario::CutFromApi => required(Stage::cut_from_api),
        Scenario::ApiAway => required(Stage::api_away),
        Scenario::Isolated => required(Stage::isolated),
        Scenario::FrozenAsync => asynchronous(Stage::frozen),
        Scenario::IsolatedAsync => asynchronous(Stage::isolated),
        Scenario::OperatorKilled => Way::InTurn,
        Scenario::Catalog => Way::Once(catalog::follow),
        Scenario::BackedUp => Way::Once(backups::back_up),
        Scenario::Encrypted => Way::Once(encrypted::back_up),
        Scenario::Crowd => Way::Once(crowd::gather),
    }
}

type Standing<'a> = Option<Stage<'a>>;

fn go_through<'a>(
    place: &'a Place,
    standing: &mut Standing<'a>,
    (scenario, asked): (Scenario, &Asked),
    note: &mut impl FnMut(Round),
) -> Result<()> {
    let rounds = asked.rounds.unwrap_or(scenario.rounds());
    match way(scenario) {
        Way::Once(act) => {
            clear(standing)?;
            (0..rounds).try_for_each(|_| act(place).map(&mut *note))
        }
        Way::InTurn => {
            clear(standing)?;
            operators::kill(place, rounds, note)
        }
        Way::Staged(commits, act) => {
            let stage = set(place, standing, (commits, asked.away))?;
            (0..rounds).try_for_each(|_| act(stage).map(&mut *note))
        }
    }
}

/// A whole cluster in which commits are worth so much.
fn set<'a, 's>(
    place: &'a Place,
    standing: &'s mut Standing<'a>,
    (commits, away): (Commits, Duration),
) -> Result<&'s Stage<'a>> {
    if standing.as_ref().is_some_and(|stage| stage.commits != commits) {
        clear(standing)?;
    }
    match standing {
        Some(stage) => Ok(stage),
        none => Ok(none.insert(Stage::set(place, commits, away)?)),
    }
}

fn clear(standing: &mut Standing<'_>) -> Result<()> {
    standing.take().map_or(Ok(()), |stage| stage.cluster.delete())
}

/// Keeps what explains the failure; then nothing of it may disturb what comes next.
fn begin_anew(
    place: &Place,
    standing: &mut Standing<'_>,
    (scenario, asked): (Scenario, &Asked),
) -> Result<()> {
    if let Some(folder) = &asked.keep {
        cluster::keep_evidence(place, &folder.join(scenario.to_string()))?;
    }
    place.mend()?;
    *standing = None;
    cluster::delete_all(place)
}
