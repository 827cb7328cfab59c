//! The operator: watches clusters and everything they are made of, and brings each one nearer to
//! what it shall be.
//!
//! Never lets one cluster hold up another: what fails is tried again by itself, later each time.

use crate::cluster;
use crate::settings::Settings;
use crate::stores::{self, Stores};
use futures_util::StreamExt;
use kube::runtime::controller::{Action, Config as Pace};
use kube::{Client, Config};
use pgherd_agent::chain::chain;
use pgherd_api::cluster::Cluster;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// Clusters that are looked after at the same moment.
const AT_ONCE: u16 = 16;
/// Changes that come together are answered together.
const DEBOUNCE: Duration = Duration::from_millis(50);
const CONNECT: Duration = Duration::from_secs(5);
/// A watch on which not even a bookmark arrives for so long is on a dead connection.
const SILENCE: Duration = Duration::from_secs(150);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("finding out where the API server is")]
    Configure(#[source] kube::config::InferConfigError),
    #[error("preparing to ask the API server")]
    FindKubernetes(#[source] kube::Error),
}

/// What every reconciliation works with.
pub struct Context {
    pub client: Client,
    pub settings: Settings,
    pub stores: Stores,
    /// How often in a row each cluster has failed.
    failures: Mutex<BTreeMap<(String, String), u32>>,
}

/// Looks after all clusters until SIGTERM.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let mut config = Config::infer().await.map_err(RunError::Configure)?;
    // Whatever failed is tried again here, soon; a second one that tries below would only delay it.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(SILENCE);
    let client = Client::try_from(config).map_err(RunError::FindKubernetes)?;
    let pace = Pace::default().debounce(DEBOUNCE).concurrency(AT_ONCE);
    let controller = stores::clusters(&client).with_config(pace);
    let (controller, stores) = stores::watch_all(&client, controller);
    let failures = Mutex::default();
    let context = Arc::new(Context { client, settings, stores, failures });
    info!("the operator runs");
    controller
        .shutdown_on_signal()
        .run(reconcile, after_failure, context)
        .for_each(|_ended| std::future::ready(()))
        .await;
    info!("the operator ends");
    Ok(())
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
    fn pauses_double_up_to_a_bound() {
        let pauses = [1, 2, 3, 7, 40].map(|failures| pause(failures).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 30_000, 30_000]);
    }
}
