//! Asks an agent for a base backup.
//!
//! Never follows it: what comes of it is in the agent's status.

use super::Supervisor;
use super::requests::about;
use crate::control::{Done, Effect};
use crate::failure::{Failure, Kind};
use jiff::Timestamp;
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{CallError, Endpoint};
use pgherd_api::agent::{
    BackupNamed, BackupOrder, BackupPhase, BackupReport, RestorePoint, RestorePointOrder, Status,
    names,
};
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_api::console::no_restore_point;
use pgherd_core::backup::taker::{Because, Candidate, Prefer, taker};
use pgherd_core::names::InstanceName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::time::Duration;

/// An agent writes down what it was asked for, and answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// A record of the log, and a segment that is finished.
const RESTORE_POINT: Duration = Duration::from_secs(25);

impl Supervisor {
    pub(super) async fn back_up(
        &mut self,
        order: BackupOrder,
        target: Option<BackupTarget>,
        instance: Option<&str>,
    ) -> Result<Done, Failure> {
        self.refuse_without_archive()?;
        let (name, warnings) = self.taker(target, instance).await?;
        let asked = Timestamp::now();
        let report: Option<BackupReport> =
            self.ask_agent(&name, names::BACKUP_BEGIN, &order).await?;
        // Agents are on this machine: its clock tells whether they knew the name before.
        let earlier = report.filter(|report| report.ordered < asked);
        let goes_on = earlier.as_ref().map(again).transpose()?;
        let warnings = warnings.into_iter().chain(goes_on).collect();
        Ok(Done { warnings, ..about(BTreeSet::from([name])) })
    }

    pub(super) fn refuse_without_archive(&self) -> Result<(), Failure> {
        if self.has_archive() {
            return Ok(());
        }
        let what = format!("cluster {} has no archive to back up to", self.folder.name());
        Err(Failure::new(Kind::Refused, what)
            .fix("add spec.backup.barmanObjectStore to its manifest, pgherd local up -f it"))
    }

    pub(super) fn has_archive(&self) -> bool {
        let kept = self.manifest.as_ref();
        kept.is_some_and(|kept| kept.checked.postgres.archive.is_some())
    }

    /// The instance that is named, or whoever suits.
    pub(super) async fn taker(
        &self,
        target: Option<BackupTarget>,
        instance: Option<&str>,
    ) -> Result<(InstanceName, Vec<String>), Failure> {
        let usual = self.manifest.as_ref().map(|kept| kept.checked.backup_target);
        match instance {
            Some(given) => Ok((self.find(given)?, Vec::new())),
            None => self.choose(target.or(usual).unwrap_or_default()).await,
        }
    }

    pub(super) async fn read_backup(&self, instance: &str, name: String) -> Result<Done, Failure> {
        let instance = self.find(instance)?;
        let named = BackupNamed { name: Some(name) };
        let known: Option<BackupReport> =
            self.ask_agent(&instance, names::BACKUP_READ, &named).await?;
        let backup = known.map(Box::new);
        Ok(Done { effect: Effect::Unchanged, backup, ..about(BTreeSet::from([instance])) })
    }

    pub(super) async fn cancel_backup(
        &mut self,
        instance: &str,
        name: String,
    ) -> Result<Done, Failure> {
        let instance = self.find(instance)?;
        let named = BackupNamed { name: Some(name) };
        let _cancelled: Option<BackupReport> =
            self.ask_agent(&instance, names::BACKUP_CANCEL, &named).await?;
        Ok(about(BTreeSet::from([instance])))
    }

    pub(super) async fn finish_log(&self) -> Result<Done, Failure> {
        let holder = self.record.as_ref().map(|record| record.holder.instance.clone());
        let Some(primary) = holder else {
            return Err(Failure::new(Kind::Refused, "nobody has been primary yet"));
        };
        let done: Result<(), CallError> = match self.agent(&primary) {
            Some(agent) => self.client.call(&agent, names::BACKUP_LOG, &(), PATIENCE).await,
            None => return Err(Failure::new(Kind::Refused, format!("{primary} does not run"))),
        };
        let failed = |error: CallError| {
            let what = format!("{primary} did not finish its log");
            Failure::new(Kind::Failed, what).because(chain(&error).to_string())
        };
        done.map_err(failed).map(|()| about(BTreeSet::from([primary.clone()])))
    }

    pub(super) async fn restore_point(&self, name: String) -> Result<Done, Failure> {
        if !self.has_archive() {
            return Err(Failure::new(Kind::Refused, no_restore_point(self.folder.name())).fix(
                "add spec.backup.barmanObjectStore to its manifest, pgherd local up -f it, then \
                 pgherd local backup",
            ));
        }
        let holder = self.record.as_ref().map(|record| record.holder.instance.clone());
        let Some(primary) = holder else {
            return Err(Failure::new(Kind::Refused, "nobody has been primary yet"));
        };
        let Some(agent) = self.agent(&primary) else {
            return Err(Failure::new(Kind::Refused, format!("{primary} does not run")));
        };
        let order = RestorePointOrder { name };
        let made: Result<RestorePoint, CallError> =
            self.client.call(&agent, names::RESTORE_POINT, &order, RESTORE_POINT).await;
        let made = made.map_err(|error| {
            let what = format!("{primary} made no restore point");
            Failure::new(Kind::Failed, what)
                .because(chain(&error).to_string())
                .fix("pgherd local explain")
        })?;
        let statuses = self.inquiry(|name| *name == primary).ask().await;
        let archive = statuses.into_values().flatten().find_map(|status| status.archive);
        let failing = archive.and_then(|archive| archive.failing).map(|failing| {
            format!(
                "the log is not archived at present, so nothing can be restored to this point yet: {}",
                failing.why
            )
        });
        let warnings = failing.into_iter().collect();
        Ok(Done { restore_point: Some(made), warnings, ..about(BTreeSet::from([primary])) })
    }

    /// Who takes it, and what people should know of that.
    async fn choose(&self, target: BackupTarget) -> Result<(InstanceName, Vec<String>), Failure> {
        let statuses = self.inquiry(|_| true).ask().await;
        let candidates: Vec<Candidate> =
            statuses.values().flatten().map(Status::candidate).collect();
        let prefer = match target {
            BackupTarget::Primary => Prefer::Primary,
            BackupTarget::PreferStandby => Prefer::Standby,
        };
        let chosen = taker(prefer, &candidates).map_err(|error| {
            Failure::new(Kind::Refused, error.to_string()).fix("pgherd local explain")
        })?;
        let warning = match chosen.because {
            Because::NoStandbyStreams if candidates.len() > 1 => {
                Some(format!("taken from {}, {}", chosen.name, chosen.because))
            }
            Because::NoStandbyStreams | Because::Primary | Because::MostLog | Because::Named => {
                None
            }
        };
        Ok((chosen.name.clone(), warning.into_iter().collect()))
    }

    pub(super) async fn ask_agent<Report: DeserializeOwned>(
        &self,
        name: &InstanceName,
        route: &str,
        question: &impl Serialize,
    ) -> Result<Option<Report>, Failure> {
        let Some(endpoint) = self.agent(name) else {
            let what = format!("the agent of {name} does not run");
            let fix = format!("pgherd local start {}", name.serial());
            return Err(Failure::new(Kind::Refused, what).fix(fix));
        };
        let asked: Result<Option<Report>, CallError> =
            self.client.call(&endpoint, route, question, PATIENCE).await;
        asked.map_err(|error| match &error {
            CallError::Refused { source, .. } => Failure::new(Kind::Refused, source.why.clone()),
            _ => Failure::new(Kind::Failed, format!("the agent of {name} does not answer"))
                .because(chain(&error).to_string())
                .fix("pgherd local status"),
        })
    }

    fn agent(&self, name: &InstanceName) -> Option<Endpoint> {
        self.instances.get(name)?.pid()?;
        Some(self.agent_at(name))
    }
}

/// What is told of a backup that was asked for under this name before: one that is over is not taken
/// again, and the other one is followed.
fn again(earlier: &BackupReport) -> Result<String, Failure> {
    let (name, at) = (&earlier.name, earlier.ordered.strftime("%Y-%m-%d %H:%M:%SZ"));
    let became = match earlier.phase {
        BackupPhase::Starting | BackupPhase::Checkpoint | BackupPhase::Copy | BackupPhase::Wal => {
            return Ok(format!("backup {name} goes on since {at}: nothing new is begun"));
        }
        BackupPhase::Completed => "is completed",
        BackupPhase::Failed => "has failed",
        BackupPhase::Cancelled => "was cancelled",
    };
    let what = format!("the backup {name} of {at} {became}, and no other one has its name");
    let failure =
        Failure::new(Kind::Refused, what).fix("leave --backup-name out, or choose another");
    Err(match &earlier.failure {
        Some(why) => failure.because(why.clone()),
        None => failure,
    })
}
