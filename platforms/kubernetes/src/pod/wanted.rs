//! Watches for what the operator says is wanted of the cluster.
//!
//! Never goes back to an older specification, and never takes a damaged one for none.

use super::unlisted::from_any_version;
use crate::backoff::Backoff;
use crate::cluster::manifests::specification;
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use pgherd_agent::chain::chain;
use pgherd_agent::platform::SilentError;
use pgherd_api::agent::Specification;
use pgherd_core::names::ClusterName;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tracing::{debug, warn};

/// How long a question for something newer waits.
const WAIT: Duration = Duration::from_secs(8);
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Longer than a watch that is alive can last.
const SILENT_AT_MOST: Duration = Duration::from_mins(5);

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
    let mut backoff = Backoff::up_to(PAUSE_AT_MOST);
    let mut silent = false;
    loop {
        let (mut heard, began) = (false, Instant::now());
        let ended = follow(&maps, &name, |map| {
            (heard, silent) = (true, false);
            notice(map, &name, &told);
        })
        .await;
        if heard {
            backoff.begin_anew();
        }
        match ended {
            Ok(()) if began.elapsed() >= PAUSE_AT_MOST => continue,
            Ok(()) => {}
            Err(why) => {
                if !std::mem::replace(&mut silent, true) {
                    warn!(error = %why, "what is wanted cannot be watched");
                }
                debug!(error = %why, "watching what is wanted");
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

/// Watches until the API server ends that or says nothing for too long. It begins with the object as
/// it is: nobody has to ask for it first. What is older than what was seen before is told by its number.
async fn follow(
    maps: &Api<ConfigMap>,
    name: &str,
    mut notice: impl FnMut(&ConfigMap),
) -> Result<(), String> {
    let only = WatchParams::default().fields(&format!("metadata.name={name}"));
    let began = tokio::time::timeout(ANSWERED_WITHIN, from_any_version(maps, only));
    let events = began.await.map_err(|_| late())?;
    let mut events = pin!(events.map_err(|error| chain(&error).to_string())?);
    loop {
        let next = tokio::time::timeout(SILENT_AT_MOST, events.try_next());
        let next = next.await.map_err(|_| late())?;
        match next.map_err(|error| chain(&error).to_string())? {
            None => return Ok(()),
            Some(WatchEvent::Added(map) | WatchEvent::Modified(map)) => notice(&map),
            // What was wanted last is wanted until the operator says otherwise.
            Some(WatchEvent::Deleted(_) | WatchEvent::Bookmark(_)) => {}
            Some(WatchEvent::Error(status)) => return Err(status.message),
        }
    }
}

fn late() -> String {
    "the API server says nothing".to_owned()
}

fn notice(map: &ConfigMap, name: &str, told: &watch::Sender<Option<Specification>>) {
    match specification::specification(map) {
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
    }
}
