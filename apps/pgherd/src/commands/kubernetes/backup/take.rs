//! Asks for a base backup by means of a Backup object, and follows it.
//!
//! Never ends a backup because nobody follows it any more.

use super::super::super::backup::{Build, Pace, Target, completed};
use super::super::super::form::write;
use super::super::super::output::warn;
use super::super::errand;
use super::super::place::{Place, Reached, refused};
use super::super::repository::refuse_without_archive;
use super::super::wait::Waiting;
use super::report;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use pgherd_api::agent::BackupPhase;
use pgherd_api::backup::manner::Manner;
use pgherd_api::backup::{Backup, BackupSpec};
use pgherd_api::cluster::backup::OnlineConfiguration;
use pgherd_core::names::InstanceName;
use pgherd_local::failure::{Failure, Kind};

#[derive(clap::Args)]
pub(super) struct Take {
    /// Whom to take it from (default: as the manifest says, else prefer-standby)
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// The name of the Backup object (default: the cluster's name and the time)
    #[arg(long, value_name = "NAME", alias = "backup-name")]
    name: Option<String>,
    /// The instance to take it from: its name, or its number
    #[arg(long, value_name = "INSTANCE", conflicts_with = "target")]
    instance: Option<String>,
    #[command(flatten)]
    build: Build,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    waiting: Waiting,
}

impl Take {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let form = place.form();
        place.with(|reached| async move {
            let view = reached.look().await?;
            refuse_without_archive(&view)?;
            let instance = self.instance.as_deref().map(|given| view.find(given)).transpose();
            let instance = instance.map_err(refused)?;
            let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S");
            let name = self.name.clone().unwrap_or_else(|| format!("{}-{stamp}", reached.cluster));
            let wanted = self.object(&reached, &name, instance);
            let followed = errand::ask_for(&reached, &wanted, (form, &self.waiting)).await?;
            let Some((made, heard)) = followed else { return Ok(()) };
            let whole = heard.filter(|report| report.phase == BackupPhase::Completed);
            let report = whole.or_else(|| report::of(&made)).ok_or_else(|| {
                Failure::new(Kind::Failed, format!("backup {name} does not say what it is"))
            })?;
            warn(&report.warnings);
            let line = completed(reached.cluster.as_str(), &report);
            write(form, (&[errand::object::<Backup>(&name)], &[line]), &report)
        })
    }

    fn object(&self, reached: &Reached, name: &str, instance: Option<InstanceName>) -> Backup {
        let manner = Manner { incremental: self.build.wanted(), rate: self.pace.rate, instance };
        let online = self.pace.immediate().map(|immediate_checkpoint| OnlineConfiguration {
            immediate_checkpoint,
            ..OnlineConfiguration::default()
        });
        Backup {
            api_version: Backup::api_version(&()).into_owned(),
            kind: Backup::kind(&()).into_owned(),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(reached.namespace.clone()),
                annotations: manner.annotations(),
                ..ObjectMeta::default()
            },
            spec: BackupSpec {
                target: self.target.map(Target::wanted),
                online_configuration: online,
                ..BackupSpec::of(reached.cluster.as_str())
            },
            status: None,
        }
    }
}
