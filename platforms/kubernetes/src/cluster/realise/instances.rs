//! Carries out what was decided on volumes and pods.
//!
//! Never ends a pod otherwise than gracefully: its agent hands over first.

use super::super::events::{Data, Done};
use super::super::manifests::claims::{self, ClaimStatus};
use super::super::manifests::{Blueprint, inherited, labels, pod, secrets};
use super::super::observe::Seen;
use super::ensure::{Created, EnsureError, Objects};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pgherd_api::quantity::parse_bytes;
use pgherd_core::fleet::{Plan, Step};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Record;
use pgherd_core::units::Epoch;
use pgherd_core::wishes::Wishes;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

pub(super) async fn realise(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    (seen, plan): (&Seen, &Plan),
    done: &mut Vec<Done>,
) -> Result<(), EnsureError> {
    for step in &plan.steps {
        done.extend(perform(objects, blueprint, seen, step).await?);
    }
    for claim in seen.claims.values() {
        grow(objects, blueprint, claim).await?;
    }
    for (name, pod) in &seen.pods {
        name_role(objects, seen, name, pod).await?;
    }
    inherit(objects, blueprint, seen).await
}

/// Labels and annotations that come with the cluster change on what exists: nothing is replaced for
/// them.
async fn inherit(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    seen: &Seen,
) -> Result<(), EnsureError> {
    for (name, pod) in seen.pods.iter().filter(|(_, pod)| stays(&pod.metadata)) {
        let wanted = pod::pod(blueprint, name);
        if let Some(change) = inherited::change(&pod.metadata, &wanted.metadata) {
            objects.merge::<Pod>(&name.to_string(), &change).await?;
        }
    }
    for name in seen.places.keys() {
        for wanted in claims::claims(blueprint, name, ClaimStatus::Ready) {
            let called = wanted.metadata.name.as_deref().unwrap_or_default();
            let present = seen.claims.get(called).filter(|claim| stays(&claim.metadata));
            let change = present.and_then(|it| inherited::change(&it.metadata, &wanted.metadata));
            if let Some(change) = change {
                objects.merge::<PersistentVolumeClaim>(called, &change).await?;
            }
        }
    }
    Ok(())
}

fn stays(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_none()
}

async fn perform(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    seen: &Seen,
    step: &Step,
) -> Result<Option<Done>, EnsureError> {
    match step {
        Step::MakeVolumes(instance) => make_volumes(objects, blueprint, seen, instance).await,
        Step::MakePod(instance) => {
            info!(%instance, "pod is made");
            let mut pod = pod::pod(blueprint, instance);
            labels::add_labels(&mut pod.metadata, labels::texts(roles(first_role(seen, instance))));
            objects.create(pod).await.map(|_created| None)
        }
        Step::EndPod { instance, because } => {
            let Some(pod) = seen.pods.get(instance) else { return Ok(None) };
            info!(%instance, %because, "pod is ended");
            objects.delete::<Pod>(&pod.metadata).await?;
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            Ok(Some(Done::EndedPod { instance: instance.clone(), because: *because, uid }))
        }
        Step::RemoveVolumes(instance) => {
            info!(%instance, "volumes are removed");
            let names = [claims::data_name(instance), claims::wal_name(instance)];
            let mut uid = None;
            for claim in names.iter().filter_map(|name| seen.claims.get(name)) {
                objects.delete::<PersistentVolumeClaim>(&claim.metadata).await?;
                uid = uid.or_else(|| claim.metadata.uid.clone());
            }
            Ok(uid.map(|uid| Done::RemovedVolumes { instance: instance.clone(), uid }))
        }
        // It is taken off the list, and nobody comes back with its identity.
        Step::Forget(instance) => {
            if let Some(identity) = seen.secrets.get(&secrets::agent_name(instance)) {
                objects.delete::<Secret>(&identity.metadata).await?;
            }
            Ok(None)
        }
    }
}

async fn make_volumes(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    seen: &Seen,
    instance: &InstanceName,
) -> Result<Option<Done>, EnsureError> {
    info!(%instance, "volumes are made");
    let mut done = None;
    for claim in claims::claims(blueprint, instance, ClaimStatus::Ready) {
        // With the volume of the data the instance begins.
        let is_data = claim.metadata.name == Some(claims::data_name(instance));
        match objects.create(claim).await? {
            Created::Now { uid } if is_data => {
                let with = data(blueprint, seen);
                done = Some(Done::MadeVolumes { instance: instance.clone(), with, uid });
            }
            Created::Now { .. } | Created::Before => {}
        }
    }
    Ok(done)
}

fn data(blueprint: &Blueprint<'_>, seen: &Seen) -> Data {
    let bootstrap = blueprint.cluster.spec.bootstrap.as_ref();
    if seen.record.is_some() {
        Data::Copy
    } else if bootstrap.is_some_and(|bootstrap| bootstrap.pg_basebackup.is_some()) {
        Data::PhysicalBackup
    } else if bootstrap.is_some_and(|bootstrap| bootstrap.recovery.is_some()) {
        Data::Backup
    } else {
        Data::Initdb
    }
}

/// The list without those of whom nothing is left, if there are such.
pub(super) fn forget(plan: &Plan, wishes: &Wishes) -> Option<Wishes> {
    let mut next = wishes.clone();
    for step in &plan.steps {
        if let Step::Forget(instance) = step {
            next.instances.remove(instance);
        }
    }
    (next != *wishes).then_some(next)
}

/// Asks for more space when more is wanted than was asked for. Less cannot be had.
async fn grow(
    objects: &Objects<'_>,
    blueprint: &Blueprint<'_>,
    claim: &Arc<PersistentVolumeClaim>,
) -> Result<(), EnsureError> {
    let spec = &blueprint.cluster.spec;
    let role = claim.metadata.labels.as_ref().and_then(|all| all.get(labels::CLAIM_ROLE));
    let wanted = match role.map(String::as_str) {
        Some("PG_DATA") => spec.storage.size.as_ref(),
        Some("PG_WAL") => spec.wal_storage.as_ref().and_then(|storage| storage.size.as_ref()),
        Some(_) | None => None,
    };
    let asked = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = asked.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    let (Some(wanted), Some(asked)) = (wanted, asked) else { return Ok(()) };
    let is_more = match (parse_bytes(wanted), parse_bytes(&asked.0)) {
        (Ok(wanted), Ok(asked)) => wanted > asked,
        (Err(_), _) | (_, Err(_)) => false,
    };
    let Some(name) = claim.metadata.name.as_deref().filter(|_| is_more) else { return Ok(()) };
    info!(claim = name, from = %asked.0, to = %wanted, "volume grows");
    let patch = json!({"spec": {"resources": {"requests": {"storage": wanted}}}});
    objects.merge::<PersistentVolumeClaim>(name, &patch).await
}

/// Both labels that tell a pod's role.
fn roles(role: &'static str) -> [(&'static str, &'static str); 2] {
    [(labels::INSTANCE_ROLE, role), ("role", role)]
}

/// The role that a new pod is born with. The one that makes the cluster will be its primary.
fn first_role(seen: &Seen, name: &InstanceName) -> &'static str {
    let holder = seen.record.as_ref().map(|record| &record.holder.instance);
    if holder.is_none_or(|holder| holder == name) { labels::PRIMARY } else { labels::REPLICA }
}

/// Services for reading select by this; the one for writing does not.
async fn name_role(
    objects: &Objects<'_>,
    seen: &Seen,
    name: &InstanceName,
    pod: &Arc<Pod>,
) -> Result<(), EnsureError> {
    let Some(record) = &seen.record else { return Ok(()) };
    let known = pod.metadata.labels.as_ref().and_then(|all| all.get(labels::INSTANCE_ROLE));
    let Some(role) = other_role(known.map(String::as_str), name, record, seen.led) else {
        return Ok(());
    };
    if pod.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let patch = json!({"metadata": {"labels": BTreeMap::from(roles(role))}});
    objects.merge::<Pod>(&name.to_string(), &patch).await
}

/// The role that an instance is to be given in place of the one it is `known` by.
///
/// A pod's new role changes the addresses of services, and kube-proxy takes up one change a second:
/// the route to the new primary, which clients are waiting for, goes first.
fn other_role(
    known: Option<&str>,
    name: &InstanceName,
    record: &Record,
    led: Option<Epoch>,
) -> Option<&'static str> {
    let role = if record.holder.instance == *name { labels::PRIMARY } else { labels::REPLICA };
    let is_its_turn = known.is_none() || led.is_some_and(|led| led >= record.epoch);
    (is_its_turn && known != Some(role)).then_some(role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::ports::contract;

    #[test]
    fn roles_follow_the_route() {
        let mut record = contract::sample(1);
        record.epoch = Epoch(7);
        let holder = record.holder.instance.clone();
        let other = InstanceName::new(holder.cluster(), holder.serial() + 1);
        let role = |known, name, led: Option<u64>| other_role(known, name, &record, led.map(Epoch));
        // A new pod waits for nobody.
        assert_eq!(role(None, &holder, None), Some("primary"));
        assert_eq!(role(None, &other, Some(6)), Some("replica"));
        // A takeover waits until clients are led to the new primary.
        assert_eq!(role(Some("replica"), &holder, Some(6)), None);
        assert_eq!(role(Some("primary"), &other, Some(6)), None);
        assert_eq!(role(Some("replica"), &holder, Some(7)), Some("primary"));
        assert_eq!(role(Some("primary"), &other, Some(7)), Some("replica"));
        // By a later route too: the record is read again soon.
        assert_eq!(role(Some("primary"), &other, Some(8)), Some("replica"));
        assert_eq!(role(Some("primary"), &holder, Some(7)), None);
    }
}
