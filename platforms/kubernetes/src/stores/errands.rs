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

/// That objects are gone, which no controller sees.
#[derive(Debug)]
pub enum Gone<E> {
    /// This one.
    Deleted(Box<E>),
    /// A list was made, at the beginning or because a watch broke: who was deleted before it was not
    /// seen to be.
    Unseen,
}

/// All of a kind, a controller that is woken by their changes, and what is told of those that are gone.
pub fn errands<E: Namespaced>(
    client: &Client,
    scope: &Scope,
) -> (Controller<E>, mpsc::Receiver<Gone<E>>) {
    let (tell, deleted) = mpsc::channel(DELETED);
    let (store, writer) = reflector::store();
    let events = watcher(scope.api::<E>(client), watcher::Config::default());
    let events = events.inspect_ok(move |event| {
        if let Some(gone) = gone(event)
            && let Err(gone) = tell.try_send(gone)
        {
            let kind = E::kind(&()).into_owned();
            let name = match gone.into_inner() {
                Gone::Deleted(errand) => errand.name_any(),
                Gone::Unseen => String::new(),
            };
            warn!(kind, name, "too many are deleted at once: its work goes on");
        }
    });
    let touched = news(reflector::reflector(writer, events));
    (Controller::for_stream(touched, store), deleted)
}

fn gone<E: Clone>(event: &Event<E>) -> Option<Gone<E>> {
    match event {
        Event::Delete(errand) => Some(Gone::Deleted(Box::new(errand.clone()))),
        Event::InitDone => Some(Gone::Unseen),
        Event::Init | Event::InitApply(_) | Event::Apply(_) => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::fixtures::backup;

    #[test]
    fn each_list_may_hide_that_some_are_gone() {
        let one = || backup("nightly", 1);
        assert!(gone(&Event::<Backup>::Init).is_none());
        assert!(gone(&Event::InitApply(one())).is_none());
        assert!(matches!(gone(&Event::<Backup>::InitDone), Some(Gone::Unseen)));
        assert!(gone(&Event::Apply(one())).is_none());
        let deleted = gone(&Event::Delete(one()));
        assert!(matches!(deleted, Some(Gone::Deleted(backup)) if backup.name_any() == "nightly"));
    }
}
