//! Watches Backup and ScheduledBackup objects; that a backup has come further wakes its
//! cluster.
//!
//! Never holds them twice: the controller of backups has them.

use super::{Namespaced, Scope, fingerprint, news};
use futures_util::{Stream, TryStreamExt};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt};
use kube::{Client, ResourceExt};
use pgherd_api::backup::Backup;
use pgherd_api::cluster::Cluster;
use pgherd_api::scheduled_backup::ScheduledBackup;
use tokio::sync::mpsc;
use tracing::warn;

/// Deleted ones that may wait to be looked after.
const DELETED: usize = 256;

/// All backups, a controller that is woken by their changes, and those that are deleted, which no
/// controller sees.
pub fn backups(client: &Client, scope: &Scope) -> (Controller<Backup>, mpsc::Receiver<Backup>) {
    let (tell, deleted) = mpsc::channel(DELETED);
    let (store, writer) = reflector::store();
    let events = watcher(scope.api(client), watcher::Config::default());
    let events = events.inspect_ok(move |event| {
        if let Event::Delete(backup) = event
            && tell.try_send(Backup::clone(backup)).is_err()
        {
            warn!(backup = backup.name_any(), "too many are deleted at once: its work goes on");
        }
    });
    let touched = news(reflector::reflector(writer, events));
    (Controller::for_stream(touched, store), deleted)
}

/// All schedules of backups, and a controller that is woken by their changes.
pub fn schedules(client: &Client, scope: &Scope) -> Controller<ScheduledBackup> {
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
