//! Tells of objects that are accepted, and that nothing here acts upon yet.
//!
//! Never more than once of the same version of one, and never anything but that.

use crate::cluster::manifests;
use crate::rights::Right;
use crate::stores::Scope;
use futures_util::future::join_all;
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DynamicObject, PartialObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::reflector::Lookup as _;
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client};
use pgherd_agent::chain::chain;
use pgherd_api::kind::{GROUP, VERSION};
use serde_json::{Value, json};
use std::time::Duration;
use tracing::{debug, warn};

const DEADLINE: Duration = Duration::from_secs(5);
const REPORTER: &str = "pgherd-operator";
const REASON: &str = "NotActedUponYet";

/// A kind of object that nothing acts upon.
struct Kind {
    name: &'static str,
    plural: &'static str,
    report: Report,
}

/// How its status says whether it was carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Report {
    /// By `applied` and `message`.
    Applied,
    /// Not at all: an event has to do.
    None,
}

const KINDS: [Kind; 5] = [
    Kind { name: "Pooler", plural: "poolers", report: Report::None },
    Kind { name: "Database", plural: "databases", report: Report::Applied },
    Kind { name: "DatabaseRole", plural: "databaseroles", report: Report::Applied },
    Kind { name: "Publication", plural: "publications", report: Report::Applied },
    Kind { name: "Subscription", plural: "subscriptions", report: Report::Applied },
];

/// What that takes.
pub(crate) fn rights() -> Vec<Right> {
    let right = |resource: String, verbs| Right { group: GROUP.to_owned(), resource, verbs };
    let watched = KINDS.iter().map(|kind| right(kind.plural.to_owned(), &["list", "watch"][..]));
    let reports = KINDS.iter().filter(|kind| kind.report == Report::Applied);
    let reports = reports.map(|kind| right(format!("{}/status", kind.plural), &["patch"][..]));
    watched.chain(reports).collect()
}

/// Tells of those that are there, and of those to come, for as long as it is polled.
pub(crate) async fn tell(client: &Client, scope: &Scope) {
    join_all(KINDS.iter().map(|kind| tell_of(client, scope, kind))).await;
}

async fn tell_of(client: &Client, scope: &Scope, kind: &Kind) {
    let of_kind = GroupVersionKind::gvk(GROUP, VERSION, kind.name);
    let resource = ApiResource::from_gvk_with_plural(&of_kind, kind.plural);
    let all: Api<PartialObjectMeta<DynamicObject>> = match scope {
        Scope::Everywhere => Api::all_with(client.clone(), &resource),
        Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let written = watcher(all, watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    pin_mut!(written);
    while let Some(object) = written.next().await {
        match object {
            Ok(object) if object.metadata.deletion_timestamp.is_none() => {
                let told = tell_one(client, &resource, (kind, &object));
                if tokio::time::timeout(DEADLINE, told).await.is_err() {
                    warn!(kind = kind.name, name = ?object.name(), "not told that nothing acts upon it");
                }
            }
            Ok(_) => {}
            Err(error) => debug!(kind = kind.name, error = %chain(&error), "a watch begins anew"),
        }
    }
}

async fn tell_one(
    client: &Client,
    resource: &ApiResource,
    (kind, object): (&Kind, &PartialObjectMeta<DynamicObject>),
) {
    let meta = &object.metadata;
    let (Some(namespace), Some(name)) = (&meta.namespace, &meta.name) else { return };
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    match events.create(&PostParams::default(), &event(kind, meta, Timestamp::now())).await {
        Ok(_written) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => warn!(kind = kind.name, name, error = %chain(&error), "event is not told"),
    }
    if let Some(status) = status(kind, meta) {
        let all: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
        let patch = Patch::Merge(&status);
        if let Err(error) = all.patch_status(name, &PatchParams::default(), &patch).await {
            warn!(kind = kind.name, name, error = %chain(&error), "its status is not written");
        }
    }
}

fn note(kind: &Kind) -> String {
    let name = kind.name;
    format!("nothing acts upon a {name} yet: it is accepted, and has no effect")
}

fn status(kind: &Kind, meta: &ObjectMeta) -> Option<Value> {
    match kind.report {
        Report::Applied => Some(json!({ "status": {
            "applied": false, "message": note(kind), "observedGeneration": meta.generation,
        }})),
        Report::None => None,
    }
}

fn event(kind: &Kind, meta: &ObjectMeta, now: Timestamp) -> Event {
    // The same version has the same name, whoever tells it.
    let digest = manifests::digest(&(&meta.uid, meta.generation));
    let called = format!("{}.{digest}", meta.name.as_deref().unwrap_or_default());
    Event {
        metadata: ObjectMeta {
            name: Some(called),
            namespace: meta.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(kind.name.to_owned()),
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            ..ObjectReference::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some(REASON.to_owned()),
        message: Some(note(kind)),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        source: Some(EventSource { component: Some(REPORTER.to_owned()), host: None }),
        reporting_component: Some(REPORTER.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn it_is_told_in_an_event_and_where_there_is_room_in_the_status() {
        let told = KINDS.iter().map(|kind| {
            let meta = ObjectMeta {
                name: Some("a".to_owned()),
                uid: Some("5f2c".to_owned()),
                generation: Some(3),
                ..ObjectMeta::default()
            };
            let event = event(kind, &meta, Timestamp::UNIX_EPOCH);
            let (reason, message) = (event.reason.unwrap(), event.message.unwrap());
            let status = status(kind, &meta).map(|status| status["status"]["applied"].clone());
            format!("{reason}: {message} {status:?}\n")
        });
        expect![[r#"
            NotActedUponYet: nothing acts upon a Pooler yet: it is accepted, and has no effect None
            NotActedUponYet: nothing acts upon a Database yet: it is accepted, and has no effect Some(Bool(false))
            NotActedUponYet: nothing acts upon a DatabaseRole yet: it is accepted, and has no effect Some(Bool(false))
            NotActedUponYet: nothing acts upon a Publication yet: it is accepted, and has no effect Some(Bool(false))
            NotActedUponYet: nothing acts upon a Subscription yet: it is accepted, and has no effect Some(Bool(false))
        "#]].assert_eq(&told.collect::<String>());
    }
}
