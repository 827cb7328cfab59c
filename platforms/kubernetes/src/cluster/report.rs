//! Tells how a cluster is, in the words that users of CloudNativePG know.
//!
//! Never writes a status that says what the one before it said.

use super::acted;
use super::catalog::{CatalogError, INVALID_CATALOG};
use super::manifests::Blueprint;
use super::observe::{Seen, is_ready};
use super::realise::RealiseError;
use super::wanted::Wanted;
use crate::run::Context;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use pgherd_agent::chain::chain;
use pgherd_api::cluster::status::{ClusterStatus, InstanceReportedState, Topology};
use pgherd_api::cluster::{Cluster, Problem};
use pgherd_core::fleet::{Plan, Verdict, counts};
use pgherd_core::names::InstanceName;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("writing the status")]
    Write(#[source] kube::Error),
    #[error("writing the status: the API server did not answer within {DEADLINE:?}")]
    Late,
}

/// A manifest that cannot be carried out: whatever runs goes on as it is.
pub(super) async fn refused(
    context: &Context,
    cluster: &Cluster,
    problems: &[Problem],
) -> Result<(), ReportError> {
    let why: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let mut status = cluster.status.clone().unwrap_or_default();
    status.phase = Some("Invalid cluster definition".to_owned());
    status.phase_reason = Some(why.join("; "));
    write(context, cluster, status).await
}

/// A cluster whose image nobody knows: it is not begun with another one.
pub(super) async fn without_image(
    context: &Context,
    cluster: &Cluster,
    error: &CatalogError,
) -> Result<(), ReportError> {
    let mut status = cluster.status.clone().unwrap_or_default();
    status.phase = Some(INVALID_CATALOG.to_owned());
    status.phase_reason = Some(error.to_string());
    write(context, cluster, status).await
}

pub(super) async fn report(
    context: &Context,
    blueprint: &Blueprint<'_>,
    (seen, wanted, plan): (&Seen, &Wanted, &Plan),
    realised: &Result<(), RealiseError>,
) -> Result<(), ReportError> {
    let status = status(blueprint, (seen, wanted, plan), realised, Timestamp::now());
    write(context, blueprint.cluster, status).await
}

async fn write(
    context: &Context,
    cluster: &Cluster,
    status: ClusterStatus,
) -> Result<(), ReportError> {
    if cluster.status.as_ref() == Some(&status) {
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

fn status(
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
        Ok(()) => phase(&plan.verdict),
        Err(error) => (error.phase().to_owned(), chain(error).to_string()),
    };
    let record = seen.record.as_ref();
    let primary = record.map(|record| record.holder.instance.to_string());
    let changed = before.current_primary != primary;
    let since = if changed { Some(now.to_string()) } else { before.current_primary_timestamp };
    ClusterStatus {
        conditions: conditions(blueprint, &plan.verdict, realised, (&before.conditions, now)),
        phase: Some(phase),
        phase_reason: (!reason.is_empty()).then_some(reason),
        instances: count(names.len()),
        ready_instances: count(names.iter().filter(|name| ready(name)).count()),
        instance_names: names.iter().map(ToString::to_string).collect(),
        instances_status: by_state(&names, seen),
        instances_reported_state: names.iter().filter_map(|name| state(name, seen)).collect(),
        current_primary_timestamp: primary.as_ref().and(since.clone()),
        target_primary_timestamp: primary.as_ref().and(since),
        target_primary: record
            .map(|record| record.target().unwrap_or(&record.holder.instance).to_string()),
        current_primary: primary,
        timeline_id: record.map(|record| i64::from(record.timeline.0)),
        system_id: record.map(|record| record.system_id.0.to_string()),
        latest_generated_node: names.last().map(|name| i64::from(name.serial())),
        topology: Some(topology(&names, seen)),
        write_service: Some(blueprint.named("rw")),
        read_service: Some(blueprint.named("r")),
        selector: Some(format!("cnpg.io/cluster={},cnpg.io/podRole=instance", blueprint.name())),
        image: Some(blueprint.image().to_owned()),
        pvc_count: i32::try_from(seen.claims.len()).ok(),
        healthy_pvc: seen.claims.keys().cloned().collect(),
        ..before
    }
}

/// The exact words are what people's scripts wait for.
fn phase(verdict: &Verdict) -> (String, String) {
    let listed = |names: &[InstanceName]| {
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (phase, reason) = match verdict {
        Verdict::Healthy => ("Cluster in healthy state", String::new()),
        Verdict::SettingUp { first } => {
            ("Setting up primary", format!("Creating primary instance {first}"))
        }
        Verdict::Creating { instances } => {
            ("Creating a new replica", format!("Creating replica {}", listed(instances)))
        }
        Verdict::WithoutPrimary { holder } => {
            ("Failing over", format!("{holder} holds the office and is not ready"))
        }
        Verdict::Waiting { instances } => (
            "Waiting for the instances to become active",
            format!("not ready: {}", listed(instances)),
        ),
        Verdict::Removing { instances } => (
            "Waiting for the instances to become active",
            format!("removing {}", listed(instances)),
        ),
        Verdict::Updating { instance, left } => {
            ("Upgrading cluster", format!("restarting {instance}, then {left} more"))
        }
        Verdict::UserHasToSwitchOver { primary } => (
            "Waiting for user action",
            format!(
                "User must issue a supervised switchover: only {primary} is left to be updated"
            ),
        ),
        Verdict::Resting => ("Cluster in healthy state", "hibernated".to_owned()),
    };
    (phase.to_owned(), reason)
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

fn state(name: &InstanceName, seen: &Seen) -> Option<(String, InstanceReportedState)> {
    let pod = seen.pods.get(name)?;
    let record = seen.record.as_ref();
    let state = InstanceReportedState {
        is_primary: record.is_some_and(|record| record.holder.instance == *name),
        timeline_id: record.map(|record| i64::from(record.timeline.0)),
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

fn conditions(
    blueprint: &Blueprint<'_>,
    verdict: &Verdict,
    realised: &Result<(), RealiseError>,
    (before, now): (&[Condition], Timestamp),
) -> Vec<Condition> {
    let is_ready = *verdict == Verdict::Healthy && realised.is_ok();
    let ready = if is_ready {
        ("True", "ClusterIsReady", "Cluster is Ready".to_owned())
    } else {
        ("False", "ClusterIsNotReady", "Cluster Is Not Ready".to_owned())
    };
    let paths = acted::ignored(blueprint);
    let unread = if paths.is_empty() {
        ("False", "AllFieldsActedUpon", "every field that is set is acted upon".to_owned())
    } else {
        ("True", "NotActedUponYet", format!("not acted upon yet: {}", paths.join(", ")))
    };
    let told = [("Ready", ready), ("FieldsIgnored", unread)];
    let told = told.map(|(kind, (status, reason, message))| {
        let known = before.iter().find(|known| known.type_ == kind && known.status == status);
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: blueprint.cluster.metadata.generation,
            last_transition_time: known
                .map_or_else(|| Time(now), |known| known.last_transition_time.clone()),
        }
    });
    told.into()
}
