//! Writes events of a cluster, or of another object of ours.
//!
//! Never holds it up: what cannot be written in time is only logged.

use super::{Event, Kind};
use crate::cluster::manifests;
use crate::run::Context;
use k8s_openapi::api::core::v1::{Event as Written, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Resource};
use pgherd_agent::chain::chain;
use std::time::Duration;
use tracing::{debug, warn};

/// For all events of one round together.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longer texts are refused by the API server.
const LONGEST_NOTE: usize = 1024;
const REPORTER: &str = "pgherd-operator";

pub(crate) async fn publish<K>(context: &Context, object: &K, events: &[Event])
where
    K: Resource<DynamicType = ()>,
{
    if events.is_empty() {
        return;
    }
    let about = about(object);
    let name = about.name.clone().unwrap_or_default();
    if tokio::time::timeout(DEADLINE, publish_all(context, &about, events)).await.is_err() {
        warn!(name, "events are not told: the API server did not answer in {DEADLINE:?}");
    }
}

async fn publish_all(context: &Context, about: &ObjectReference, events: &[Event]) {
    let namespace = about.namespace.as_deref().unwrap_or_default();
    let api: Api<Written> = Api::namespaced(context.client.clone(), namespace);
    for event in events {
        let written = written(about, event, Timestamp::now());
        match api.create(&PostParams::default(), &written).await {
            Ok(_written) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(reason = event.reason, "event was told before");
            }
            Err(error) => warn!(reason = event.reason, error = %chain(&error), "event is not told"),
        }
    }
}

fn about<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let resource_version = object.meta().resource_version.clone();
    ObjectReference { resource_version, ..object.object_ref(&()) }
}

fn written(about: &ObjectReference, event: &Event, now: Timestamp) -> Written {
    // The same occurrence has the same name, whoever tells it.
    let digest = manifests::digest(&(&about.uid, event.reason, &event.note, &event.mark));
    let called = format!("{}.{}", about.name.as_deref().unwrap_or_default(), digest);
    let kind = match event.kind {
        Kind::Normal => "Normal",
        Kind::Warning => "Warning",
    };
    Written {
        metadata: ObjectMeta {
            name: Some(called),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        type_: Some(kind.to_owned()),
        reason: Some(event.reason.to_owned()),
        message: Some(shortened(&event.note)),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        source: Some(EventSource { component: Some(REPORTER.to_owned()), host: None }),
        reporting_component: Some(REPORTER.to_owned()),
        ..Written::default()
    }
}

fn shortened(note: &str) -> String {
    note.get(..note.floor_char_boundary(LONGEST_NOTE)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::manifests::fixtures::Sample;

    #[test]
    fn an_event_is_told_once_and_another_occurrence_anew() {
        let cluster = Sample::minimal().cluster;
        let named = |mark: &str| {
            let (note, mark) = ("told".to_owned(), mark.to_owned());
            let event = Event { kind: Kind::Normal, reason: "Telling", note, mark };
            written(&about(&cluster), &event, Timestamp::UNIX_EPOCH).metadata.name
        };
        assert_eq!(named("1"), named("1"));
        assert_ne!(named("1"), named("2"));
    }

    #[test]
    fn a_text_is_cut_between_letters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&format!("{}é", "a".repeat(1023))).len(), 1023);
    }
}
