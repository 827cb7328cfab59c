//! The operator: watches clusters and everything they are made of, their backups and dumps, and brings
//! each one nearer to what it shall be.
//!
//! Never lets one of them hold up another: what fails is tried again by itself, later each time.
//! Never works beside another operator, as far as it is told who it is.

use crate::backup::recoverable::Recoverable;
use crate::cluster;
use crate::cluster::agents::Programs;
use crate::cluster::certificates::Warned;
use crate::cluster::heard::TakenUp;
use crate::cluster::rollouts::Rollouts;
use crate::cluster::{Looked, Paced};
use crate::errand::silences::Silences;
use crate::errand::{self, ErrandError, Work, deleted};
use crate::leader::{Candidate, Elector, NAME, NAMESPACE};
use crate::pod::patient;
use crate::pull::{self, Original};
use crate::schedule::{self, Maker, ScheduleError};
use crate::settings::Settings;
use crate::stores::{self, Gone, Stores};
use crate::unacted;
use futures_util::future::{BoxFuture, Shared, join, join_all, join3};
use futures_util::{FutureExt, StreamExt};
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config as Pace};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Config, Resource, ResourceExt};
use pgherd_agent::chain::chain;
use pgherd_api::backup::Backup;
use pgherd_api::cluster::Cluster;
use pgherd_api::dump::Dump;
use pgherd_api::scheduled_backup::ScheduledBackup;
use pgherd_api::scheduled_dump::ScheduledDump;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
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
    pub clusters: Store<Cluster>,
    pub backups: Store<Backup>,
    pub dumps: Store<Dump>,
    /// What images are pulled with, if the operator was told.
    pub pull: Option<Original>,
    pub programs: Arc<Programs>,
    pub rollouts: Arc<Rollouts>,
    /// What agents are known to have taken up.
    pub taken_up: TakenUp,
    /// When the Secrets that users give were looked at.
    pub looked: Looked,
    /// When the status of each was written.
    pub paced: Paced,
    /// Which ends of certificates users were warned of.
    pub warned: Warned,
    /// Whose work has not been heard of.
    pub(crate) silences: Silences,
    /// From when on clusters can be recovered.
    pub recoverable: Recoverable,
    /// How often in a row each object has failed.
    failures: Mutex<BTreeMap<Key, u32>>,
}

/// Kind, namespace and name.
type Key = [String; 3];

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
        let of_all = (settings.clone(), programs.clone(), rollouts.clone());
        look_after(client.clone(), &scope, (at_once, of_all), ended.clone())
    });
    let working = join_all(controllers);
    tokio::select! {
        _ended = working => {}
        // It has no end of its own.
        _ended = telling => {}
    }
    info!("the operator ends");
}

type OfAll = (Settings, Arc<Programs>, Arc<Rollouts>);

/// Everything of one namespace, or of all: the table of what is looked after.
fn look_after(
    client: Client,
    scope: &stores::Scope,
    (at_once, (settings, programs, rollouts)): (u16, OfAll),
    ended: Shared<BoxFuture<'static, ()>>,
) -> impl Future<Output = ()> + use<> {
    let pace = || Pace::default().debounce(DEBOUNCE).concurrency(at_once);
    let clusters = stores::clusters(&client, scope).with_config(pace());
    let (backups, gone) = stores::errands(&client, scope);
    let backups = (backups.with_config(pace()), gone);
    let (dumps, gone) = stores::errands(&client, scope);
    let dumps = (dumps.with_config(pace()), gone);
    let of_backups = stores::schedules::<ScheduledBackup>(&client, scope).with_config(pace());
    let of_dumps = stores::schedules::<ScheduledDump>(&client, scope).with_config(pace());
    let (clusters, stores) = stores::watch_all(&client, scope, clusters);
    let (clusters, pull) = match settings.pull_secret.clone() {
        Some(secret) => {
            let (pull, changes) = pull::watch(&client, secret);
            (clusters.reconcile_all_on(changes), Some(pull))
        }
        None => (clusters, None),
    };
    let context = Arc::new(Context {
        client,
        settings,
        stores,
        clusters: clusters.store(),
        backups: backups.0.store(),
        dumps: dumps.0.store(),
        pull,
        programs,
        rollouts,
        taken_up: TakenUp::default(),
        looked: Looked::default(),
        paced: Paced::default(),
        warned: Warned::default(),
        silences: Silences::default(),
        recoverable: Recoverable::default(),
        failures: Mutex::default(),
    });
    let clusters = clusters
        .graceful_shutdown_on(ended.clone())
        .run(reconcile, after_failure, Arc::clone(&context))
        .for_each(|_ended| std::future::ready(()));
    let backups = work_off(backups, &context, ended.clone());
    let dumps = work_off(dumps, &context, ended.clone());
    let of_backups = schedule_by(of_backups, &context, ended.clone());
    let of_dumps = schedule_by(of_dumps, &context, ended);
    join3(clusters, join(backups, dumps), join(of_backups, of_dumps)).map(|_ended| ())
}

/// Has agents do what objects of a kind ask for, and breaks off what nobody wants any more.
fn work_off<E: Work>(
    (controller, gone): (Controller<E>, mpsc::Receiver<Gone<E>>),
    context: &Arc<Context>,
    ended: Shared<BoxFuture<'static, ()>>,
) -> impl Future<Output = ()> + use<E> {
    let working = controller
        .graceful_shutdown_on(ended)
        .run(work_on::<E>, after_failure, Arc::clone(context))
        .for_each(|_ended| std::future::ready(()));
    join(working, deleted::break_off(gone, Arc::clone(context))).map(|_ended| ())
}

/// Makes what is due by objects of a kind.
fn schedule_by<S: Maker>(
    controller: Controller<S>,
    context: &Arc<Context>,
    ended: Shared<BoxFuture<'static, ()>>,
) -> impl Future<Output = ()> + use<S> {
    controller
        .graceful_shutdown_on(ended)
        .run(schedule::<S>, after_failure, Arc::clone(context))
        .for_each(|_ended| std::future::ready(()))
}

/// Each namespace that is watched has its share.
fn at_once(scopes: usize) -> u16 {
    u16::try_from(scopes).map_or(1, |scopes| AT_ONCE.div_ceil(scopes.max(1)))
}

async fn reconcile(
    cluster: Arc<Cluster>,
    context: Arc<Context>,
) -> Result<Action, cluster::ReconcileError> {
    let action = Box::pin(cluster::reconcile(&cluster, &context)).await?;
    context.succeeded(&*cluster);
    Ok(action)
}

async fn work_on<E: Work>(errand: Arc<E>, context: Arc<Context>) -> Result<Action, ErrandError> {
    let action = Box::pin(errand::reconcile(&*errand, &context)).await?;
    context.succeeded(&*errand);
    Ok(action)
}

async fn schedule<S: Maker>(
    scheduled: Arc<S>,
    context: Arc<Context>,
) -> Result<Action, ScheduleError> {
    let action = schedule::reconcile(&*scheduled, &context).await?;
    context.succeeded(&*scheduled);
    Ok(action)
}

#[expect(clippy::needless_pass_by_value, reason = "the controller hands over what it shares")]
fn after_failure<K: Resource<DynamicType = ()>>(
    object: Arc<K>,
    error: &(impl Error + 'static),
    context: Arc<Context>,
) -> Action {
    let key = key(&*object);
    let [kind, namespace, name] = &key;
    let failures = {
        let mut all = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    };
    warn!(kind, namespace, name, error = %chain(error), failures, "tried again later");
    Action::requeue(pause(failures))
}

impl Context {
    /// As far as they are known.
    pub(crate) fn backups_of(&self, cluster: &Cluster) -> Vec<Arc<Backup>> {
        self.backups.state_filter(|backup| {
            backup.metadata.namespace == cluster.metadata.namespace
                && Some(&backup.spec.cluster.name) == cluster.metadata.name.as_ref()
        })
    }

    fn succeeded<K: Resource<DynamicType = ()>>(&self, object: &K) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(object));
    }
}

/// Doubles with each failure.
fn pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    let namespace = object.namespace().unwrap_or_default();
    [K::kind(&()).into_owned(), namespace, object.name_any()]
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
