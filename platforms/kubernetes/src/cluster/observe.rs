//! Gathers what exists of one cluster, as the watches know it.
//!
//! Never asks the API server.

use super::manifests::claims::{self, ClaimStatus};
use super::manifests::{Blueprint, labels, pod, services, specification, volumes};
use crate::pod::{lease, route};
use crate::settings::AgentUpdates;
use crate::stores::{Part, Stores};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pgherd_core::fleet::{Form, Place, Pod as Life, Volumes};
use pgherd_core::names::InstanceName;
use pgherd_core::ports::CoordinatorError;
use pgherd_core::record::Record;
use pgherd_core::units::Epoch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What exists of one cluster.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) record: Option<Record>,
    /// The epoch of the primary that clients are led to.
    pub(super) led: Option<Epoch>,
    pub(super) map: Option<Arc<ConfigMap>>,
    pub(super) pods: BTreeMap<InstanceName, Arc<Pod>>,
    pub(super) claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    pub(super) secrets: BTreeMap<String, Arc<Secret>>,
    pub(super) places: BTreeMap<InstanceName, Place>,
    /// Secrets that images are to be pulled with and that do not exist, once an image cannot be
    /// pulled.
    pub(super) lacking: Vec<String>,
}

pub(super) fn observe(
    stores: &Stores,
    blueprint: &Blueprint<'_>,
) -> Result<Seen, CoordinatorError> {
    let (namespace, name) = (blueprint.namespace, blueprint.name());
    let lease = stores.get::<Lease>(namespace, name);
    let record = lease.as_deref().map(lease::record).transpose()?.flatten();
    let pods = stores.of_cluster::<Pod>(namespace, name).into_iter();
    let pods = pods.filter_map(|pod| Some((instance(&pod.metadata, blueprint)?, pod)));
    let pods: BTreeMap<_, _> = pods.collect();
    let claims = named(stores.of_cluster::<PersistentVolumeClaim>(namespace, name));
    let claimed = claims.values().filter_map(|claim| instance(&claim.metadata, blueprint));
    let existing = pods.keys().cloned().chain(claimed);
    let account = stores.get::<ServiceAccount>(namespace, &blueprint.service_account());
    let begun = Begun::of(record.as_ref(), blueprint);
    let places = existing.map(|name| {
        let pod = pods.get(&name).map(|pod| Dressed { pod, account: account.as_deref(), begun });
        let place = place(blueprint, &name, pod, &claims);
        (name, place)
    });
    Ok(Seen {
        places: places.collect(),
        led: stores
            .get(namespace, &services::of_primary(&blueprint.checked.name))
            .as_deref()
            .and_then(route::epoch),
        record,
        map: stores.get(namespace, &specification::name(&blueprint.checked.name)),
        secrets: named(stores.of_cluster::<Secret>(namespace, name)),
        pods,
        claims,
        lacking: Vec::new(),
    })
}

fn named<K: Part>(objects: Vec<Arc<K>>) -> BTreeMap<String, Arc<K>> {
    let named = objects.into_iter();
    named.filter_map(|object| Some((object.meta().name.clone()?, object))).collect()
}

/// The instance of this cluster that an object belongs to.
fn instance(metadata: &ObjectMeta, blueprint: &Blueprint<'_>) -> Option<InstanceName> {
    let label = metadata.labels.as_ref()?.get(labels::INSTANCE)?;
    let name = InstanceName::parse(label).ok()?;
    (*name.cluster() == blueprint.checked.name).then_some(name)
}

/// A pod, and the account that it is to run under, if that is ours.
#[derive(Clone, Copy)]
struct Dressed<'a> {
    pod: &'a Pod,
    account: Option<&'a ServiceAccount>,
    begun: Begun,
}

/// Whether there is a cluster, so that what it began with does not matter any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    Yes,
    NotYet,
}

impl Begun {
    fn of(record: Option<&Record>, blueprint: &Blueprint<'_>) -> Self {
        let status = blueprint.cluster.status.as_ref();
        let is_known = status.is_some_and(|status| status.system_id.is_some());
        if record.is_some() || is_known { Self::Yes } else { Self::NotYet }
    }
}

fn place(
    blueprint: &Blueprint<'_>,
    instance: &InstanceName,
    pod: Option<Dressed<'_>>,
    claims: &BTreeMap<String, Arc<PersistentVolumeClaim>>,
) -> Place {
    Place {
        volumes: volumes(blueprint, instance, claims),
        pod: pod.map_or(Life::Absent, |dressed| life(dressed.pod)),
        form: pod.map_or(Form::Wanted, |pod| form(blueprint, instance, pod)),
    }
}

fn volumes(
    blueprint: &Blueprint<'_>,
    instance: &InstanceName,
    claims: &BTreeMap<String, Arc<PersistentVolumeClaim>>,
) -> Volumes {
    let wanted = claims::claims(blueprint, instance, ClaimStatus::Ready);
    let wanted = wanted.iter().filter_map(|claim| claim.metadata.name.as_ref());
    let found: Vec<_> = wanted.map(|name| claims.get(name)).collect();
    let there = found.iter().flatten().count();
    if found.iter().flatten().any(|claim| claim.metadata.deletion_timestamp.is_some()) {
        Volumes::Going
    } else if there == 0 {
        Volumes::Absent
    } else if there < found.len() {
        Volumes::Partial
    } else {
        Volumes::There
    }
}

fn life(pod: &Pod) -> Life {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        Life::Going
    } else if matches!(phase, Some("Failed" | "Succeeded")) {
        Life::Ended
    } else if is_ready(pod) {
        Life::Ready
    } else {
        Life::Unready
    }
}

/// Whether the kubelet, and whoever watches kubelets, says that it is ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
    ready.any(|condition| condition.status == "True")
}

fn form(blueprint: &Blueprint<'_>, instance: &InstanceName, dressed: Dressed<'_>) -> Form {
    let Dressed { pod, account, begun } = dressed;
    if account.is_some_and(|account| outlives(pod, account)) {
        return Form::Outdated;
    }
    let would_be = pod::pod(blueprint, instance);
    if begun == Begun::NotYet && volumes::origins(pod) != volumes::origins(&would_be) {
        return Form::Outdated;
    }
    let made_as = pod.metadata.annotations.as_ref().and_then(|all| all.get(labels::POD_SPEC));
    let brings_the_same = match blueprint.settings.agent_updates {
        AgentUpdates::InPlace => true,
        AgentUpdates::ByReplacement => pod::agent_image(pod) == pod::agent_image(&would_be),
    };
    if brings_the_same && made_as.is_some_and(|it| *it == pod::fingerprint(&would_be)) {
        Form::Wanted
    } else {
        Form::Outdated
    }
}

/// Whether the pod is older than its account: what it was given to prove who it is counts no more.
/// Moments have whole seconds.
fn outlives(pod: &Pod, account: &ServiceAccount) -> bool {
    let made = |metadata: &ObjectMeta| metadata.creation_timestamp.as_ref().map(|time| time.0);
    made(&pod.metadata).zip(made(&account.metadata)).is_some_and(|(pod, account)| pod < account)
}

#[cfg(test)]
mod tests {
    use super::super::manifests::fixtures::Sample;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_cluster_begins_with_counts_until_it_has_begun() {
        let with = |entry: &str| {
            Sample::spec(&format!(
                "instances: 1\nstorage: {{size: 1Gi}}\n\
                 bootstrap: {{pg_basebackup: {{source: b}}}}\nexternalClusters:\n\
                 - {{name: b, connectionParameters: {{host: x}}, password: {entry}}}"
            ))
        };
        let first = with("{name: wrong, key: p}");
        let made = first.made(|it| pod::pod(it, &first.instance(1)));
        let form_in = |sample: &Sample, begun| {
            let dressed = Dressed { pod: &made, account: None, begun };
            sample.made(|it| form(it, &sample.instance(1), dressed))
        };
        let corrected = with("{name: right, key: p}");
        let without = Sample::spec("instances: 1\nstorage: {size: 1Gi}");
        let statements = Sample::spec(
            "instances: 1\nstorage: {size: 1Gi}\n\
             bootstrap: {initdb: {postInitSQLRefs: {configMapRefs: [{name: m, key: b}]}}}",
        );
        let told = [&first, &corrected, &without, &statements].map(|sample| {
            let [yet, after] = [Begun::NotYet, Begun::Yes].map(|begun| form_in(sample, begun));
            (yet, after)
        });
        let (same, other) = (Form::Wanted, Form::Outdated);
        assert_eq!(told, [(same, same), (other, same), (other, same), (other, same)]);
    }

    #[test]
    fn a_pod_that_is_older_than_its_account_is_told_from_one_made_in_the_same_second() {
        let metadata = |second: u32| json!({"metadata": {"creationTimestamp": format!("2026-11-29T12:00:{second:02}Z")}});
        let is_older = |pod, account| {
            let pod: Pod = serde_json::from_value(metadata(pod)).unwrap();
            outlives(&pod, &serde_json::from_value(metadata(account)).unwrap())
        };
        assert!(is_older(3, 4));
        assert!(!is_older(4, 4) && !is_older(5, 4));
        assert!(!outlives(&Pod::default(), &ServiceAccount::default()));
    }
}
