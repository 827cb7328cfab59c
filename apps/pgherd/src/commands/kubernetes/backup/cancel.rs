//! Breaks off a base backup by deleting its Backup object; the operator tells its agent.
//!
//! Never touches one that is over.

use super::super::super::form::write;
use super::super::super::output::remark;
use super::super::super::progress::Progress;
use super::super::place::{Place, Reached, unread};
use super::super::wait::{BETWEEN_LOOKS, Waiting, timed_out};
use super::objects;
use super::take::object;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use pgherd_api::agent::{BackupPhase, BackupReport};
use pgherd_api::backup::{Backup, InstanceId};
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::inside;
use pgherd_kubernetes::console::read::answer;
use pgherd_local::failure::{Failure, Kind};
use tokio::time::sleep;

/// Break off a base backup that is being taken, or waits; nothing is kept of it
#[derive(clap::Args)]
#[command(after_help = "\
Deletes the Backup object, and waits until its agent has taken back what was stored.

Examples:
  pgherd backup cancel app-db
  pgherd backup cancel app-db before-the-release")]
pub(super) struct Cancel {
    #[command(flatten)]
    pub(super) place: Place,
    /// The Backup object (default: the one that is being taken)
    #[arg(value_name = "BACKUP")]
    backup: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Cancel {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, backup, waiting } = self;
        place.with(|reached| async move {
            let all = objects::of(&reached).await?.0;
            let meant = meant(&reached, &all, backup.as_deref())?;
            let name = meant.metadata.name.clone().unwrap_or_default();
            delete(&reached, meant, &name).await?;
            let taker = meant.status.as_ref().and_then(|status| status.instance_id.as_ref());
            let left = match taker {
                Some(taker) if !waiting.no_wait => taken_back(&reached, taker, &waiting).await?,
                Some(_) | None => None,
            };
            let state = match left {
                Some(BackupPhase::Completed) => "was completed before, and stays",
                Some(_) | None => "cancelled",
            };
            let document = serde_json::json!({ "name": name, "state": state });
            write(form, (&[object(&name)], &[format!("backup/{name} {state}")]), &document)
        })
    }
}

/// The one that is named, or the one that an agent takes.
fn meant<'a>(
    reached: &Reached,
    all: &'a [Backup],
    given: Option<&str>,
) -> Result<&'a Backup, Failure> {
    let phase = |backup: &Backup| backup.status.as_ref().and_then(|it| it.phase.clone());
    let is_over =
        |backup: &Backup| matches!(phase(backup).as_deref(), Some("completed" | "failed"));
    let is_taken = |backup: &&Backup| {
        let taker = backup.status.as_ref().and_then(|status| status.instance_id.as_ref());
        !is_over(backup) && taker.is_some_and(|taker| taker.pod_name.is_some())
    };
    let fix = format!("pgherd backup list {} -n {}", reached.cluster, reached.namespace);
    let Some(given) = given else {
        return all
            .iter()
            .find(is_taken)
            .ok_or_else(|| Failure::new(Kind::NotFound, "no base backup is being taken").fix(fix));
    };
    match all.iter().find(|backup| backup.metadata.name.as_deref() == Some(given)) {
        None => {
            let what = format!("there is no Backup {given} of cluster {}", reached.cluster);
            Err(Failure::new(Kind::NotFound, what).fix(fix))
        }
        Some(backup) if is_over(backup) => {
            let what = format!("backup {given} is {}", phase(backup).unwrap_or_default());
            Err(Failure::new(Kind::Refused, what).fix(format!(
                "pgherd backup delete {} -n {} {given} --yes removes what is stored",
                reached.cluster, reached.namespace
            )))
        }
        Some(backup) => Ok(backup),
    }
}

async fn delete(reached: &Reached, backup: &Backup, name: &str) -> Result<(), Failure> {
    let backups: Api<Backup> = Api::namespaced(reached.client.clone(), &reached.namespace);
    let this = Preconditions { uid: backup.metadata.uid.clone(), resource_version: None };
    let by = DeleteParams { preconditions: Some(this), ..DeleteParams::default() };
    let deleted = answer(backups.delete(name, &by)).await;
    deleted.map(drop).map_err(|error| unread(&error))
}

/// Waits until its agent is done with it; none if that cannot be seen.
async fn taken_back(
    reached: &Reached,
    taker: &InstanceId,
    waiting: &Waiting,
) -> Result<Option<BackupPhase>, Failure> {
    let named = taker.pod_name.as_deref().map(InstanceName::parse);
    let (Some(Ok(instance)), Some(session)) = (named, &taker.session_id) else { return Ok(None) };
    let mut progress = Progress::new();
    loop {
        let said = inside::agent(&reached.client, &reached.namespace, &instance).await;
        let missing = match said {
            Ok(status) => {
                let is_meant = |report: &BackupReport| report.name == *session;
                match status.backup.filter(is_meant) {
                    Some(report) if !report.phase.is_over() => {
                        format!("waiting for {instance} to take it back")
                    }
                    Some(report) => return Ok(Some(report.phase)),
                    None => return Ok(None),
                }
            }
            Err(error) if error.is_forbidden() => {
                remark("note: whether its agent has taken it back cannot be seen");
                return Ok(None);
            }
            Err(error) => error.to_string(),
        };
        progress.tell(&missing);
        if progress.elapsed() >= waiting.timeout {
            return Err(timed_out(waiting.timeout, &missing, reached));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
