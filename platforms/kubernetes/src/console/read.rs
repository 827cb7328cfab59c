//! Reads the objects of one cluster from the API server, all at once.
//!
//! Never fails for a part that may not be read: only the Cluster itself is needed.

use super::{FORBIDDEN, Part, Route, View, Warned, inside, instance_of};
use crate::cluster::manifests::{labels, services, specification};
use crate::cluster::{acted, origin};
use crate::pod::{lease, route};
use futures_util::future::join_all;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, Patch, PatchParams};
use kube::client::UpgradeConnectionError;
use kube::{Api, Client};
use pgherd_agent::chain::chain;
use pgherd_api::cluster::Cluster;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::record::Record;
use pgherd_core::units::Epoch;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);
/// Older warnings are about something else.
const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// Warnings that are looked through at most.
const MOST_WARNINGS: u32 = 500;

/// Why the API server gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cluster.postgresql.cnpg.io {name:?} not found in namespace {namespace}")]
    Find { name: String, namespace: String },
    #[error("this Kubernetes knows no clusters: nothing is installed")]
    Recognise,
    #[error("{said}")]
    Permit { said: String },
    #[error("it was changed by somebody else at the same moment")]
    Outrun,
    #[error("the API server refused it ({code}): {said}")]
    Ask { code: u16, said: String },
    #[error("the API server did not answer within {DEADLINE:?}")]
    Wait,
    #[error("reaching the API server")]
    Reach(#[source] Box<dyn Error + Send + Sync>),
}

/// The answer to one request, or why there is none.
pub async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ReadError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(answer) => answer.map_err(failure),
        Err(_late) => Err(ReadError::Wait),
    }
}

fn failure(error: kube::Error) -> ReadError {
    match error {
        kube::Error::Api(status) => match status.code {
            404 if status.details.as_ref().is_none_or(|details| details.name.is_empty()) => {
                ReadError::Recognise
            }
            404 => {
                let name = status.details.map(|details| details.name).unwrap_or_default();
                ReadError::Find { name, namespace: String::new() }
            }
            401 | 403 => ReadError::Permit { said: status.message },
            409 => ReadError::Outrun,
            code => ReadError::Ask { code, said: status.message },
        },
        // What the API server says about it is lost with the attempt to speak otherwise.
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => {
            match status.as_u16() {
                401 | 403 => {
                    ReadError::Permit { said: "running a program there is forbidden".to_owned() }
                }
                code => ReadError::Ask { code, said: "no program can be run there".to_owned() },
            }
        }
        kube::Error::Service(source) => ReadError::Reach(source),
        source => ReadError::Reach(Box::new(source)),
    }
}

/// A part, or why it is not seen. What does not exist is seen to be absent.
async fn part<T: Default>(request: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
    match answer(request).await {
        Ok(there) => Ok(there),
        Err(ReadError::Permit { .. }) => Err(FORBIDDEN.to_owned()),
        Err(error) => Err(chain(&error).to_string()),
    }
}

/// The Cluster alone.
pub async fn cluster(
    client: &Client,
    namespace: &str,
    name: &ClusterName,
) -> Result<Cluster, ReadError> {
    let clusters: Api<Cluster> = Api::namespaced(client.clone(), namespace);
    answer(clusters.get(name.as_str())).await.map_err(|error| match error {
        ReadError::Find { name, .. } => ReadError::Find { name, namespace: namespace.to_owned() },
        other => other,
    })
}

/// The namespace and name of the clusters in a namespace, or in all of them; `limit` at most.
pub async fn clusters(
    client: &Client,
    namespace: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, String)>, ReadError> {
    let clusters: Api<Cluster> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let some = ListParams::default().limit(limit);
    let found = answer(clusters.list_metadata(&some)).await?;
    let named = |metadata: ObjectMeta| Some((metadata.namespace?, metadata.name?));
    Ok(found.items.into_iter().filter_map(|cluster| named(cluster.metadata)).collect())
}

/// Changes the Cluster, unless it is no longer the version that the patch was made for.
pub async fn patch(
    client: &Client,
    view: &View,
    patch: &serde_json::Value,
) -> Result<(), ReadError> {
    let clusters: Api<Cluster> = Api::namespaced(client.clone(), &view.namespace);
    let (by, patch) = (PatchParams::default(), Patch::Merge(patch));
    answer(clusters.patch(view.name.as_str(), &by, &patch)).await.map(drop)
}

/// Everything of one cluster.
pub async fn view(client: &Client, namespace: &str, name: &ClusterName) -> Result<View, ReadError> {
    let cluster = cluster(client, namespace, name).await?;
    let ours = ListParams::default().labels(&format!("{}={name}", labels::CLUSTER));
    let warnings = ListParams::default().fields("type=Warning").limit(MOST_WARNINGS);
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), namespace);
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let (map_name, slice_name) = (specification::name(name), services::of_primary(name));
    let (pods, claims, events, lease, map, slice) = futures_util::join!(
        part(async { pods.list(&ours).await.map(|list| list.items) }),
        part(async { claims.list(&ours).await.map(|list| list.items) }),
        part(async { events.list(&warnings).await.map(|list| list.items) }),
        part(leases.get_opt(name.as_str())),
        part(maps.get_opt(&map_name)),
        part(slices.get_opt(&slice_name)),
    );
    let mut view = empty(namespace, name, cluster);
    let mut gaps = Gaps(&mut view.hidden);
    let pods = gaps.note(Part::Pods, pods);
    let claims = gaps.note(Part::Claims, claims);
    let events = gaps.note(Part::Events, events);
    let lease = gaps.note(Part::Record, lease);
    view.began = lease.as_ref().map(lease::began).unwrap_or_default();
    view.ended = lease.as_ref().map(lease::ended).unwrap_or_default();
    let record = lease.as_ref().map(lease::record).transpose().map_err(|error| error.to_string());
    view.record = gaps.note(Part::Record, record.map(Option::flatten));
    let map = gaps.note(Part::Specification, map);
    let told = map.as_ref().map(specification::specification).transpose();
    view.specification = gaps.note(Part::Specification, told.map_err(|it| chain(&it).to_string()));
    let wishes = map.as_ref().map(specification::wishes).transpose();
    view.wishes = gaps.note(Part::Specification, wishes.map_err(|it| chain(&it).to_string()));
    view.route = gaps.note(Part::Route, slice).as_ref().map(lead);
    let of_instance = |pod: Pod| Some((instance_of(pod.metadata.labels.as_ref(), name)?, pod));
    view.pods = pods.into_iter().filter_map(of_instance).collect();
    let named = |claim: PersistentVolumeClaim| Some((claim.metadata.name.clone()?, claim));
    view.claims = claims.into_iter().filter_map(named).collect();
    view.warnings = warned(name, events, Timestamp::now());
    Ok(view)
}

/// Asks all agents at once how they are, and puts that into the view.
pub async fn ask_agents(client: &Client, view: &mut View) {
    let names: Vec<InstanceName> = inside::within_reach(view).cloned().collect();
    let ask = |name: InstanceName| {
        let namespace = &view.namespace;
        async move {
            let said = inside::agent(client, namespace, &name).await;
            (name, said)
        }
    };
    for (name, said) in join_all(names.into_iter().map(ask)).await {
        match said {
            Ok(status) => drop(view.agents.insert(name, status)),
            Err(error) if error.is_forbidden() => {
                view.hidden.insert(Part::Agents, FORBIDDEN.to_owned());
            }
            Err(error) => {
                let why = chain(&error).to_string();
                view.hidden.entry(Part::Agents).or_insert(why);
            }
        }
    }
}

/// A cluster of which nothing but its manifest is known.
pub(super) fn empty(namespace: &str, name: &ClusterName, cluster: Cluster) -> View {
    let known = origin::ignored(&cluster).into_owned();
    let (checked, problems) = match known.checked().and_then(acted::refuse) {
        Ok((checked, _warnings)) => (Some(checked), Vec::new()),
        Err(problems) => (None, problems.iter().map(ToString::to_string).collect()),
    };
    View {
        namespace: namespace.to_owned(),
        name: name.clone(),
        cluster,
        checked,
        problems,
        pods: [].into(),
        claims: [].into(),
        record: None,
        began: [].into(),
        ended: [].into(),
        specification: None,
        wishes: None,
        route: None,
        warnings: Vec::new(),
        agents: [].into(),
        hidden: [].into(),
    }
}

struct Gaps<'a>(&'a mut BTreeMap<Part, String>);

impl Gaps<'_> {
    fn note<T: Default>(&mut self, part: Part, read: Result<T, String>) -> T {
        read.unwrap_or_else(|why| {
            self.0.insert(part, why);
            T::default()
        })
    }
}

/// The two objects that tell how far a change of the office is.
pub async fn office(
    client: &Client,
    namespace: &str,
    name: &ClusterName,
) -> Result<(Option<Record>, Option<Route>), ReadError> {
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let slice_name = services::of_primary(name);
    let (lease, slice) = futures_util::join!(
        answer(leases.get_opt(name.as_str())),
        answer(slices.get_opt(&slice_name)),
    );
    let record = lease?.as_ref().map(lease::record).transpose();
    let record = record.map_err(|error| ReadError::Reach(Box::new(error)))?.flatten();
    Ok((record, slice?.as_ref().map(lead)))
}

fn lead(slice: &EndpointSlice) -> Route {
    let annotations = slice.metadata.annotations.as_ref();
    let epoch = annotations.and_then(|all| all.get(route::EPOCH)?.parse().ok());
    let mut endpoints = slice.endpoints.iter().flatten();
    let address = endpoints.next().and_then(|endpoint| endpoint.addresses.first().cloned());
    Route { epoch: epoch.map(Epoch), address }
}

fn warned(name: &ClusterName, events: Vec<Event>, now: Timestamp) -> Vec<Warned> {
    let own = format!("{name}-");
    let mut warned: Vec<Warned> = events
        .into_iter()
        .filter_map(|event| {
            let object = &event.involved_object;
            let about = object.name.as_deref()?;
            // Not those of cluster `db-two`, if this one is `db`.
            let rest = about.strip_prefix(&own);
            let is_own = rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
            if about != name.as_str() && !is_own {
                return None;
            }
            let last = event.last_timestamp.as_ref().map(|time| time.0);
            let at = last.or_else(|| event.event_time.as_ref().map(|time| time.0))?;
            let kind = object.kind.as_deref().unwrap_or_default().to_ascii_lowercase();
            let what = event.message.unwrap_or_default().trim().to_owned();
            (now.duration_since(at) < RECENT).then(|| Warned {
                at,
                about: format!("{kind}/{about}"),
                uid: object.uid.clone(),
                reason: event.reason.unwrap_or_default(),
                what,
            })
        })
        .collect();
    warned.sort_by_key(|warned| Reverse(warned.at));
    warned
}
