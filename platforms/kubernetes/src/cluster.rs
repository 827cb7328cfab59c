//! The operator's half: what exists in Kubernetes for one cluster.
//!
//! Never decides who is primary, and never writes what is the agents' own: the record and the route
//! to the primary.

pub(crate) mod acted;
pub mod agents;
mod calls;
pub mod catalog;
pub mod certificates;
pub mod copied;
pub(crate) mod events;
mod first_backup;
pub mod heard;
mod major;
pub mod manifests;
mod observe;
pub(crate) mod origin;
pub(crate) mod reach;
mod realise;
mod report;
pub mod rollouts;
mod wanted;

use crate::run::Context;
use events::{Left, Round};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::Action;
use manifests::Blueprint;
use observe::Seen;
use pgherd_api::cluster::Cluster;
use pgherd_core::fleet::{self, Plan, Verdict};
use std::time::{Duration, Instant, SystemTime};
use tracing::debug;

/// Changes wake a cluster; this is for what no watch tells, such as certificates that run out.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// While something is under way.
const LOOK_AGAIN_SOON: Duration = Duration::from_secs(10);

/// Phases in which nothing goes on by itself.
pub(crate) const UNABLE: &str = "Unable to create required cluster objects";
pub(crate) const INVALID: &str = "Invalid cluster definition";
pub(crate) const HEALTHY: &str = "Cluster in healthy state";
pub(crate) const UNRECOVERABLE: &str = "Cluster is unrecoverable and needs manual intervention";
pub(crate) use catalog::INVALID_CATALOG;
pub use realise::Looked;
pub use report::Paced;
pub(crate) use report::{ARCHIVING, is_change};

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("knowing what exists")]
    Wait(#[source] kube::runtime::reflector::store::WriterDropped),
    #[error("reading the record")]
    ReadRecord(#[source] pgherd_core::ports::CoordinatorError),
    #[error("making what is wanted so")]
    Realise(#[source] realise::RealiseError),
    #[error("telling how it is")]
    Report(#[source] report::ReportError),
    #[error("having a first base backup taken")]
    FirstBackup(#[source] first_backup::FirstBackupError),
}

/// Brings one cluster nearer to what it shall be.
pub async fn reconcile(cluster: &Cluster, context: &Context) -> Result<Action, ReconcileError> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // What it owns goes with it.
        return Ok(Action::await_change());
    }
    context.stores.ready().await.map_err(ReconcileError::Wait)?;
    if origin::is_named(cluster) {
        context.backups.wait_until_ready().await.map_err(ReconcileError::Wait)?;
    }
    let resolved = match origin::resolved(context, cluster) {
        Ok(resolved) => resolved,
        Err(why) => {
            let without = report::without_origin(cluster, why, Timestamp::now());
            let told = report::write(context, cluster, &without).await;
            let event = events::left(cluster, &without, Left::WithoutOrigin);
            events::publish(context, cluster, event.as_slice()).await;
            return told.map(|()| Action::requeue(LOOK_AGAIN_SOON)).map_err(ReconcileError::Report);
        }
    };
    let cluster = &*resolved;
    let checked = match cluster.checked().and_then(acted::refuse) {
        Ok((checked, _warnings)) => checked,
        Err(problems) => {
            let refused = report::refused(cluster, &problems, Timestamp::now());
            let told = report::write(context, cluster, &refused).await;
            let event = events::left(cluster, &refused, Left::Refused);
            events::publish(context, cluster, event.as_slice()).await;
            return told.map(|()| Action::await_change()).map_err(ReconcileError::Report);
        }
    };
    let namespace = cluster.metadata.namespace.as_deref().unwrap_or_default();
    let settings = &context.settings;
    let catalog = catalog::image(&context.stores, cluster, namespace).await;
    let catalog = catalog.map_err(ReconcileError::Wait)?;
    if let Err(error) = &catalog
        && catalog::noted(cluster).is_none()
    {
        let without_image = report::without_image(cluster, error, Timestamp::now());
        let told = report::write(context, cluster, &without_image).await;
        let event = events::left(cluster, &without_image, Left::WithoutImage);
        events::publish(context, cluster, event.as_slice()).await;
        return told.map(|()| Action::requeue(LOOK_AGAIN)).map_err(ReconcileError::Report);
    }
    let catalog_image = catalog.as_ref().ok().and_then(Option::as_deref);
    let checked = &checked;
    let blueprint =
        Blueprint { cluster, checked, namespace, settings, catalog_image, held_image: None };
    let (blueprint, refusal) = major::hold(blueprint);
    let mut seen = match observe::observe(&context.stores, &blueprint) {
        Ok(seen) => seen,
        Err(error) => {
            let unreadable = report::unreadable(cluster, &error, Timestamp::now());
            report::write(context, cluster, &unreadable).await.map_err(ReconcileError::Report)?;
            return Err(ReconcileError::ReadRecord(error));
        }
    };
    seen.lacking = realise::lacking(context, &blueprint, &seen).await;
    let catalog = catalog.clone().map(drop).map_err(realise::RealiseError::Catalog);
    let major = refusal.map_or(Ok(()), |why| Err(realise::RealiseError::Major(why)));
    Box::pin(go_on(context, &blueprint, &seen, catalog.and(major))).await
}

/// With what is known and can be carried out. What was `refused` is told, and what runs goes on.
async fn go_on(
    context: &Context,
    blueprint: &Blueprint<'_>,
    seen: &Seen,
    refused: Result<(), realise::RealiseError>,
) -> Result<Action, ReconcileError> {
    let cluster = blueprint.cluster;
    let now = SystemTime::now();
    let wanted = wanted::wanted(blueprint, seen, now);
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    let plan = context
        .rollouts
        .plan(uid, Instant::now(), |pace| fleet::plan(&wanted.sight((blueprint, seen), pace)));
    let mut done = Vec::new();
    let all = (seen, &wanted, &plan);
    let realised = realise::realise(context, blueprint, all, now, &mut done).await;
    if realised.as_ref().is_err_and(realise::RealiseError::is_the_end) {
        debug!(namespace = blueprint.namespace, "it is being deleted: nothing is made in it");
        return Ok(Action::await_change());
    }
    let heard = heard::hear(context, blueprint, (seen, &wanted), now).await;
    let next = heard.next(blueprint, all);
    let taken_up = realise::take_up(context, blueprint, (seen, &wanted), next, &mut done).await;
    let realised = realised.and(refused).and(taken_up);
    let upgrade = agents::keep(context, blueprint, all, now).await;
    let told_at = Timestamp::now();
    let status = report::status(blueprint, all, &realised, told_at);
    let status = report::with_heard(status, (next, &heard), (cluster, told_at));
    let status = if realised.is_ok() { report::with_recovery(status, &heard) } else { status };
    let status = report::with_archive(status, &heard, (cluster, told_at));
    let backups = context.backups_of(cluster);
    let since = context.recoverable.since(blueprint.namespace, blueprint.name());
    let status = report::with_backups(status, (&backups, since), (cluster, told_at));
    done.extend(upgrade.done.iter().cloned());
    let status = report::with_upgrade(status, &plan.verdict, (context, &upgrade));
    // What fails is told at once, for what is told of it is told once.
    let told = match &realised {
        Ok(()) => report::write_in_time(context, cluster, &status, Instant::now()).await,
        Err(_) => report::write(context, cluster, &status).await.map(|()| None),
    };
    let round = Round {
        before: &cluster.status.clone().unwrap_or_default(),
        after: &status,
        record: seen.record.as_ref(),
        done: &done,
        realised: &realised,
        verdict: &plan.verdict,
        generation: cluster.metadata.generation,
    };
    events::publish(context, cluster, &events::events(&round)).await;
    realised.map_err(ReconcileError::Realise)?;
    let told_later = told.map_err(ReconcileError::Report)?;
    let first = first_backup::keep(context, blueprint, &status).await;
    first.map_err(ReconcileError::FirstBackup)?;
    let sooner = [upgrade.look_again, heard.look_again(), told_later].into_iter().flatten();
    Ok(Action::requeue(sooner.fold(look_again(&plan), Duration::min)))
}

/// When to look at it again if nothing wakes it.
fn look_again(plan: &Plan) -> Duration {
    match &plan.verdict {
        Verdict::Healthy if plan.steps.is_empty() => LOOK_AGAIN,
        Verdict::Delayed { left, .. } => LOOK_AGAIN.min(*left),
        Verdict::Healthy
        | Verdict::SettingUp { .. }
        | Verdict::Creating { .. }
        | Verdict::WithoutPrimary { .. }
        | Verdict::Waiting { .. }
        | Verdict::Removing { .. }
        | Verdict::Updating { .. }
        | Verdict::UserHasToSwitchOver { .. }
        | Verdict::Resting => LOOK_AGAIN_SOON,
    }
}
