//! What the operator knows of Kubernetes: everything that is labelled as a cluster's, kept up to
//! date by watches.
//!
//! Never holds an object without our label, so memory follows the number of our clusters.

use crate::backoff::Backoff;
use crate::cluster::manifests::labels;
use crate::pod::route;
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{Controller, WatchStreamExt};
use kube::{Api, Client, Resource};
use pgherd_agent::chain::chain;
use pgherd_api::cluster::Cluster;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// A watch that broke begins again this soon, however often it broke.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_AT_MOST: Duration = Duration::from_secs(3);

/// One kind of object that clusters are made of.
pub trait Part:
    Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
    fn of(stores: &Stores) -> &Store<Self>;
}

/// The newest known version of every object of every cluster.
#[derive(Clone)]
pub struct Stores {
    pods: Store<Pod>,
    claims: Store<PersistentVolumeClaim>,
    secrets: Store<Secret>,
    maps: Store<ConfigMap>,
    leases: Store<Lease>,
    slices: Store<EndpointSlice>,
    services: Store<Service>,
    accounts: Store<ServiceAccount>,
    roles: Store<Role>,
    bindings: Store<RoleBinding>,
    budgets: Store<PodDisruptionBudget>,
}

/// Watches every kind of object that clusters are made of; a change of one wakes its cluster.
pub fn watch_all(
    client: &Client,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Stores) {
    let (controller, pods) = watch(client, controller);
    let (controller, claims) = watch(client, controller);
    let (controller, secrets) = watch(client, controller);
    let (controller, maps) = watch(client, controller);
    let (controller, leases) = watch_leases(client, controller);
    let (controller, slices) = watch_slices(client, controller);
    let (controller, services) = watch(client, controller);
    let (controller, accounts) = watch(client, controller);
    let (controller, roles) = watch(client, controller);
    let (controller, bindings) = watch(client, controller);
    let (controller, budgets) = watch(client, controller);
    let stores = Stores {
        pods,
        claims,
        secrets,
        maps,
        leases,
        slices,
        services,
        accounts,
        roles,
        bindings,
        budgets,
    };
    (controller, stores)
}

impl Stores {
    /// The object of that name, if it is known and labelled as ours.
    pub fn get<K: Part>(&self, namespace: &str, name: &str) -> Option<Arc<K>>
    where
        K::DynamicType: Eq + Hash + Clone,
    {
        K::of(self).get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects of one cluster.
    pub fn of_cluster<K: Part>(&self, namespace: &str, cluster: &str) -> Vec<Arc<K>>
    where
        K::DynamicType: Eq + Hash + Clone,
    {
        K::of(self).state_filter(|object| {
            let meta = object.meta();
            let label = meta.labels.as_ref().and_then(|all| all.get(labels::CLUSTER));
            meta.namespace.as_deref() == Some(namespace)
                && label.is_some_and(|label| label == cluster)
        })
    }

    /// Until every watch has listed what there is.
    pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.pods.wait_until_ready().await?;
        self.claims.wait_until_ready().await?;
        self.secrets.wait_until_ready().await?;
        self.maps.wait_until_ready().await?;
        self.leases.wait_until_ready().await?;
        self.slices.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        self.accounts.wait_until_ready().await?;
        self.roles.wait_until_ready().await?;
        self.bindings.wait_until_ready().await?;
        self.budgets.wait_until_ready().await
    }
}

fn reflect<K: Part>(
    client: &Client,
) -> (impl Stream<Item = watcher::Result<K>> + Send + 'static, Store<K>) {
    let (store, writer) = reflector::store();
    let ours = watcher::Config::default().labels(labels::CLUSTER);
    let events = watcher(Api::<K>::all(client.clone()), ours);
    (news(reflector::reflector(writer, events)), store)
}

/// All clusters, and a controller that is woken by their changes.
pub fn clusters(client: &Client) -> Controller<Cluster> {
    let (store, writer) = reflector::store();
    let events = watcher(Api::all(client.clone()), watcher::Config::default());
    Controller::for_stream(news(reflector::reflector(writer, events)), store)
}

/// The objects of a watch that changed. A watch that broke begins again by itself, and says so
/// here: a controller that is told stands still for a while, with every other watch it has.
fn news<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let touched = events.backoff(Backoff::of(PAUSE..PAUSE_AT_MOST)).touched_objects();
    touched.filter(|touched| {
        if let Err(error) = touched {
            warn!(kind = %K::kind(&()), error = %chain(error), "a watch begins anew");
        }
        std::future::ready(touched.is_ok())
    })
}

fn watch<K: Part>(
    client: &Client,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Store<K>) {
    let (touched, store) = reflect(client);
    (controller.owns_stream(touched), store)
}

/// A Lease is renewed every few seconds: only another holder or epoch is news.
fn watch_leases(
    client: &Client,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Store<Lease>) {
    let (touched, store) = reflect::<Lease>(client);
    let news = |lease: &Lease| {
        let spec = lease.spec.clone().unwrap_or_default();
        let exists = lease.metadata.deletion_timestamp.is_none();
        Some(fingerprint(&(spec.holder_identity, spec.lease_transitions, exists)))
    };
    let touched = touched.predicate_filter(news, kube::runtime::PredicateConfig::default());
    (controller.owns_stream(touched), store)
}

/// The route is the agents' own: only that it leads to another primary, or is gone, is news.
fn watch_slices(
    client: &Client,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Store<EndpointSlice>) {
    let (touched, store) = reflect::<EndpointSlice>(client);
    let news = |slice: &EndpointSlice| {
        let exists = slice.metadata.deletion_timestamp.is_none();
        Some(fingerprint(&(route::epoch(slice).map(|epoch| epoch.0), exists)))
    };
    let touched = touched.predicate_filter(news, kube::runtime::PredicateConfig::default());
    (controller.owns_stream(touched), store)
}

fn fingerprint(value: &impl Hash) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

macro_rules! part {
    ($kind:ty, $field:ident) => {
        impl Part for $kind {
            fn of(stores: &Stores) -> &Store<Self> {
                &stores.$field
            }
        }
    };
}

part!(Pod, pods);
part!(PersistentVolumeClaim, claims);
part!(Secret, secrets);
part!(ConfigMap, maps);
part!(Lease, leases);
part!(EndpointSlice, slices);
part!(Service, services);
part!(ServiceAccount, accounts);
part!(Role, roles);
part!(RoleBinding, bindings);
part!(PodDisruptionBudget, budgets);
