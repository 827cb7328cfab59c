//! What the operator knows of Kubernetes: everything that is labelled as a cluster's, kept up to
//! date by watches.
//!
//! Never holds an object without our label, so memory follows the number of our clusters; catalogs
//! of images are ours by their kind.

mod catalogs;
mod errands;

use crate::backoff::Backoff;
use crate::cluster::manifests::labels;
use crate::pod::{lease, route};
use crate::rights::{READ, Right};
pub use catalogs::Catalogs;
pub use errands::{Gone, errands, schedules};
use futures_util::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
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
pub trait Part: Namespaced {
    fn of(stores: &Stores) -> &Store<Self>;
}

/// What can be watched in a namespace or in all.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + DeserializeOwned
    + Debug
    + Send
    + Sync
    + 'static
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static
{
}

/// Where a controller and all its watches look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Everywhere,
    Namespace(String),
}

impl Scope {
    fn api<K: Namespaced>(&self, client: &Client) -> Api<K> {
        match self {
            Self::Everywhere => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// The table of what clusters are made of: how it is watched, and what is done beside reading it.
macro_rules! parts {
    ($($kind:ty, $store:ident, $watch:ident, $verbs:expr;)*) => {
        /// The newest known version of every object of every cluster.
        #[derive(Clone)]
        pub struct Stores {
            $($store: Store<$kind>,)*
            pub catalogs: Catalogs,
        }

        $(impl Part for $kind {
            fn of(stores: &Stores) -> &Store<Self> {
                &stores.$store
            }
        })*

        /// Watches every kind of object that clusters are made of; a change of one wakes its
        /// cluster.
        pub fn watch_all(
            client: &Client,
            scope: &Scope,
            controller: Controller<Cluster>,
        ) -> (Controller<Cluster>, Stores) {
            $(let (controller, $store) = $watch(client, scope, controller);)*
            let (controller, catalogs) = catalogs::watch(client, scope, controller);
            let controller = errands::wake_by(client, scope, controller);
            (controller, Stores { $($store,)* catalogs })
        }

        impl Stores {
            /// Until every watch has listed what there is, but for catalogs: few clusters need
            /// them.
            pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
                $(self.$store.wait_until_ready().await?;)*
                Ok(())
            }
        }

        /// What is done with each kind.
        pub fn rights() -> Vec<Right> {
            [$(rights_to::<$kind>($verbs),)*].into_iter().flatten().collect()
        }
    };
}

parts! {
    Pod, pods, watch, &["create", "patch", "delete"];
    PersistentVolumeClaim, claims, watch, &["create", "patch", "delete"];
    Secret, secrets, watch, &["create", "patch", "delete"];
    ConfigMap, maps, watch, &["create", "patch"];
    Lease, leases, watch_leases, &["create"];
    EndpointSlice, slices, watch_slices, &["create"];
    Service, services, watch, &["create", "patch", "delete"];
    ServiceAccount, accounts, watch, &["create", "patch"];
    Role, roles, watch, &["create", "patch"];
    RoleBinding, bindings, watch, &["create", "patch"];
    PodDisruptionBudget, budgets, watch, &["create", "patch", "delete"];
}

fn rights_to<K: Part>(verbs: &'static [&'static str]) -> [Right; 2] {
    let (group, resource) = (K::group(&()).into_owned(), K::plural(&()).into_owned());
    [READ, verbs].map(|verbs| Right { group: group.clone(), resource: resource.clone(), verbs })
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
}

fn reflect<K: Part>(
    client: &Client,
    scope: &Scope,
) -> (impl Stream<Item = watcher::Result<K>> + Send + 'static, Store<K>) {
    let (store, writer) = reflector::store();
    let ours = watcher::Config::default().labels(labels::CLUSTER);
    let events = watcher(scope.api::<K>(client), ours);
    (news(reflector::reflector(writer, events)), store)
}

/// All clusters, and a controller that is woken by their changes.
pub fn clusters(client: &Client, scope: &Scope) -> Controller<Cluster> {
    let (store, writer) = reflector::store();
    let events = watcher(scope.api(client), watcher::Config::default());
    Controller::for_stream(news(reflector::reflector(writer, events)), store)
}

/// The objects of a watch that changed. A watch that broke begins again by itself, and says so
/// here: a controller that is told stands still for a while, with every other watch it has.
pub(crate) fn news<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<K>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let events = events.backoff(Backoff::of(PAUSE..PAUSE_AT_MOST));
    let touched = events.map(|event| event.map(marked)).touched_objects();
    touched.filter(|touched| {
        if let Err(error) = touched {
            warn!(kind = %K::kind(&()), error = %chain(error), "a watch begins anew");
        }
        std::future::ready(touched.is_ok())
    })
}

/// What is removed at once was never marked for that: who looks for news would not see that it is
/// gone.
fn marked<K: Resource>(event: watcher::Event<K>) -> watcher::Event<K> {
    match event {
        watcher::Event::Delete(mut object) => {
            object.meta_mut().deletion_timestamp.get_or_insert_with(|| Time(Timestamp::now()));
            watcher::Event::Delete(object)
        }
        other => other,
    }
}

fn watch<K: Part>(
    client: &Client,
    scope: &Scope,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Store<K>) {
    let (touched, store) = reflect(client, scope);
    (controller.owns_stream(touched), store)
}

/// A Lease is renewed every few seconds: only another holder or epoch is news, who belongs and who
/// is heard, or that it can no longer be read.
fn watch_leases(
    client: &Client,
    scope: &Scope,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Store<Lease>) {
    let (touched, store) = reflect::<Lease>(client, scope);
    let news = |lease: &Lease| {
        let spec = lease.spec.clone().unwrap_or_default();
        let exists = lease.metadata.deletion_timestamp.is_none();
        let record = lease::record(lease);
        let is_readable = record.is_ok();
        let heard = record.ok().flatten().map(|record| (record.members, record.grantors));
        Some(fingerprint(&(
            (spec.holder_identity, spec.lease_transitions),
            (exists, is_readable, heard),
        )))
    };
    let touched = touched.predicate_filter(news, kube::runtime::PredicateConfig::default());
    (controller.owns_stream(touched), store)
}

/// The route is the agents' own: only that it leads to another primary, or is gone, is news.
fn watch_slices(
    client: &Client,
    scope: &Scope,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Store<EndpointSlice>) {
    let (touched, store) = reflect::<EndpointSlice>(client, scope);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_at_once_is_seen_to_be_gone() {
        let is_there = |event| match event {
            watcher::Event::Delete(slice) | watcher::Event::Apply(slice) => {
                EndpointSlice::meta(&slice).deletion_timestamp.is_none()
            }
            other => panic!("{other:?}"),
        };
        assert!(is_there(marked(watcher::Event::Apply(EndpointSlice::default()))));
        assert!(!is_there(marked(watcher::Event::Delete(EndpointSlice::default()))));
    }
}
