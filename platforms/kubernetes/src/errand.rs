//! Has agents do the long work that objects ask for, be it a backup or a dump, and tells how it goes.
//!
//! Never follows it by memory: what was asked of whom is in the object before it is asked.

pub(crate) mod deleted;
mod look;
mod order;
pub(crate) mod silences;
pub(crate) mod status;
mod unseen;

use crate::cluster::events::{Event, Kind, publish};
use crate::cluster::reach::Said;
use crate::run::Context;
use crate::stores::Namespaced;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::WriterDropped;
use look::Looked;
use pgherd_api::agent::{ArchiveSpec, AskedBy, Status};
use pgherd_api::cluster::object_store::BarmanObjectStore;
use pgherd_api::errand::{Errand, Told};
use pgherd_core::backup::course::{self, Heard, Step, Wait};
use pgherd_core::names::InstanceName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Duration;
use tracing::info;

/// While it is done.
const FOLLOW: Duration = Duration::from_secs(2);
/// While it waits.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// After an agent that refused.
const LOOK_LATER: Duration = Duration::from_secs(30);
const ASK_WITHIN: Duration = Duration::from_secs(10);
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// One kind of long work: what an agent is asked for, and what it tells.
pub(crate) trait Work: Errand + Namespaced + Serialize {
    type Order: Serialize + Send + Sync;
    type Named: Serialize + Send + Sync;
    type Report: DeserializeOwned + Send + Sync;

    /// By what an agent is asked for it, asked how it is, and told to break it off.
    const BEGIN: &'static str;
    const READ: &'static str;
    const CANCEL: &'static str;
    /// The reason of the event that tells why it cannot begin yet.
    const PENDING: &'static str;
    /// Whether it is worth nothing unless log is archived meanwhile.
    const NEEDS_LOG: bool;

    fn store(context: &Context) -> &Store<Self>;
    /// Why it is not done, whatever the cluster is.
    fn unable(&self) -> Option<String> {
        None
    }
    fn order(&self, name: String) -> Self::Order;
    fn named(name: String) -> Self::Named;
    fn heard(report: &Self::Report) -> Heard<'_>;
    /// Which object an agent does work of this kind for, and under which name; none while it does
    /// nothing, or what a person asked for.
    fn running(status: &Status) -> Option<(&AskedBy, &str)>;
    /// What is told of it from the beginning.
    fn marked(status: Self::Status) -> Self::Status {
        status
    }
    /// Where it goes, as the manifest and the agents are told.
    fn addressed(status: Self::Status, archive: &Archive<'_>) -> Self::Status;
    /// What its agent says.
    fn reported(status: Self::Status, report: &Self::Report) -> Self::Status;
    /// What is to be remembered of one that is done.
    fn keep(&self, _report: &Self::Report, _context: &Context) {}
}

/// What an agent is told about who asks: that is how work is known whose object is gone.
pub(crate) fn asked_by(metadata: &ObjectMeta) -> AskedBy {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    AskedBy { name: of(&metadata.name), uid: of(&metadata.uid) }
}

/// Where a cluster's archive is.
pub(crate) struct Archive<'a> {
    pub(crate) store: Option<&'a BarmanObjectStore>,
    pub(crate) told: Option<&'a ArchiveSpec>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ErrandError {
    #[error("knowing what exists")]
    Wait(#[source] WriterDropped),
    #[error("writing how it goes")]
    Write(#[source] kube::Error),
    #[error("writing how it goes: the API server did not answer within {WRITE_WITHIN:?}")]
    Late,
}

/// Brings one piece of work further.
pub(crate) async fn reconcile<E: Work>(
    errand: &E,
    context: &Context,
) -> Result<Action, ErrandError> {
    let uid = errand.meta().uid.clone().unwrap_or_default();
    if errand.meta().deletion_timestamp.is_some() || errand.going().is_over() {
        context.silences.forget(&uid);
        return Ok(Action::await_change());
    }
    context.stores.ready().await.map_err(ErrandError::Wait)?;
    context.clusters.wait_until_ready().await.map_err(ErrandError::Wait)?;
    E::store(context).wait_until_ready().await.map_err(ErrandError::Wait)?;
    let (before, now) = (errand.told().cloned().unwrap_or_default(), Timestamp::now());
    let mut page = Page::of(errand, context);
    if let Some(why) = errand.unable() {
        page.tell(status::failed(before, &why, now), Some(failure::<E>(&why))).await?;
        return Ok(Action::await_change());
    }
    let looked = look::look(context, errand, now).await;
    let step = course::next(&looked.sight());
    go(&mut page, (before, &looked, step), now).await
}

async fn go<E: Work>(
    page: &mut Page<'_, E>,
    (before, looked, step): (E::Status, &Looked<E>, Step),
    now: Timestamp,
) -> Result<Action, ErrandError> {
    let errand = page.errand;
    let reported = |before| match &looked.report {
        Some(report) => E::reported(before, report),
        None => before,
    };
    match step {
        Step::Wait(wait) => wait_on(page, (before, &wait), now).await,
        Step::Begin { instance, attempt } => {
            begin(page, (before, looked), (&instance, attempt), now).await
        }
        Step::Follow => {
            page.tell(reported(before), None).await?;
            Ok(Action::requeue(FOLLOW))
        }
        Step::Anew { attempt, lost, pause } => {
            let lost = format!("in {} s, because {lost}", pause.as_secs());
            let (noun, cluster) = (E::SINGULAR, errand.cluster());
            let note = format!("Restarting {noun} for cluster {cluster} {lost}");
            let anew = status::anew((order::name(errand.meta(), attempt), &lost), now);
            page.context.silences.forget(errand.meta().uid.as_deref().unwrap_or_default());
            page.tell(E::marked(anew), Some(normal("ReStarting", note, attempt))).await?;
            Ok(Action::requeue(pause))
        }
        Step::Complete => {
            if let Some(report) = &looked.report {
                errand.keep(report, page.context);
            }
            let event = normal("Completed", format!("{} completed", E::KIND), 0);
            page.tell(status::ended(reported(before), now), Some(event)).await?;
            Ok(Action::await_change())
        }
        Step::Fail(why) => {
            let failed = status::failed(reported(before), &why, now);
            page.tell(failed, Some(failure::<E>(&why))).await?;
            Ok(Action::await_change())
        }
    }
}

async fn wait_on<E: Work>(
    page: &mut Page<'_, E>,
    (before, wait): (E::Status, &Wait),
    now: Timestamp,
) -> Result<Action, ErrandError> {
    if let Wait::ForPause { left } = wait {
        // Why is told already.
        return Ok(Action::requeue(*left));
    }
    let why = wait.to_string();
    let is_news = before.going().error.as_ref() != Some(&why);
    let event = Event {
        kind: Kind::Warning,
        reason: E::PENDING,
        note: format!("{} cannot begin yet: {why}", E::KIND),
        mark: String::new(),
    };
    let waiting = E::marked(status::waiting(before, wait, now));
    page.tell(waiting, is_news.then_some(event)).await?;
    Ok(Action::requeue(match wait {
        Wait::ForAgent { .. } => LOOK_LATER,
        Wait::ForTurn { .. }
        | Wait::ForCluster
        | Wait::ForManifest
        | Wait::ForWaking
        | Wait::ForArchiving { .. }
        | Wait::ForPause { .. }
        | Wait::ForTaker { .. } => LOOK_AGAIN,
    }))
}

async fn begin<E: Work>(
    page: &mut Page<'_, E>,
    (before, looked): (E::Status, &Looked<E>),
    (instance, attempt): (&InstanceName, u32),
    now: Timestamp,
) -> Result<Action, ErrandError> {
    let (errand, follow) = (page.errand, Action::requeue(FOLLOW));
    let begun = looked.begun(errand, (before, instance, attempt), now);
    let note = format!("Starting {} for cluster {}", E::SINGULAR, errand.cluster());
    page.tell(begun.clone(), Some(normal("Starting", note, attempt))).await?;
    let (kind, name) = (E::KIND, errand.meta().name.as_deref());
    info!(kind, name, %instance, attempt, "an agent is asked for it");
    let Some(reach) = &looked.reach else { return Ok(follow) };
    let order = errand.order(order::name(errand.meta(), attempt));
    let said = reach.ask((instance, E::BEGIN), &order, ASK_WITHIN).await;
    let said: Said<Option<E::Report>> = said;
    match said {
        Said::Answered(Some(report)) => {
            page.tell(E::reported(begun, &report), None).await?;
            Ok(follow)
        }
        // It is read whether it was heard.
        Said::Answered(None) | Said::Silent => Ok(follow),
        Said::Refused(refusal) => {
            let step = course::refused(refusal.why, status::turn(&begun.going(), now));
            match step {
                Step::Fail(why) => {
                    let failed = status::failed(begun, &why, now);
                    page.tell(failed, Some(failure::<E>(&why))).await?;
                    Ok(Action::await_change())
                }
                Step::Wait(wait) => wait_on(page, (begun, &wait), now).await,
                Step::Begin { .. } | Step::Follow | Step::Anew { .. } | Step::Complete => {
                    Ok(follow)
                }
            }
        }
    }
}

fn normal(reason: &'static str, note: String, attempt: u32) -> Event {
    Event { kind: Kind::Normal, reason, note, mark: attempt.to_string() }
}

fn failure<E: Work>(why: &str) -> Event {
    let note = format!("{} failed: {why}", E::KIND);
    Event { kind: Kind::Warning, reason: "Failed", note, mark: String::new() }
}

/// The status of one object, as far as it is written.
struct Page<'a, E: Work> {
    errand: &'a E,
    context: &'a Context,
    status: Option<E::Status>,
    version: Option<String>,
}

impl<'a, E: Work> Page<'a, E> {
    fn of(errand: &'a E, context: &'a Context) -> Self {
        let version = errand.meta().resource_version.clone();
        Self { errand, context, status: errand.told().cloned(), version }
    }

    /// Writes what changed, and then says so. What somebody else has written meanwhile is looked at
    /// first: two agents must not be asked for the same.
    async fn tell(&mut self, status: E::Status, event: Option<Event>) -> Result<(), ErrandError> {
        if self.status.as_ref() != Some(&status) {
            self.write(&status).await?;
            self.status = Some(status);
        }
        publish(self.context, self.errand, event.as_slice()).await;
        Ok(())
    }

    async fn write(&mut self, status: &E::Status) -> Result<(), ErrandError> {
        let Self { errand, context, version, .. } = self;
        let namespace = errand.meta().namespace.as_deref().unwrap_or_default();
        let name = errand.meta().name.as_deref().unwrap_or_default();
        let all: Api<E> = Api::namespaced(context.client.clone(), namespace);
        let whole = json!({
            "apiVersion": E::API_VERSION, "kind": E::KIND,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
            "status": status,
        });
        let by = PatchParams::apply("pgherd-status").force();
        let patch = Patch::Apply(&whole);
        let written = all.patch_status(name, &by, &patch);
        match tokio::time::timeout(WRITE_WITHIN, written).await {
            Ok(written) => {
                let written = written.map_err(ErrandError::Write)?;
                version.clone_from(&written.meta().resource_version);
                Ok(())
            }
            Err(_late) => Err(ErrandError::Late),
        }
    }
}
