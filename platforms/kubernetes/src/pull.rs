//! Keeps the Secret beside the operator that images are pulled with: every cluster has a copy.
//!
//! Never watches another Secret of that namespace.

use crate::settings::PullSecret;
use crate::stores::news;
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use std::sync::Arc;

/// The newest known version of the Secret.
pub struct Original {
    store: Store<Secret>,
    of: PullSecret,
}

impl Original {
    /// None before it is known: no cluster waits for it, and all are looked at when it comes.
    pub fn get(&self) -> Option<Arc<Secret>> {
        self.store.get(&ObjectRef::new(&self.of.name).within(&self.of.namespace))
    }
}

/// The Secret, and when it was changed.
pub fn watch(
    client: &Client,
    of: PullSecret,
) -> (Original, impl Stream<Item = ()> + Send + 'static + use<>) {
    let (store, writer) = reflector::store();
    let only = watcher::Config::default().fields(&format!("metadata.name={}", of.name));
    let events = watcher(Api::namespaced(client.clone(), &of.namespace), only);
    let changes = news(reflector::reflector(writer, events)).map(drop);
    (Original { store, of }, changes)
}
