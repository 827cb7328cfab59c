//! What the operator knows of catalogs of images; a change of one wakes the clusters that name it.
//!
//! Never holds up a cluster that names none.

use super::{Scope, news};
use futures_util::Stream;
use kube::runtime::Controller;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use pgherd_api::cluster::Cluster;
use pgherd_api::image_catalog::{ClusterImageCatalog, ImageCatalog, ImageCatalogSpec};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The newest known version of every catalog.
#[derive(Clone)]
pub struct Catalogs {
    of_namespaces: Store<ImageCatalog>,
    of_all: Store<ClusterImageCatalog>,
}

impl Catalogs {
    /// The catalog of the namespace, once all are listed.
    pub async fn of_namespace(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ImageCatalogSpec>, reflector::store::WriterDropped> {
        self.of_namespaces.wait_until_ready().await?;
        let found = self.of_namespaces.get(&ObjectRef::new(name).within(namespace));
        Ok(found.map(|catalog| catalog.spec.clone()))
    }

    /// The catalog for all namespaces, once all are listed.
    pub async fn of_all(
        &self,
        name: &str,
    ) -> Result<Option<ImageCatalogSpec>, reflector::store::WriterDropped> {
        self.of_all.wait_until_ready().await?;
        Ok(self.of_all.get(&ObjectRef::new(name)).map(|catalog| catalog.spec.clone()))
    }
}

pub(super) fn watch(
    client: &Client,
    scope: &Scope,
    controller: Controller<Cluster>,
) -> (Controller<Cluster>, Catalogs) {
    let (touched, of_namespaces) = reflect::<ImageCatalog>(scope.api(client));
    let clusters = controller.store();
    let controller = controller.watches_stream(touched, move |catalog| naming(&clusters, &catalog));
    let (touched, of_all) = reflect::<ClusterImageCatalog>(Api::all(client.clone()));
    let clusters = controller.store();
    let controller = controller.watches_stream(touched, move |catalog| naming(&clusters, &catalog));
    (controller, Catalogs { of_namespaces, of_all })
}

fn reflect<K>(
    catalogs: Api<K>,
) -> (impl Stream<Item = watcher::Result<K>> + Send + 'static, Store<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(catalogs, watcher::Config::default());
    (news(reflector::reflector(writer, events)), store)
}

/// The clusters that name this catalog.
fn naming<K>(clusters: &Store<Cluster>, catalog: &K) -> Vec<ObjectRef<Cluster>>
where
    K: Resource<DynamicType = ()>,
{
    let (kind, name, namespace) = (K::kind(&()), catalog.name_any(), catalog.namespace());
    let names = |cluster: &Cluster| {
        let named = cluster.spec.image_catalog_ref.as_ref();
        let named = named.is_some_and(|named| named.kind == kind && named.name == name);
        named && (namespace.is_none() || namespace == cluster.metadata.namespace)
    };
    let found = clusters.state_filter(names);
    found.iter().map(|cluster| ObjectRef::from_obj(&**cluster)).collect()
}
