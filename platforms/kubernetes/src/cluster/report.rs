//! Tells how a cluster is, in the words that users of CloudNativePG know.
//!
//! Never writes a status that says what the one before it said.

mod archive;
mod backup;
mod conditions;
mod office;
mod pace;
mod phase;
mod recovery;
mod volumes;

use super::acted;
use super::agents::Upgrade;
use super::catalog::{CatalogError, INVALID_CATALOG};
use super::events::FAILING_OVER;
use super::heard::Heard;
use super::major;
use super::manifests::{Blueprint, claims, services};
use super::observe::{Seen, is_ready};
use super::realise::{self, RealiseError};
use super::wanted::Wanted;
use super::{INVALID, UNABLE, UNRECOVERABLE};
use crate::hindrance;
use crate::run::Context;
use crate::settings::AgentUpdates;
pub(crate) use archive::KIND as ARCHIVING;
use conditions::Facts;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use office::{Office, office};
pub use pace::Paced;
use pgherd_agent::chain::chain;
use pgherd_api::backup::Backup;
use pgherd_api::cluster::managed::ServiceKind;
use pgherd_api::cluster::status::{ClusterStatus, InstanceReportedState, Topology};
use pgherd_api::cluster::{Cluster, Problem};
use pgherd_api::console::Fact;
use pgherd_core::fleet::settings::Next;
use pgherd_core::fleet::{Plan, Verdict, counts};
use pgherd_core::names::InstanceName;
use pgherd_core::ports::CoordinatorError;
pub(super) use phase::NOT_ENOUGH_SPACE;
use phase::Situation;
pub(crate) use phase::is_change;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("writing the status")]
    Write(#[source] kube::Error),
    #[error("writing the status: the API server did not answer within {DEADLINE:?}")]
    Late,
}

/// A manifest that cannot be carried out: whatever runs goes on as it is.
pub(super) fn refused(cluster: &Cluster, problems: &[Problem], now: Timestamp) -> ClusterStatus {
    let why: Vec<String> = problems.iter().map(ToString::to_string).collect();
    untouched(cluster, INVALID, (why.join("; "), now))
}

/// A record that nobody can read: nothing is decided without it.
pub(super) fn unreadable(
    cluster: &Cluster,
    error: &CoordinatorError,
    now: Timestamp,
) -> ClusterStatus {
    let why = chain(error).to_string();
    let before = cluster.status.as_ref().map_or(&[][..], |before| &before.conditions);
    let conditions = conditions::unready(before, &why, (cluster.metadata.generation, now));
    ClusterStatus { conditions, ..untouched(cluster, UNRECOVERABLE, (why, now)) }
}

/// Nothing is done, and whatever is known stays so.
fn untouched(cluster: &Cluster, phase: &str, (why, now): (String, Timestamp)) -> ClusterStatus {
    let before = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    ClusterStatus {
        conditions: conditions::untouched(&before.conditions, &why, (generation, now)),
        phase: Some(phase.to_owned()),
        phase_reason: Some(why),
        ..before
    }
}

/// A cluster whose image nobody knows: it is not begun with another one.
pub(super) fn without_image(
    cluster: &Cluster,
    error: &CatalogError,
    now: Timestamp,
) -> ClusterStatus {
    untouched(cluster, INVALID_CATALOG, (error.to_string(), now))
}

/// A cluster that is to begin with a Backup which cannot be begun with.
pub(super) fn without_origin(cluster: &Cluster, why: String, now: Timestamp) -> ClusterStatus {
    untouched(cluster, UNABLE, (why, now))
}

/// Writes it, unless it says little new and was written just before: then it says how long it waits.
pub(super) async fn write_in_time(
    context: &Context,
    cluster: &Cluster,
    status: &ClusterStatus,
    now: Instant,
) -> Result<Option<Duration>, ReportError> {
    let before = cluster.status.clone().unwrap_or_default();
    if before == *status {
        return Ok(None);
    }
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    if let Some(pause) = context.paced.pause(uid, (&before, status), now) {
        return Ok(Some(pause));
    }
    write(context, cluster, status).await?;
    context.paced.note(uid, now);
    Ok(None)
}

pub(super) async fn write(
    context: &Context,
    cluster: &Cluster,
    status: &ClusterStatus,
) -> Result<(), ReportError> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(());
    }
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let name = cluster.metadata.name.as_deref().unwrap_or_default();
    let clusters: Api<Cluster> = Api::namespaced(context.client.clone(), namespace);
    let whole = json!({
        "apiVersion": cluster.api_version, "kind": cluster.kind,
        "metadata": {"name": name, "namespace": namespace}, "status": status,
    });
    let by = PatchParams::apply("pgherd-status").force();
    let patch = Patch::Apply(&whole);
    let written = clusters.patch_status(name, &by, &patch);
    match tokio::time::timeout(DEADLINE, written).await {
        Ok(written) => written.map(drop).map_err(ReportError::Write),
        Err(_late) => Err(ReportError::Late),
    }
}

pub(super) fn status(
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    realised: &Result<(), RealiseError>,
    now: Timestamp,
) -> ClusterStatus {
    let before = blueprint.cluster.status.clone().unwrap_or_default();
    let names: Vec<InstanceName> = wanted.wishes.belonging().into_iter().collect();
    let ready = |name: &InstanceName| seen.pods.get(name).is_some_and(|pod| is_ready(pod));
    let count = |all: usize| i64::try_from(all).ok();
    let (phase, reason) = match realised {
        Ok(()) => {
            let known = before.phase.as_deref();
            let fenced = &wanted.specification.intent.fenced;
            phase::phase(&Situation { verdict: &plan.verdict, seen, names: &names, fenced, known })
        }
        Err(error) => (error.phase(), chain(error).to_string()),
    };
    let hindrance = hindrance(blueprint, seen, &names, now);
    let reason = with_hindrance(reason, hindrance.as_ref());
    let record = seen.record.as_ref();
    let office = office(record, &before, now);
    let failing_since = before.current_primary_failing_since_timestamp.clone();
    let failing_since =
        (phase == FAILING_OVER).then(|| failing_since.unwrap_or_else(|| now.to_string()));
    let facts = Facts {
        generation: blueprint.cluster.metadata.generation,
        verdict: &plan.verdict,
        reason: &reason,
        problem: realised.as_ref().err(),
        hindrance: hindrance.as_ref(),
        seen,
        ignored: &acted::ignored(blueprint),
    };
    ClusterStatus {
        conditions: conditions::conditions(&facts, &before.conditions, now),
        phase: Some(phase.to_owned()),
        phase_reason: (!reason.is_empty()).then_some(reason),
        instances: count(names.len()),
        ready_instances: count(names.iter().filter(|name| ready(name)).count()),
        instance_names: names.iter().map(ToString::to_string).collect(),
        instances_status: by_state(&names, seen),
        instances_reported_state: names.iter().filter_map(|it| state(it, seen, &office)).collect(),
        current_primary_timestamp: office.since.clone(),
        target_primary_timestamp: office.since,
        current_primary_failing_since_timestamp: failing_since,
        target_primary: office.target,
        current_primary: office.primary,
        timeline_id: office.timeline,
        system_id: office.system_id,
        latest_generated_node: names.last().map(|name| i64::from(name.serial())),
        topology: Some(topology(&names, seen)),
        write_service: Some(services::of_primary(&blueprint.checked.name)),
        read_service: Some(services::name(&blueprint.checked.name, ServiceKind::Read)),
        selector: Some(format!("cnpg.io/cluster={},cnpg.io/podRole=instance", blueprint.name())),
        image: Some(blueprint.image().to_owned()),
        pg_data_image_info: match record {
            Some(_) => major::of_data(blueprint),
            None => before.pg_data_image_info.clone(),
        },
        certificates: Some(realise::certificates(blueprint, (seen, wanted))),
        ..volumes::told(seen, before)
    }
}

/// What only agents know is told while nothing graver goes on.
pub(super) fn with_heard(
    status: ClusterStatus,
    (next, heard): (Next, &Heard),
    (cluster, now): (&Cluster, Timestamp),
) -> ClusterStatus {
    let status = match phase::unserved(&status, heard) {
        Some((phase, reason)) => unserved(status, (phase, reason), (cluster, now)),
        None => status,
    };
    match phase::heard((&status, &cluster.spec), next, heard) {
        // What cannot be written is no service, whoever is ready.
        Some((phase, reason)) if phase == NOT_ENOUGH_SPACE => {
            unserved(status, (Some(phase), reason), (cluster, now))
        }
        Some((phase, reason)) => {
            ClusterStatus { phase: Some(phase.to_owned()), phase_reason: Some(reason), ..status }
        }
        None => status,
    }
}

/// How archiving goes, where there is an archive.
pub(super) fn with_archive(
    mut status: ClusterStatus,
    heard: &Heard,
    (cluster, now): (&Cluster, Timestamp),
) -> ClusterStatus {
    let before = cluster.status.as_ref().map_or(&[][..], |before| &before.conditions);
    let about = (cluster.metadata.generation, now);
    status.conditions.extend(archive::condition(&heard.archive, before, about));
    status
}

/// How far the first instance is with the backup that it restores.
pub(super) fn with_recovery(status: ClusterStatus, heard: &Heard) -> ClusterStatus {
    match &heard.recovery {
        Some(report) if status.phase.as_deref() == Some(phase::SETTING_UP) => {
            ClusterStatus { phase_reason: Some(recovery::told(report)), ..status }
        }
        Some(_) | None => status,
    }
}

/// How backups went, as their objects say.
pub(super) fn with_backups(
    status: ClusterStatus,
    (backups, since): (&[Arc<Backup>], Option<Timestamp>),
    (cluster, now): (&Cluster, Timestamp),
) -> ClusterStatus {
    let before = cluster.status.clone().unwrap_or_default();
    let policy = cluster.spec.backup.as_ref().and_then(|it| it.retention_policy.as_deref());
    let backups: Vec<&Backup> = backups.iter().map(|backup| &**backup).collect();
    let about = (cluster.metadata.generation, now);
    let known = backup::Known { backups: &backups, policy, since };
    backup::with_backups(status, &before, &known, about)
}

fn unserved(
    status: ClusterStatus,
    (phase, reason): (Option<&'static str>, String),
    (cluster, now): (&Cluster, Timestamp),
) -> ClusterStatus {
    let before = cluster.status.as_ref().map_or(&[][..], |before| &before.conditions);
    let dates = (cluster.metadata.generation, now);
    let phase = phase.map(ToOwned::to_owned).or(status.phase);
    let is_failing = phase.as_deref() == Some(FAILING_OVER);
    let failing_since = status.current_primary_failing_since_timestamp.filter(|_| is_failing);
    ClusterStatus {
        conditions: conditions::with_unready(status.conditions, &reason, (before, dates)),
        phase,
        phase_reason: Some(reason),
        current_primary_failing_since_timestamp: failing_since,
        ..status
    }
}

/// What agents run is told while nothing graver goes on.
pub(super) fn with_upgrade(
    status: ClusterStatus,
    verdict: &Verdict,
    (context, upgrade): (&Context, &Upgrade),
) -> ClusterStatus {
    let status = ClusterStatus {
        cloud_native_pg_operator_hash: Some(context.programs.own().to_owned()),
        online_update_enabled: Some(context.settings.agent_updates == AgentUpdates::InPlace),
        ..status
    };
    let is_well = *verdict == Verdict::Healthy && status.phase_reason.is_none();
    match &upgrade.reason {
        Some(reason) if is_well => ClusterStatus {
            phase: Some(phase::ONLINE_UPGRADE.to_owned()),
            phase_reason: Some(reason.clone()),
            ..status
        },
        Some(_) | None => status,
    }
}

/// What stands in the way of an instance that does not run, or of those who look for the primary.
fn hindrance(
    blueprint: &Blueprint<'_>,
    seen: &Seen,
    names: &[InstanceName],
    now: Timestamp,
) -> Option<Fact> {
    let of_instance = |name: &InstanceName| {
        let claims = [claims::data_name(name), claims::wal_name(name)];
        let claims = claims.iter().filter_map(|claim| seen.claims.get(claim)).map(|it| &**it);
        let pod = seen.pods.get(name).map(|pod| &**pod);
        let found = hindrance::of_instance(pod, claims, now)?;
        let lacks_image = pod.is_some_and(hindrance::lacks_image);
        let lacking = if lacks_image { &seen.lacking[..] } else { &[] };
        Some(hindrance::without_secrets(found, lacking))
    };
    let of_route = || {
        let cluster = (blueprint.namespace, &blueprint.checked.name);
        hindrance::of_route(cluster, seen.led, seen.record.as_ref()?.epoch)
    };
    names.iter().find_map(of_instance).or_else(of_route)
}

fn with_hindrance(reason: String, hindrance: Option<&Fact>) -> String {
    match hindrance.map(hindrance::sentence) {
        Some(told) if reason.is_empty() => told,
        Some(told) => format!("{reason}; {told}"),
        None => reason,
    }
}

fn by_state(names: &[InstanceName], seen: &Seen) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in names {
        let is_ready = seen.pods.get(name).is_some_and(|pod| is_ready(pod));
        let state = match (is_ready, counts(seen.record.as_ref(), name)) {
            (true, _) => "healthy",
            (false, false) => "replicating",
            (false, true) => "failed",
        };
        states.entry(state.to_owned()).or_default().push(name.to_string());
    }
    states
}

fn state(
    name: &InstanceName,
    seen: &Seen,
    office: &Office,
) -> Option<(String, InstanceReportedState)> {
    let pod = seen.pods.get(name)?;
    let state = InstanceReportedState {
        is_primary: office.primary.as_ref() == Some(&name.to_string()),
        timeline_id: office.timeline,
        ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()),
    };
    Some((name.to_string(), state))
}

fn topology(names: &[InstanceName], seen: &Seen) -> Topology {
    let node = |name: &InstanceName| seen.pods.get(name)?.spec.as_ref()?.node_name.clone();
    let nodes: std::collections::BTreeSet<_> = names.iter().filter_map(node).collect();
    Topology {
        instances: names.iter().map(|name| (name.to_string(), BTreeMap::new())).collect(),
        nodes_used: i32::try_from(nodes.len()).ok(),
        successfully_extracted: Some(true),
    }
}
