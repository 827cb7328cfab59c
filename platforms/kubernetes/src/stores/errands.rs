//! Watches the objects that ask for long work, and their schedules; that a backup has come further
//! wakes its cluster.
//!
//! Never holds them twice: their controller has them.

use super::{Namespaced, Scope, fingerprint, news};
use futures_util::{Stream, TryStreamExt};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt};
use kube::{Client, ResourceExt};
use pgherd_api::backup::Backup;
use pgherd_api::cluster::Cluster;
use tokio::sync::mpsc;
use tracing::warn;

/// Deleted ones that may wait to be looked after.
const DELETED: usize = 256;

/// All of a kind, a controller that is woken by their changes, and those that are deleted, which no
/// controller sees.
pub fn errands<E: Namespaced>(
    client: &Client,
    scope: &Scope,
) -> (Controller<E>, mpsc::Receiver<E>) {
    let (tell, deleted) = mpsc::channel(DELETED);
    let (store, writer) = reflector::store();
    let events = watcher(scope.api::<E>(client), watcher::Config::default());
    let events = events.inspect_ok(move |event| {
        if let Event::Delete(errand) = event
            && tell.try_send(E::clone(errand)).is_err()
        {
            let (kind, name) = (E::kind(&()).into_owned(), errand.name_any());
            warn!(kind, name, "too many are deleted at once: its work goes on");
        }
    });
    let touched = news(reflector::reflector(writer, events));
    (Controller::for_stream(touched, store), deleted)
}

/// All schedules of a kind, and a controller that is woken by their changes.
pub fn schedules<S: Namespaced>(client: &Client, scope: &Scope) -> Controller<S> {
    let (touched, store) = all(client, scope);
    Controller::for_stream(touched, store)
}

fn all<K: Namespaced>(
    client: &Client,
    scope: &Scope,
) -> (impl Stream<Item = watcher::Result<K>> + Send + 'static, Store<K>) {
    let (store, writer) = reflector::store();
    let events = watcher(scope.api(client), watcher::Config::default());
    (news(reflector::reflector(writer, events)), store)
}

/// Lets backups wake their clusters.
pub(super) fn wake_by(
    client: &Client,
    scope: &Scope,
    controller: Controller<Cluster>,
) -> Controller<Cluster> {
    let touched = news(watcher(scope.api::<Backup>(client), watcher::Config::default()));
    let further = |backup: &Backup| {
        let phase = backup.status.as_ref().and_then(|status| status.phase.clone());
        Some(fingerprint(&(phase, backup.metadata.deletion_timestamp.is_some())))
    };
    let touched = touched.predicate_filter(further, PredicateConfig::default());
    controller.watches_stream(touched, |backup| {
        let namespace = backup.namespace().unwrap_or_default();
        [ObjectRef::new(&backup.spec.cluster.name).within(&namespace)]
    })
}
