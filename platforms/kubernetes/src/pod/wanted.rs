//! Watches for what the operator says is wanted of the cluster.
//!
//! Never goes back to an older specification, and never takes a damaged one for none.

use crate::backoff::Backoff;
use crate::cluster::manifests::specification;
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use pgherd_agent::chain::chain;
use pgherd_agent::platform::SilentError;
use pgherd_api::agent::Specification;
use pgherd_core::names::ClusterName;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, warn};

/// How long a question for something newer waits.
const WAIT: Duration = Duration::from_secs(8);
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);

/// The newest specification that was seen.
pub(super) struct Wanted(watch::Receiver<Option<Specification>>);

impl Wanted {
    pub(super) async fn after(&self, number: u64) -> Result<Option<Specification>, SilentError> {
        let mut newest = self.0.clone();
        let is_newer = |known: &Option<Specification>| {
            known.as_ref().is_some_and(|known| known.number > number)
        };
        match tokio::time::timeout(WAIT, newest.wait_for(is_newer)).await {
            Ok(Ok(newer)) => Ok(newer.clone()),
            Ok(Err(_ended)) => Err(SilentError { why: "nobody watches any more".to_owned() }),
            Err(_none_yet) => Ok(None),
        }
    }
}

/// What is wanted, and the work that keeps it up to date.
pub(super) fn watch(
    maps: Api<ConfigMap>,
    cluster: &ClusterName,
) -> (Wanted, impl Future<Output = ()> + Send + use<>) {
    let (told, newest) = watch::channel(None);
    (Wanted(newest), keep_up(maps, specification::name(cluster), told))
}

async fn keep_up(maps: Api<ConfigMap>, name: String, told: watch::Sender<Option<Specification>>) {
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(maps, only));
    let mut backoff = Backoff::up_to(PAUSE_AT_MOST);
    let mut silent = false;
    loop {
        match events.try_next().await {
            Ok(None) => return,
            Ok(Some(Event::Init)) => {}
            Ok(Some(event)) => {
                backoff.begin_anew();
                silent = false;
                notice(event, &name, &told);
            }
            Err(error) => {
                if !std::mem::replace(&mut silent, true) {
                    warn!(error = %chain(&error), "what is wanted cannot be watched");
                }
                debug!(error = %chain(&error), "watching what is wanted");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

fn notice(event: Event<ConfigMap>, name: &str, told: &watch::Sender<Option<Specification>>) {
    match event {
        Event::Apply(map) | Event::InitApply(map) => match specification::specification(&map) {
            Ok(specification) => {
                told.send_if_modified(|known| {
                    let newer = known.as_ref().is_none_or(|it| it.number < specification.number);
                    if newer {
                        *known = Some(specification);
                    }
                    newer
                });
            }
            Err(error) => {
                warn!(config_map = name, error = %chain(&error), "what is wanted stays as it was");
            }
        },
        // What was wanted last is wanted until the operator says otherwise.
        Event::Delete(_) | Event::Init | Event::InitDone => {}
    }
}
