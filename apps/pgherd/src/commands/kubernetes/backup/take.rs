//! Asks for a base backup by means of a Backup object, and follows it.
//!
//! Never ends a backup because nobody follows it any more.

use super::super::super::backup::{Build, Target, completed, words};
use super::super::super::form::{Form, write};
use super::super::super::output::{remark, warn};
use super::super::super::progress::Progress;
use super::super::place::{Place, Reached, unread};
use super::super::repository::refuse_without_archive;
use super::super::wait::{BETWEEN_LOOKS, Waiting};
use super::report;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Resource};
use pgherd_agent::chain::chain;
use pgherd_api::agent::{BackupPhase, BackupReport};
use pgherd_api::backup::{Backup, BackupMethod, BackupSpec, mode};
use pgherd_api::cluster::references::LocalObjectReference;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::inside;
use pgherd_kubernetes::console::read::{ReadError, answer};
use pgherd_local::failure::{Failure, Kind};
use std::time::Instant;
use tokio::time::sleep;

#[derive(clap::Args)]
pub(super) struct Take {
    /// Whom to take it from (default: as the manifest says, else prefer-standby)
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// The name of the Backup object (default: the cluster's name and the time)
    #[arg(long, value_name = "NAME", alias = "backup-name")]
    name: Option<String>,
    #[command(flatten)]
    build: Build,
    #[command(flatten)]
    waiting: Waiting,
}

impl Take {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let form = place.form();
        place.with(|reached| async move {
            refuse_without_archive(&reached.look().await?)?;
            let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S");
            let name = self.name.clone().unwrap_or_else(|| format!("{}-{stamp}", reached.cluster));
            let backups: Api<Backup> = Api::namespaced(reached.client.clone(), &reached.namespace);
            let wanted = self.object(&reached, &name);
            let made = match answer(backups.create(&PostParams::default(), &wanted)).await {
                Ok(made) => made,
                Err(ReadError::Outrun) => return Err(taken(&reached, &backups, &name).await),
                Err(error) => return Err(unread(&error)),
            };
            if self.waiting.no_wait {
                return told_created(form, &made);
            }
            let following = Following { reached: &reached, backups, name: name.clone() };
            let report = following.follow(&self.waiting).await?;
            warn(&report.warnings);
            let line = completed(reached.cluster.as_str(), &report);
            write(form, (&[object(&name)], &[line]), &report)
        })
    }

    fn object(&self, reached: &Reached, name: &str) -> Backup {
        Backup {
            api_version: Backup::api_version(&()).into_owned(),
            kind: Backup::kind(&()).into_owned(),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(reached.namespace.clone()),
                annotations: mode::annotations(self.build.wanted()),
                ..ObjectMeta::default()
            },
            spec: BackupSpec {
                cluster: LocalObjectReference { name: reached.cluster.to_string() },
                method: BackupMethod::BarmanObjectStore,
                target: self.target.map(Target::wanted),
                online: None,
                online_configuration: None,
                plugin_configuration: None,
            },
            status: None,
        }
    }
}

pub(super) fn object(name: &str) -> String {
    format!("backup.postgresql.cnpg.io/{name}")
}

fn told_created(form: Form, made: &Backup) -> Result<(), Failure> {
    let name = made.metadata.name.as_deref().unwrap_or_default();
    let document = serde_json::json!({
        "name": name, "namespace": made.metadata.namespace, "cluster": made.spec.cluster.name,
    });
    write(form, (&[object(name)], &[format!("backup/{name} created")]), &document)
}

/// Another object has the name: what it tells is told, since it would be of no other one.
async fn taken(reached: &Reached, backups: &Api<Backup>, name: &str) -> Failure {
    let namespace = &reached.namespace;
    let what = format!("there is a Backup {name} in {namespace} already");
    let failure = Failure::new(Kind::Refused, what).fix(format!(
        "choose another --name, or remove it first: kubectl delete backups.postgresql.cnpg.io \
         {name} -n {namespace}"
    ));
    let Ok(Some(found)) = answer(backups.get_opt(name)).await else { return failure };
    let status = found.status.unwrap_or_default();
    let phase = status.phase.unwrap_or_else(|| "new".to_owned());
    failure.because(match status.error {
        Some(why) => format!("it is {phase}: {why}"),
        None => format!("it is {phase}"),
    })
}

/// One backup that is followed.
struct Following<'a> {
    reached: &'a Reached,
    backups: Api<Backup>,
    name: String,
}

/// What was seen of it last, so that getting on is noticed.
type Moment = (Option<String>, Option<String>, u64);

impl Following<'_> {
    /// Until it is completed. It may take as long as it likes while it gets on.
    async fn follow(&self, waiting: &Waiting) -> Result<BackupReport, Failure> {
        let name = &self.name;
        let (mut progress, mut moved) = (Progress::new(), Instant::now());
        let (mut last, mut ear): (Option<Moment>, _) = (None, Ear::Open);
        loop {
            let backup = match answer(self.backups.get_opt(name)).await {
                Ok(Some(backup)) => Some(backup),
                Ok(None) => {
                    let what = format!("backup {name} was deleted, and so broken off");
                    return Err(Failure::new(Kind::Failed, what));
                }
                Err(error) => {
                    progress.tell(&error.to_string());
                    None
                }
            };
            if let Some(backup) = backup {
                let heard = self.hear(&backup, &mut ear).await;
                if let Some(ended) = over(&backup, heard.as_ref()) {
                    return ended;
                }
                let (step, detail) = match &heard {
                    Some(report) if !report.phase.is_over() => words(report),
                    Some(_) | None => said(&backup),
                };
                let done = heard.map_or(0, |report| report.done.0);
                let now = (Some(step.clone()), phase(&backup), done);
                if last.as_ref() != Some(&now) {
                    (last, moved) = (Some(now), Instant::now());
                }
                progress.tell_step(&step, &detail);
            }
            if moved.elapsed() >= waiting.timeout {
                return Err(self.timed_out(waiting));
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// What the agent says that takes it.
    async fn hear(&self, backup: &Backup, ear: &mut Ear) -> Option<BackupReport> {
        if *ear == Ear::Shut {
            return None;
        }
        let taker = backup.status.as_ref()?.instance_id.as_ref()?;
        let instance = InstanceName::parse(taker.pod_name.as_ref()?).ok()?;
        let Reached { client, namespace, .. } = self.reached;
        match inside::agent(client, namespace, &instance).await {
            Ok(status) => {
                status.backup.filter(|report| Some(&report.name) == taker.session_id.as_ref())
            }
            Err(error) if error.is_forbidden() => {
                *ear = Ear::Shut;
                remark(&format!(
                    "note: how far it is cannot be seen (it takes the right to create pods/exec \
                     in {namespace})"
                ));
                None
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "its agent says nothing");
                None
            }
        }
    }

    fn timed_out(&self, waiting: &Waiting) -> Failure {
        let (name, cluster) = (&self.name, &self.reached.cluster);
        let namespace = &self.reached.namespace;
        let what = format!("backup {name} has not got on for {:?}", waiting.timeout);
        Failure::new(Kind::TimedOut, what).fix(format!(
            "it goes on: pgherd backup list {cluster} -n {namespace}; pgherd backup cancel \
             {cluster} -n {namespace} {name} ends it"
        ))
    }
}

/// Whether agents may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ear {
    Open,
    Shut,
}

fn phase(backup: &Backup) -> Option<String> {
    backup.status.as_ref()?.phase.clone()
}

/// How it ended, if it did.
fn over(backup: &Backup, heard: Option<&BackupReport>) -> Option<Result<BackupReport, Failure>> {
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    match phase(backup)?.as_str() {
        "completed" => {
            let whole = heard.filter(|report| report.phase == BackupPhase::Completed).cloned();
            Some(whole.or_else(|| report::of(backup)).ok_or_else(|| {
                Failure::new(Kind::Failed, format!("backup {name} does not say what it is"))
            }))
        }
        "failed" => {
            let why = backup.status.as_ref().and_then(|status| status.error.clone());
            let failure = Failure::new(Kind::Failed, format!("backup {name} failed"));
            Some(Err(failure.because(why.unwrap_or_default())))
        }
        _ => None,
    }
}

/// What the object says of it.
fn said(backup: &Backup) -> (String, String) {
    let status = backup.status.as_ref();
    let why = status.and_then(|status| status.error.clone());
    let step = match (phase(backup), why) {
        (None, _) => "waiting for the operator".to_owned(),
        (Some(phase), Some(why)) => format!("{phase}: {why}"),
        (Some(phase), None) => phase,
    };
    (step, String::new())
}
