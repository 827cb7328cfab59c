//! Learns at which addresses the instances of a cluster are, from the slices of their service, and
//! that the route to the primary has changed.
//!
//! Never forgets one: an instance that is away keeps its last address.

use super::unlisted::from_any_version;
use crate::backoff::Backoff;
use crate::cluster::manifests::services;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use pgherd_agent::chain::chain;
use pgherd_core::names::{ClusterName, InstanceName};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, warn};

/// Names the service that a slice belongs to.
pub const SERVICE: &str = "kubernetes.io/service-name";
/// A pod that was replaced while the API server was away is found within this time.
const PAUSE_AT_MOST: Duration = Duration::from_secs(5);

/// A watch that said nothing for so long may be one whose connection is dead: it begins anew. A
/// living one ends by itself a little earlier.
const SILENT_AT_MOST: Duration = Duration::from_mins(5);

pub type Addresses = BTreeMap<InstanceName, IpAddr>;

/// Which of the things in slices are instances, and which of their addresses count.
#[derive(Debug, Clone)]
pub struct Sought {
    pub cluster: ClusterName,
    /// The own address: in a cluster with both kinds, peers are reached by the same kind.
    pub own: IpAddr,
}

/// Whom it tells.
pub struct Told {
    pub addresses: watch::Sender<Addresses>,
    /// The slice that leads to the primary; none while there is no such slice.
    pub route: watch::Sender<Option<EndpointSlice>>,
}

/// Watches for as long as it is polled, and tells `told` of every change.
pub async fn learn(api: Api<EndpointSlice>, sought: Sought, told: Told) {
    let of_primary = services::of_primary(&sought.cluster);
    let both = format!("{SERVICE} in ({},{of_primary})", services::of_pods(&sought.cluster));
    let mut events = first(&api, &both);
    let mut backoff = Backoff::up_to(PAUSE_AT_MOST);
    let mut slices = Slices::default();
    let mut state = State::Learning;
    loop {
        match tokio::time::timeout(SILENT_AT_MOST, events.try_next()).await {
            Err(_) | Ok(Ok(None)) => events = next(&api, &both),
            Ok(Ok(Some(event))) => {
                // A list that fails begins well each time.
                if !matches!(event, Event::Init) {
                    backoff.begin_anew();
                    state = State::Learning;
                }
                if let Some(slice) = about(&event, &of_primary) {
                    told.route.send_if_modified(|known| {
                        let is_there = !matches!(event, Event::Delete(_));
                        let version = |of: &EndpointSlice| of.metadata.resource_version.clone();
                        let changed =
                            known.as_ref().map(version) != is_there.then(|| version(slice));
                        *known = is_there.then(|| slice.clone());
                        changed
                    });
                }
                slices.notice(event, &sought);
                told.addresses.send_if_modified(|known| slices.tell(known));
            }
            Ok(Err(error)) => {
                match state {
                    State::Learning => warn!(%error, "the addresses of the instances may be old"),
                    State::Failing => debug!(%error, "the addresses are still not learnt"),
                }
                state = State::Failing;
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }
}

type Events = BoxStream<'static, Result<Event<EndpointSlice>, String>>;

/// Of a pod that has just begun: it knows none that could be gone, so that nothing has to be listed.
fn first(api: &Api<EndpointSlice>, labels: &str) -> Events {
    let (api, watched) = (api.clone(), WatchParams::default().labels(labels));
    let events = async move { from_any_version(&api, watched).await };
    let events =
        events.try_flatten_stream().map_err(|error: kube::Error| chain(&error).to_string());
    let events = events.try_filter_map(async |event| match event {
        WatchEvent::Added(slice) | WatchEvent::Modified(slice) => Ok(Some(Event::Apply(slice))),
        WatchEvent::Deleted(slice) => Ok(Some(Event::Delete(slice))),
        WatchEvent::Bookmark(_) => Ok(None),
        WatchEvent::Error(status) => Err(status.message),
    });
    events.boxed()
}

/// With a list first: what is not in it is gone.
fn next(api: &Api<EndpointSlice>, labels: &str) -> Events {
    let watched = watcher::Config::default().labels(labels);
    watcher(api.clone(), watched).map_err(|error| chain(&error).to_string()).boxed()
}

/// The slice of that name, if the event is about it.
fn about<'a>(event: &'a Event<EndpointSlice>, name: &str) -> Option<&'a EndpointSlice> {
    let slice = match event {
        Event::Apply(slice) | Event::InitApply(slice) | Event::Delete(slice) => slice,
        Event::Init | Event::InitDone => return None,
    };
    (slice.metadata.name.as_deref() == Some(name)).then_some(slice)
}

/// What was told last: the log has changes, not every failure.
enum State {
    Learning,
    Failing,
}

/// Whether the pod is being deleted. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Leaving,
    Staying,
}

type Instances = Vec<(InstanceName, Life, IpAddr)>;

/// The slices by their names, as they are now.
#[derive(Default)]
struct Slices {
    present: BTreeMap<String, Instances>,
    /// The list that is under way.
    listed: BTreeMap<String, Instances>,
}

impl Slices {
    fn notice(&mut self, event: Event<EndpointSlice>, sought: &Sought) {
        let read = |slice: EndpointSlice| {
            let instances = instances(&slice, sought);
            (slice.metadata.name.unwrap_or_default(), instances)
        };
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(slice) => self.listed.extend([read(slice)]),
            Event::InitDone => self.present = std::mem::take(&mut self.listed),
            Event::Apply(slice) => self.present.extend([read(slice)]),
            Event::Delete(slice) => drop(self.present.remove(&read(slice).0)),
        }
    }

    /// Brings `known` up to date, and says whether that changed it.
    fn tell(&self, known: &mut Addresses) -> bool {
        // While an instance moves between slices, it can be in two with two addresses.
        let mut best = BTreeMap::new();
        for (name, life, address) in self.present.values().flatten() {
            let rank = (*life, *address);
            let kept = best.entry(name).or_insert(rank);
            *kept = rank.max(*kept);
        }
        let mut changed = false;
        for (name, (_, address)) in best {
            changed |= known.insert(name.clone(), address) != Some(address);
        }
        changed
    }
}

/// The instances of the sought cluster in one slice.
fn instances(slice: &EndpointSlice, sought: &Sought) -> Instances {
    let endpoints = slice.endpoints.iter().flatten();
    endpoints.filter_map(|endpoint| instance(endpoint, sought)).collect()
}

fn instance(endpoint: &Endpoint, sought: &Sought) -> Option<(InstanceName, Life, IpAddr)> {
    let name = InstanceName::parse(endpoint.hostname.as_deref()?).ok()?;
    let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let leaves = endpoint.conditions.as_ref().and_then(|conditions| conditions.terminating);
    let life = if leaves == Some(true) { Life::Leaving } else { Life::Staying };
    let meant = *name.cluster() == sought.cluster && address.is_ipv4() == sought.own.is_ipv4();
    meant.then_some((name, life, address))
}

#[cfg(test)]
mod tests;
