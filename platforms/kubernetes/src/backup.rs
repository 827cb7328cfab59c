//! Takes the backups that Backup objects ask for: an agent takes each, and its object tells how.
//!
//! Never follows a backup by memory: what was asked of whom is in the object before it is asked.

pub(crate) mod deleted;
mod look;
mod order;
pub mod recoverable;
pub mod silences;
mod status;

use crate::cluster::events::{Event, Kind, publish};
use crate::cluster::reach::Said;
use crate::run::Context;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::store::WriterDropped;
use look::Looked;
use pgherd_api::agent::{BackupOrder, BackupReport, names};
use pgherd_api::backup::{Backup, BackupMethod, BackupStatus, mode};
use pgherd_core::backup::course::{self, Step, Wait};
use pgherd_core::names::InstanceName;
use serde_json::json;
pub(crate) use status::{COMPLETED, FAILED, FINALIZING, RUNNING, STARTED, is_over};
use std::time::Duration;
use tracing::info;

/// While it is taken.
const FOLLOW: Duration = Duration::from_secs(2);
/// While it waits.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// After an agent that refused.
const LOOK_LATER: Duration = Duration::from_secs(30);
const ASK_WITHIN: Duration = Duration::from_secs(10);
const WRITE_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("knowing what exists")]
    Wait(#[source] WriterDropped),
    #[error("writing how a backup goes")]
    Write(#[source] kube::Error),
    #[error("writing how a backup goes: the API server did not answer within {WRITE_WITHIN:?}")]
    Late,
}

/// Brings one backup further.
pub async fn reconcile(backup: &Backup, context: &Context) -> Result<Action, BackupError> {
    let uid = backup.metadata.uid.clone().unwrap_or_default();
    let before = backup.status.clone().unwrap_or_default();
    if backup.metadata.deletion_timestamp.is_some() || is_over(&before) {
        context.silences.forget(&uid);
        return Ok(Action::await_change());
    }
    context.stores.ready().await.map_err(BackupError::Wait)?;
    context.clusters.wait_until_ready().await.map_err(BackupError::Wait)?;
    context.backups.wait_until_ready().await.map_err(BackupError::Wait)?;
    let now = Timestamp::now();
    let mut page = Page::of(backup, context);
    if let Some(why) = unable(backup) {
        page.tell(status::failed(before, &why, now), Some(failure(&why))).await?;
        return Ok(Action::await_change());
    }
    let looked = look::look(context, backup, &before, now).await;
    let step = course::next(&looked.sight());
    go(&mut page, (before, &looked, step), now).await
}

/// Why it is not taken, whatever the cluster is.
fn unable(backup: &Backup) -> Option<String> {
    let why = match backup.spec.method {
        BackupMethod::BarmanObjectStore => {
            return mode::incremental(&backup.metadata).err().map(|refusal| refusal.to_string());
        }
        BackupMethod::VolumeSnapshot => {
            "method volumeSnapshot is not acted upon yet: write method: barmanObjectStore"
        }
        BackupMethod::Plugin => "no plugin takes backups here: write method: barmanObjectStore",
    };
    Some(why.to_owned())
}

async fn go(
    page: &mut Page<'_>,
    (before, looked, step): (BackupStatus, &Looked, Step),
    now: Timestamp,
) -> Result<Action, BackupError> {
    let backup = page.backup;
    let cluster = &backup.spec.cluster.name;
    let reported = |before| match &looked.report {
        Some(report) => status::reported(before, report),
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
            let note = format!("Restarting backup for cluster {cluster} {lost}");
            let anew = status::anew(before, (order::name(backup, attempt), &lost), now);
            page.context.silences.forget(backup.metadata.uid.as_deref().unwrap_or_default());
            page.tell(anew, Some(normal("ReStarting", note, attempt))).await?;
            Ok(Action::requeue(pause))
        }
        Step::Complete => {
            let since = looked.report.as_ref().and_then(|report| report.recoverable_since);
            page.context.recoverable.note(backup, since);
            let event = normal("Completed", "Backup completed".to_owned(), 0);
            page.tell(status::ended(reported(before), now), Some(event)).await?;
            Ok(Action::await_change())
        }
        Step::Fail(why) => {
            page.tell(status::failed(reported(before), &why, now), Some(failure(&why))).await?;
            Ok(Action::await_change())
        }
    }
}

async fn wait_on(
    page: &mut Page<'_>,
    (before, wait): (BackupStatus, &Wait),
    now: Timestamp,
) -> Result<Action, BackupError> {
    if let Wait::ForPause { left } = wait {
        // Why is told already.
        return Ok(Action::requeue(*left));
    }
    let why = wait.to_string();
    let is_news = before.error.as_ref() != Some(&why);
    let event = Event {
        kind: Kind::Warning,
        reason: "BackupPending",
        note: format!("Backup cannot begin yet: {why}"),
        mark: String::new(),
    };
    page.tell(status::waiting(before, wait, now), is_news.then_some(event)).await?;
    Ok(Action::requeue(match wait {
        Wait::ForAgent { .. } => LOOK_LATER,
        Wait::ForTurn { .. }
        | Wait::ForCluster
        | Wait::ForManifest
        | Wait::ForWaking
        | Wait::ForArchiving { .. }
        | Wait::ForPause { .. }
        | Wait::ForTaker => LOOK_AGAIN,
    }))
}

async fn begin(
    page: &mut Page<'_>,
    (before, looked): (BackupStatus, &Looked),
    (instance, attempt): (&InstanceName, u32),
    now: Timestamp,
) -> Result<Action, BackupError> {
    let (backup, follow) = (page.backup, Action::requeue(FOLLOW));
    let begun = looked.begun(backup, (before, instance, attempt), now);
    let note = format!("Starting backup for cluster {}", backup.spec.cluster.name);
    page.tell(begun.clone(), Some(normal("Starting", note, attempt))).await?;
    info!(backup = backup.metadata.name, %instance, attempt, "a backup is asked for");
    let Some(reach) = &looked.reach else { return Ok(follow) };
    let order = BackupOrder {
        name: order::name(backup, attempt),
        immediate_checkpoint: None,
        wait_for_archive: true,
        // What is refused is told before this.
        incremental: mode::incremental(&backup.metadata).unwrap_or_default(),
    };
    let said = reach.ask((instance, names::BACKUP_BEGIN), &order, ASK_WITHIN).await;
    let said: Said<Option<BackupReport>> = said;
    match said {
        Said::Answered(Some(report)) => {
            page.tell(status::reported(begun, &report), None).await?;
            Ok(follow)
        }
        // It is read whether it was heard.
        Said::Answered(None) | Said::Silent => Ok(follow),
        Said::Refused(refusal) => {
            let step = course::refused(refusal.why, status::turn(&begun, now));
            match step {
                Step::Fail(why) => {
                    page.tell(status::failed(begun, &why, now), Some(failure(&why))).await?;
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

fn failure(why: &str) -> Event {
    let note = format!("Backup failed: {why}");
    Event { kind: Kind::Warning, reason: "Failed", note, mark: String::new() }
}

/// The status of one backup, as far as it is written.
struct Page<'a> {
    backup: &'a Backup,
    context: &'a Context,
    status: Option<BackupStatus>,
    version: Option<String>,
}

impl<'a> Page<'a> {
    fn of(backup: &'a Backup, context: &'a Context) -> Self {
        let version = backup.metadata.resource_version.clone();
        Self { backup, context, status: backup.status.clone(), version }
    }

    /// Writes what changed, and then says so. What somebody else has written meanwhile is looked at
    /// first: two agents must not be asked for the same.
    async fn tell(
        &mut self,
        status: BackupStatus,
        event: Option<Event>,
    ) -> Result<(), BackupError> {
        if self.status.as_ref() != Some(&status) {
            self.write(&status).await?;
            self.status = Some(status);
        }
        publish(self.context, self.backup, event.as_slice()).await;
        Ok(())
    }

    async fn write(&mut self, status: &BackupStatus) -> Result<(), BackupError> {
        let Self { backup, context, version, .. } = self;
        let namespace = backup.metadata.namespace.as_deref().unwrap_or_default();
        let name = backup.metadata.name.as_deref().unwrap_or_default();
        let backups: Api<Backup> = Api::namespaced(context.client.clone(), namespace);
        let whole = json!({
            "apiVersion": backup.api_version, "kind": backup.kind,
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
            "status": status,
        });
        let by = PatchParams::apply("pgherd-status").force();
        let patch = Patch::Apply(&whole);
        let written = backups.patch_status(name, &by, &patch);
        match tokio::time::timeout(WRITE_WITHIN, written).await {
            Ok(written) => {
                *version = written.map_err(BackupError::Write)?.metadata.resource_version;
                Ok(())
            }
            Err(_late) => Err(BackupError::Late),
        }
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
