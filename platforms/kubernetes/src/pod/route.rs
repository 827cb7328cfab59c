//! Leads clients to the primary: writes the one endpoint of the service for reading and writing.
//!
//! Never points to an older epoch than the one it finds, and never leaves the service empty.

use super::POSTGRES_PORT;
use super::peers::SERVICE;
use super::request::{RequestError, answer};
use super::whose::Whose;
use crate::backoff::Backoff;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::Api;
use kube::api::PostParams;
use pgherd_agent::chain::chain;
use pgherd_core::units::Epoch;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// The epoch of the primary that a slice points to.
pub const EPOCH: &str = "pgherd.dev/epoch";
/// Tells Kubernetes' own controller that a slice is not its.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const OURSELVES: &str = "pgherd.dev";
/// The port's name, in the service too: the two have to be the same.
pub const PORT_NAME: &str = "postgres";

/// How often one pointing is put over a slice that others change meanwhile.
const PUTS: usize = 3;
/// A route that somebody edits is put right when that is seen. This is for what nobody saw.
const CHECK: Duration = Duration::from_mins(10);
/// However often it is edited, it is not put right more often than this.
const BREATH: Duration = Duration::from_millis(200);
const PAUSE_AT_MOST: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("getting the EndpointSlice {slice}")]
    Get { slice: String, source: RequestError },
    #[error("replacing the EndpointSlice {slice}")]
    Replace { slice: String, source: RequestError },
    #[error(
        "the EndpointSlice {slice} is for {found} addresses, and this pod has {address}: delete it, and the operator makes it anew"
    )]
    Fit { slice: String, found: String, address: IpAddr },
    #[error(
        "the EndpointSlice {slice} was given without its uid or version, so it cannot be changed safely"
    )]
    Identify { slice: String },
    #[error(
        "the EndpointSlice {slice} is of another cluster of this name: the one that this instance belongs to was deleted"
    )]
    Another { slice: String },
    #[error("the EndpointSlice {slice} was changed by others {PUTS} times in a row: find out who")]
    Outrun { slice: String },
}

/// Where clients of this instance are led to.
#[derive(Debug, Clone)]
pub struct Here {
    pub address: IpAddr,
    pub whose: Whose,
}

/// Where the slice points now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointed {
    /// Here, since this moment.
    Anew,
    /// Here, as before.
    Already,
    /// To a later primary.
    Outdated { by: Epoch },
}

/// Points the slice `name` to the primary of `epoch`, which is `here`, unless it has had a later one, and
/// says in which version it is so. What a watch has `seen` may be old: nothing is taken for done by
/// it, and written over it is only what it still is.
pub async fn point(
    api: &Api<EndpointSlice>,
    name: &str,
    (here, epoch): (&Here, Epoch),
    seen: Option<EndpointSlice>,
) -> Result<(Pointed, Option<String>), RouteError> {
    let turn = |slice| turned(slice, here, epoch);
    let mut next = match seen.map(turn) {
        Some(Ok(Turned::Replacement(next))) => Some(next),
        Some(Ok(Turned::Not(_)) | Err(_)) | None => None,
    };
    for _ in 0..PUTS {
        let replacement = if let Some(replacement) = next.take() {
            replacement
        } else {
            let slice = answer(api.get(name)).await;
            let slice =
                slice.map_err(|source| RouteError::Get { slice: name.to_owned(), source })?;
            let version = slice.metadata.resource_version.clone();
            match turn(slice)? {
                Turned::Replacement(replacement) => replacement,
                Turned::Not(pointed) => return Ok((pointed, version)),
            }
        };
        match answer(api.replace(name, &PostParams::default(), &replacement)).await {
            Ok(stored) => return Ok((Pointed::Anew, stored.metadata.resource_version)),
            Err(RequestError::Changed | RequestError::Missing) => {}
            Err(source) => return Err(RouteError::Replace { slice: name.to_owned(), source }),
        }
    }
    Err(RouteError::Outrun { slice: name.to_owned() })
}

/// Keeps the slice pointing here while `serving` holds an epoch, and looks whenever another version of
/// it is `seen`. Ends with the sender of `serving`.
pub async fn keep(
    api: Api<EndpointSlice>,
    name: String,
    here: Here,
    (mut serving, seen): (watch::Receiver<Option<Epoch>>, watch::Receiver<Option<EndpointSlice>>),
) {
    loop {
        let served = *serving.borrow_and_update();
        let other = serving.wait_for(|now| *now != served);
        // A request that is under way is given up: its version keeps it from undoing the next.
        let known = match served {
            Some(epoch) => tokio::select! {
                known = other => known.map(drop),
                never = hold(&api, &name, (&here, epoch), seen.clone()) => match never {},
            },
            None => other.await.map(drop),
        };
        if known.is_err() {
            return;
        }
    }
}

async fn hold(
    api: &Api<EndpointSlice>,
    name: &str,
    (here, epoch): (&Here, Epoch),
    mut seen: watch::Receiver<Option<EndpointSlice>>,
) -> Infallible {
    let mut backoff = Backoff::up_to(PAUSE_AT_MOST);
    let mut told = String::new();
    let mut fresh = seen.borrow_and_update().clone();
    loop {
        let pointed = point(api, name, (here, epoch), fresh.take()).await;
        let (pointed, ours) = match pointed {
            Ok((pointed, version)) => (Ok(pointed), version),
            Err(error) => (Err(error), None),
        };
        let (now, pause) = match &pointed {
            Ok(Pointed::Anew) => (format!("{name} leads here since epoch {epoch}"), CHECK),
            Ok(Pointed::Already) => (format!("{name} leads here"), CHECK),
            Ok(Pointed::Outdated { by }) => {
                (format!("{name} leads to the primary of epoch {by}, after {epoch}"), CHECK)
            }
            Err(error) => (chain(error).to_string(), backoff.pause()),
        };
        let address = here.address;
        if now == told {
            debug!(%address, "{now}");
        } else if matches!(pointed, Ok(Pointed::Anew | Pointed::Already)) {
            info!(%address, "{now}");
        } else {
            warn!(%address, "{now}");
        }
        if pointed.is_ok() {
            backoff.begin_anew();
        }
        told = now;
        tokio::time::sleep(BREATH.min(pause)).await;
        // What is written here comes back as news.
        let other = |now: &Option<EndpointSlice>| {
            let version = now.as_ref().and_then(|slice| slice.metadata.resource_version.as_ref());
            version != ours.as_ref()
        };
        let changed = async {
            loop {
                // Nobody who watches any more tells of no change.
                if seen.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                let now = seen.borrow_and_update();
                if other(&now) {
                    return now.clone();
                }
            }
        };
        fresh = tokio::time::timeout(pause, changed).await.ok().flatten();
    }
}

/// The epoch of the primary that a slice leads to, if it ever led to one.
pub fn epoch(slice: &EndpointSlice) -> Option<Epoch> {
    slice.metadata.annotations.as_ref()?.get(EPOCH)?.parse().ok().map(Epoch)
}

enum Turned {
    Not(Pointed),
    Replacement(Box<EndpointSlice>),
}

/// What a slice must become. What a person wrote into it does not count.
fn turned(slice: EndpointSlice, here: &Here, epoch: Epoch) -> Result<Turned, RouteError> {
    let name = slice.metadata.name.clone().unwrap_or_default();
    let address = here.address;
    if here.whose.refuses(&slice.metadata) {
        return Err(RouteError::Another { slice: name });
    }
    let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
    if !given(&slice.metadata.uid) || !given(&slice.metadata.resource_version) {
        return Err(RouteError::Identify { slice: name });
    }
    if let Some(by) = self::epoch(&slice).filter(|there| *there > epoch) {
        return Ok(Turned::Not(Pointed::Outdated { by }));
    }
    let kind = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    if slice.address_type != kind {
        let found = slice.address_type;
        return Err(RouteError::Fit { slice: name, found, address });
    }
    let mut next = slice.clone();
    next.metadata.annotations.get_or_insert_default().insert(EPOCH.to_owned(), epoch.to_string());
    let labels = next.metadata.labels.get_or_insert_default();
    labels.insert(SERVICE.to_owned(), name);
    labels.insert(MANAGED_BY.to_owned(), OURSELVES.to_owned());
    next.endpoints = Some(vec![endpoint(address)]);
    next.ports = Some(vec![port()]);
    if next == slice {
        return Ok(Turned::Not(Pointed::Already));
    }
    // Left out of a replacement, the API server takes its own.
    next.metadata.managed_fields = None;
    Ok(Turned::Replacement(Box::new(next)))
}

fn endpoint(address: IpAddr) -> Endpoint {
    Endpoint {
        addresses: vec![address.to_string()],
        // Said, because nobody else says it: no readiness of a pod takes this endpoint away.
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        ..Endpoint::default()
    }
}

pub(crate) fn port() -> EndpointPort {
    EndpointPort {
        name: Some(PORT_NAME.to_owned()),
        port: Some(i32::from(POSTGRES_PORT)),
        protocol: Some("TCP".to_owned()),
        app_protocol: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn empty(kind: &str) -> Value {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
            "metadata": {"name": "db-rw", "uid": "u", "resourceVersion": "7"}, "endpoints": [],
        })
    }

    fn told(slice: &Value, address: &str, epoch: u64) -> String {
        let slice = serde_json::from_value(slice.clone()).unwrap();
        let here = Here { address: address.parse().unwrap(), whose: Whose::default() };
        match turned(slice, &here, Epoch(epoch)) {
            Ok(Turned::Not(pointed)) => format!("{pointed:?}"),
            Ok(Turned::Replacement(next)) => serde_json::to_string(&next).unwrap(),
            Err(error) => chain(&error).to_string(),
        }
    }

    fn check(slice: &Value, address: &str, epoch: u64, expected: &Expect) {
        expected.assert_eq(&told(slice, address, epoch));
    }

    /// The slice as it is after it was pointed to 10.0.0.1 in epoch 5.
    fn pointed() -> Value {
        serde_json::from_str(&told(&empty("IPv4"), "10.0.0.1", 5)).unwrap()
    }

    #[test]
    fn an_empty_slice_gets_its_endpoint() {
        check(
            &empty("IPv4"),
            "10.0.0.1",
            5,
            &expect![[
                r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":true,"terminating":false}}],"metadata":{"annotations":{"pgherd.dev/epoch":"5"},"labels":{"endpointslice.kubernetes.io/managed-by":"pgherd.dev","kubernetes.io/service-name":"db-rw"},"name":"db-rw","resourceVersion":"7","uid":"u"},"ports":[{"name":"postgres","port":5432,"protocol":"TCP"}]}"#
            ]],
        );
        check(
            &empty("IPv6"),
            "fd00::1",
            5,
            &expect![[
                r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv6","endpoints":[{"addresses":["fd00::1"],"conditions":{"ready":true,"serving":true,"terminating":false}}],"metadata":{"annotations":{"pgherd.dev/epoch":"5"},"labels":{"endpointslice.kubernetes.io/managed-by":"pgherd.dev","kubernetes.io/service-name":"db-rw"},"name":"db-rw","resourceVersion":"7","uid":"u"},"ports":[{"name":"postgres","port":5432,"protocol":"TCP"}]}"#
            ]],
        );
    }

    #[test]
    fn a_slice_that_points_here_is_left_alone() {
        check(&pointed(), "10.0.0.1", 5, &expect!["Already"]);
    }

    #[test]
    fn only_a_later_epoch_is_in_the_way() {
        check(&pointed(), "10.0.0.2", 4, &expect!["Outdated { by: Epoch(5) }"]);
        assert!(told(&pointed(), "10.0.0.2", 5).contains("10.0.0.2"));
        assert!(told(&pointed(), "10.0.0.1", 6).contains(r#""pgherd.dev/epoch":"6""#));
    }

    #[test]
    fn what_people_wrote_is_overwritten() {
        let edit = |at: &str, value: Value| {
            let mut slice = pointed();
            *slice.pointer_mut(at).unwrap() = value;
            let next: Value = serde_json::from_str(&told(&slice, "10.0.0.1", 5)).unwrap();
            assert_eq!(next, pointed(), "{at}");
        };
        edit("/metadata/annotations", json!({}));
        edit("/metadata/annotations/pgherd.dev~1epoch", json!("soon"));
        edit("/metadata/annotations/pgherd.dev~1epoch", json!("-1"));
        edit("/metadata/labels", json!({}));
        edit("/endpoints", json!([]));
        edit("/endpoints", json!([{"addresses": ["192.0.2.1"]}, {"addresses": ["10.0.0.1"]}]));
        edit("/endpoints/0/conditions/ready", json!(false));
        edit("/ports", json!([]));
        edit("/ports/0/port", json!(6432));
    }

    #[test]
    fn a_slice_of_the_other_kind_or_without_a_version_is_refused() {
        check(
            &empty("IPv6"),
            "10.0.0.1",
            5,
            &expect![
                "the EndpointSlice db-rw is for IPv6 addresses, and this pod has 10.0.0.1: delete it, and the operator makes it anew"
            ],
        );
        let mut blind = empty("IPv4");
        blind["metadata"]["resourceVersion"] = json!("");
        check(
            &blind,
            "10.0.0.1",
            5,
            &expect![
                "the EndpointSlice db-rw was given without its uid or version, so it cannot be changed safely"
            ],
        );
    }
}
