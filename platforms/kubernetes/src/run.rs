//! The operator: watches clusters and everything they are made of, and brings each one nearer to
//! what it shall be.
//!
//! Never lets one cluster hold up another: what fails is tried again by itself, later each time.
//! Never works beside another operator, as far as it is told who it is.

use crate::cluster;
use crate::cluster::Looked;
use crate::cluster::agents::Programs;
use crate::cluster::certificates::Warned;
use crate::cluster::heard::TakenUp;
use crate::cluster::rollouts::Rollouts;
use crate::leader::{Candidate, Elector, NAME, NAMESPACE};
use crate::pod::patient;
use crate::pull::{self, Original};
use crate::settings::Settings;
use crate::stores::{self, Stores};
use crate::unacted;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use kube::runtime::controller::{Action, Config as Pace};
use kube::{Api, Client, Config};
use pgherd_agent::chain::chain;
use pgherd_api::cluster::Cluster;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Clusters that are looked after at the same moment.
const AT_ONCE: u16 = 16;
/// Changes that come together are answered together.
const DEBOUNCE: Duration = Duration::from_millis(250);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("finding the API server")]
    FindKubernetes(#[source] kube::config::InferConfigError),
    #[error("preparing to reach the API server")]
    PrepareClient(#[source] kube::Error),
    #[error("listening for signals")]
    Listen(#[source] io::Error),
    #[error("reading this operator's program")]
    ReadProgram(#[source] io::Error),
    #[error("staying the one that leads: another may lead by now, so this one ends")]
    StayLeader,
}

/// What every reconciliation works with.
pub struct Context {
    pub client: Client,
    pub settings: Settings,
    pub stores: Stores,
    /// What images are pulled with, if the operator was told.
    pub pull: Option<Original>,
    pub programs: Arc<Programs>,
    pub rollouts: Arc<Rollouts>,
    /// What agents are known to have taken up.
    pub taken_up: TakenUp,
    /// When the Secrets that users give were looked at.
    pub looked: Looked,
    /// Which ends of certificates users were warned of.
    pub warned: Warned,
    /// How often in a row each cluster has failed.
    failures: Mutex<BTreeMap<(String, String), u32>>,
}

/// Looks after all clusters until SIGTERM, while no other operator does.
pub async fn run(settings: Settings, candidate: Option<Candidate>) -> Result<(), RunError> {
    let mut ending = Ending::listen().map_err(RunError::Listen)?;
    let programs = Programs::of_this_process().map_err(RunError::ReadProgram)?;
    let config = Config::infer().await.map_err(RunError::FindKubernetes)?;
    let client = Client::try_from(patient(config.clone())).map_err(RunError::PrepareClient)?;
    let Some(candidate) = candidate else {
        info!("{NAMESPACE} and {NAME} are not set: this operator works without an election");
        work(client, (settings, programs), ending).await;
        return Ok(());
    };
    // On a connection of its own: what keeps the other busy must not cost the lead.
    let own = Client::try_from(patient(config)).map_err(RunError::PrepareClient)?;
    let mut elector = Elector::new(Api::namespaced(own, &candidate.namespace), &candidate.name);
    tokio::select! {
        () = elector.lead() => {}
        () = ending.asked() => {
            info!("the operator ends without having led");
            return Ok(());
        }
    }
    let programs = programs.leading(Instant::now());
    tokio::select! {
        () = work(client, (settings, programs), ending) => {}
        () = elector.keep() => return Err(RunError::StayLeader),
    }
    elector.release().await;
    Ok(())
}

/// Tells when this process is asked to end.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn listen() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Looks after all clusters until it is asked to end; what has begun by then is finished.
async fn work(client: Client, (settings, programs): (Settings, Programs), mut ending: Ending) {
    let (programs, rollouts) = (Arc::new(programs), Arc::new(Rollouts::new(&settings)));
    let scopes = settings.watched.scopes();
    let at_once = at_once(scopes.len());
    let ended = async move { ending.asked().await }.boxed().shared();
    info!("the operator runs");
    let untold = scopes.clone();
    let telling = join_all(untold.iter().map(|scope| unacted::tell(&client, scope)));
    let controllers = scopes.into_iter().map(|scope| {
        let pace = Pace::default().debounce(DEBOUNCE).concurrency(at_once);
        let controller = stores::clusters(&client, &scope).with_config(pace);
        let (controller, stores) = stores::watch_all(&client, &scope, controller);
        let (controller, pull) = match settings.pull_secret.clone() {
            Some(secret) => {
                let (pull, changes) = pull::watch(&client, secret);
                (controller.reconcile_all_on(changes), Some(pull))
            }
            None => (controller, None),
        };
        let (client, settings, programs) = (client.clone(), settings.clone(), programs.clone());
        let context = Context {
            client,
            settings,
            stores,
            pull,
            programs,
            rollouts: rollouts.clone(),
            taken_up: TakenUp::default(),
            looked: Looked::default(),
            warned: Warned::default(),
            failures: Mutex::default(),
        };
        controller
            .graceful_shutdown_on(ended.clone())
            .run(reconcile, after_failure, Arc::new(context))
            .for_each(|_ended| std::future::ready(()))
    });
    let working = join_all(controllers);
    tokio::select! {
        _ended = working => {}
        // It has no end of its own.
        _ended = telling => {}
    }
    info!("the operator ends");
}

/// Each namespace that is watched has its share.
fn at_once(scopes: usize) -> u16 {
    u16::try_from(scopes).map_or(1, |scopes| AT_ONCE.div_ceil(scopes.max(1)))
}

async fn reconcile(
    cluster: Arc<Cluster>,
    context: Arc<Context>,
) -> Result<Action, cluster::ReconcileError> {
    let action = cluster::reconcile(&cluster, &context).await?;
    context.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(&cluster));
    Ok(action)
}

#[expect(clippy::needless_pass_by_value, reason = "the controller hands over what it shares")]
fn after_failure(
    cluster: Arc<Cluster>,
    error: &cluster::ReconcileError,
    context: Arc<Context>,
) -> Action {
    let (namespace, name) = key(&cluster);
    let failures = {
        let mut all = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key(&cluster)).or_default();
        *count = count.saturating_add(1);
        *count
    };
    warn!(%namespace, cluster = %name, error = %chain(error), failures, "tried again later");
    Action::requeue(pause(failures))
}

/// Doubles with each failure.
fn pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

fn key(cluster: &Cluster) -> (String, String) {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    (of(&cluster.metadata.namespace), of(&cluster.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_share_what_is_done_at_the_same_moment() {
        assert_eq!([1, 2, 3, 100].map(at_once), [16, 8, 6, 1]);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses = [1, 2, 3, 7, 40].map(|failures| pause(failures).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 30_000, 30_000]);
    }
}
