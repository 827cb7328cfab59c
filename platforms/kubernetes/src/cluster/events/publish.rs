//! Writes events of a cluster.
//!
//! Never holds a cluster up: what cannot be written in time is only logged.

use super::{Event, Kind};
use crate::cluster::manifests;
use crate::run::Context;
use k8s_openapi::api::core::v1::{Event as Written, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use pgherd_agent::chain::chain;
use pgherd_api::cluster::Cluster;
use std::time::Duration;
use tracing::{debug, warn};

/// For all events of one round together.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longer texts are refused by the API server.
const LONGEST_NOTE: usize = 1024;
const REPORTER: &str = "pgherd-operator";

pub(in crate::cluster) async fn publish(context: &Context, cluster: &Cluster, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    if tokio::time::timeout(DEADLINE, publish_all(context, cluster, events)).await.is_err() {
        warn!(cluster = name, "events are not told: the API server did not answer in {DEADLINE:?}");
    }
}

async fn publish_all(context: &Context, cluster: &Cluster, events: &[Event]) {
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Written> = Api::namespaced(context.client.clone(), namespace);
    for event in events {
        let written = written(cluster, event, Timestamp::now());
        match api.create(&PostParams::default(), &written).await {
            Ok(_written) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!(reason = event.reason, "event was told before");
            }
            Err(error) => warn!(reason = event.reason, error = %chain(&error), "event is not told"),
        }
    }
}

fn written(cluster: &Cluster, event: &Event, now: Timestamp) -> Written {
    let ObjectMeta { name, namespace, uid, resource_version, .. } = cluster.metadata.clone();
    // The same occurrence has the same name, whoever tells it.
    let digest = manifests::digest(&(&uid, event.reason, &event.note, &event.mark));
    let called = format!("{}.{}", name.as_deref().unwrap_or_default(), digest);
    let kind = match event.kind {
        Kind::Normal => "Normal",
        Kind::Warning => "Warning",
    };
    Written {
        metadata: ObjectMeta {
            name: Some(called),
            namespace: namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(cluster.api_version.clone()),
            kind: Some(cluster.kind.clone()),
            name,
            namespace,
            uid,
            resource_version,
            field_path: None,
        },
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
            written(&cluster, &event, Timestamp::UNIX_EPOCH).metadata.name
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
