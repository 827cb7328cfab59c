//! Takes a base backup and follows it.
//!
//! Never ends a backup because nobody follows it any more.

use super::super::super::backup::{Build, Pace, Target, completed, ended, words};
use super::super::output::{say_either, warn};
use super::super::place::Place;
use super::super::progress::{Headway, Progress};
use super::super::wait::unless_gone;
use jiff::Timestamp;
use pgherd_api::agent::{BackupOrder, BackupReport};
use pgherd_core::names::InstanceName;
use pgherd_local::client::Supervisor;
use pgherd_local::control::{Done, Request, View};
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;
use tokio::time::sleep;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// An agent that does not know of the backup has lost it; one that does not answer may come back.
const UNKNOWN: Duration = Duration::from_secs(5);
/// How often others may come first.
const TURNS: u32 = 5;

#[derive(clap::Args)]
pub(super) struct Take {
    /// Whom to take it from (default: as the manifest says, else prefer-standby)
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// The instance to take it from
    #[arg(long, value_name = "INSTANCE", conflicts_with = "target")]
    instance: Option<String>,
    /// What people call it (default: the cluster's name and the time)
    #[arg(long, value_name = "NAME")]
    backup_name: Option<String>,
    #[command(flatten)]
    build: Build,
    #[command(flatten)]
    pace: Pace,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

impl Take {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let (output, patience) = (place.output(), place.timeout());
        place.with(|supervisor| async move {
            let cluster = supervisor.folder().name().to_string();
            let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S%3f").to_string();
            let name = self.backup_name.unwrap_or_else(|| format!("{cluster}-{stamp}"));
            let order = BackupOrder {
                name: name.clone(),
                immediate_checkpoint: self.pace.immediate(),
                wait_for_archive: true,
                incremental: self.build.wanted(),
                asked_by: None,
                rate: self.pace.rate,
            };
            let target = self.target.map(Target::wanted);
            let request = Request::Backup { order, target, instance: self.instance };
            let done = if self.no_wait {
                supervisor.ask(&request).await?
            } else {
                in_turn(&supervisor, &request, (&name, patience)).await?
            };
            warn(&done.warnings);
            let Some(instance) = done.instances.first().cloned() else {
                return Err(Failure::new(Kind::Failed, "nobody takes the backup"));
            };
            if self.no_wait {
                let sentence = format!("backup/{name} begun on {instance}");
                let document = serde_json::json!({ "name": name, "instance": instance });
                return say_either(output, &sentence, &document);
            }
            let report = follow(&supervisor, (&instance, &name), patience).await?;
            warn(&report.warnings);
            say_either(output, &completed(&cluster, &report), &report)
        })
    }
}

/// How it ended, if its agent remembers that.
async fn past(
    supervisor: &Supervisor,
    instance: &InstanceName,
    name: &str,
) -> Result<Option<BackupReport>, Failure> {
    let (instance, name) = (instance.to_string(), name.to_owned());
    let done = supervisor.ask(&Request::ReadBackup { instance, name }).await?;
    Ok(done.backup.map(|report| *report).filter(|report| report.phase.is_over()))
}

/// Asks for it when no other one is taken; what is refused because one began in between is asked again.
async fn in_turn(
    supervisor: &Supervisor,
    request: &Request,
    (name, patience): (&str, Duration),
) -> Result<Done, Failure> {
    let mut asked = 0;
    loop {
        turn(supervisor, name, patience).await?;
        let answer = supervisor.ask(request).await;
        asked += 1;
        let is_refused = answer.as_ref().is_err_and(|failure| failure.kind == Kind::Refused);
        if !is_refused || asked == TURNS || other(&supervisor.view().await?, name).is_none() {
            return answer;
        }
    }
}

/// One of another name that is taken.
fn other<'a>(view: &'a View, name: &str) -> Option<&'a BackupReport> {
    let statuses = view.instances.iter().filter_map(|one| one.status.as_ref());
    let mut reports = statuses.filter_map(|status| status.backup.as_ref());
    reports.find(|report| !report.phase.is_over() && report.name != name)
}

/// Until no other one is taken, a schedule's perhaps. That may take as long as it likes while it gets on.
async fn turn(supervisor: &Supervisor, name: &str, patience: Duration) -> Result<(), Failure> {
    let (mut progress, mut headway) = (Progress::new(), Headway::new());
    loop {
        let view = supervisor.view().await?;
        let Some(report) = other(&view, name) else { return Ok(()) };
        let (step, detail) = words(report);
        progress.tell_step(&format!("waiting for backup {}: {step}", report.name), &detail);
        headway.at((report.phase, report.done.0, report.waits_for.clone()));
        if headway.stands() >= patience {
            let what = format!("backup {} has not got on for {patience:?}", report.name);
            return Err(Failure::new(Kind::TimedOut, what)
                .fix("wait for it, or end it: pgherd local backup cancel"));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Until it is completed. It may take as long as it likes while it gets on.
async fn follow(
    supervisor: &Supervisor,
    (instance, name): (&InstanceName, &str),
    patience: Duration,
) -> Result<BackupReport, Failure> {
    let (mut progress, mut headway) = (Progress::new(), Headway::new());
    loop {
        let view = supervisor.view().await?;
        let status = view.instance(instance).and_then(|it| it.status.as_ref());
        let report = status.map(|status| status.backup.as_ref().filter(|it| it.name == name));
        match report {
            Some(Some(report)) => {
                if report.phase.is_over() {
                    return ended(report.clone());
                }
                let (step, detail) = words(report);
                progress.tell_step(&step, &detail);
                headway.at((report.phase, report.done.0, report.waits_for.clone()));
            }
            Some(None) => {
                // Another one may have begun since it ended.
                if let Ok(Some(report)) = past(supervisor, instance, name).await {
                    return ended(report);
                }
                if headway.stands() < UNKNOWN {
                    progress.tell_step("waiting for it to begin", "");
                    sleep(BETWEEN_LOOKS).await;
                    continue;
                }
                let what = format!("{instance} takes no backup {name} any more");
                return Err(Failure::new(Kind::Failed, what).fix("pgherd local backup list"));
            }
            None => {
                unless_gone(&view, instance, &format!("backup {name}"))?;
                progress.tell_step(&format!("waiting for the agent of {instance}"), "");
            }
        }
        if headway.stands() >= patience {
            let what = format!("backup {name} has not got on for {patience:?}");
            return Err(Failure::new(Kind::TimedOut, what)
                .fix("it goes on: pgherd local backup list; pgherd local backup cancel ends it"));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
