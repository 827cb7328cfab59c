//! Takes a dump and follows it.
//!
//! Never ends a dump because nobody follows it any more.

use super::super::output::{say_either, warn};
use super::super::place::{self, Place};
use super::follow::follow;
use super::listed::Listed;
use super::opened;
use jiff::Timestamp;
use pgherd_api::agent::{DumpFormat, DumpOrder, DumpPasswords};
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_core::backup::retention::Policy;
use pgherd_core::units::Bytes;
use pgherd_local::control::Request;
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;

#[derive(clap::Args)]
pub(super) struct Take {
    /// The databases (default: all but templates)
    #[arg(value_name = "DB")]
    databases: Vec<String>,
    /// Only these tables of one database (default: the application's), as patterns of pg_dump
    #[arg(long = "table", value_name = "PATTERN")]
    tables: Vec<String>,
    /// One file for each database, or a file for each table (default: custom)
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// How many tables are dumped at once, with --format directory (default: 2)
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// As pg_dump --compress takes it
    #[arg(long, value_name = "LEVEL")]
    compress: Option<String>,
    /// Leave the passwords of roles out, which are stored as verifiers
    #[arg(long)]
    no_role_passwords: bool,
    /// Whom to take it from (default: as the manifest says, else prefer-standby)
    #[arg(long, value_enum)]
    target: Option<Target>,
    /// The instance to take it from
    #[arg(long, value_name = "INSTANCE", conflicts_with = "target")]
    instance: Option<String>,
    /// What people call it (default: the cluster's name and the time)
    #[arg(long, value_name = "NAME")]
    dump_name: Option<String>,
    /// Give up when a snapshot was held for so long (default: 24h)
    #[arg(long, value_name = "TIME", value_parser = place::duration)]
    snapshot_limit: Option<Duration>,
    /// Which dumps are kept: 30d, 4w, 6m, or a number (default: spec.backup.retentionPolicy)
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    retention: Option<String>,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Custom,
    Directory,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    Primary,
    PreferStandby,
}

const SNAPSHOT_LIMIT: Duration = Duration::from_hours(24);
const JOBS: u32 = 2;

fn policy(given: &str) -> Result<String, String> {
    match Policy::parse(given) {
        Ok(Policy::Count(0)) => Err("a policy of 0 keeps nothing: write 1 or more".to_owned()),
        Ok(_) => Ok(given.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Take {
    /// Whether nothing is said of what to dump.
    pub(super) fn is_plain(&self) -> bool {
        self.databases.is_empty()
            && self.tables.is_empty()
            && self.format.is_none()
            && self.jobs.is_none()
            && self.compress.is_none()
            && self.target.is_none()
            && self.instance.is_none()
            && self.dump_name.is_none()
            && self.snapshot_limit.is_none()
            && self.retention.is_none()
            && !self.no_role_passwords
            && !self.no_wait
    }

    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let (output, patience) = (place.output(), place.timeout());
        place.with(|supervisor| async move {
            let folder = supervisor.folder();
            let usual = supervisor.view().await?.database;
            let order = self.order(folder.name().as_str(), usual);
            let name = order.name.clone();
            let target = self.target.map(|target| match target {
                Target::Primary => BackupTarget::Primary,
                Target::PreferStandby => BackupTarget::PreferStandby,
            });
            let request = Request::Dump { order, target, instance: self.instance };
            let done = supervisor.ask(&request).await?;
            warn(&done.warnings);
            let Some(instance) = done.instances.first().cloned() else {
                return Err(Failure::new(Kind::Failed, "nobody takes the dump"));
            };
            if self.no_wait {
                let sentence = format!("dump/{name} begun on {instance}");
                let document = serde_json::json!({ "name": name, "instance": instance });
                return say_either(output, &sentence, &document);
            }
            let report = follow(&supervisor, (&instance, &name), patience).await?;
            warn(&report.warnings);
            let found = opened::open(supervisor.folder())?.find(&name).await?;
            let listed = Listed::of(&found);
            let took = report.ended.unwrap_or_default().duration_since(report.ordered);
            let sentence = format!(
                "dump/{} of cluster/{} completed in {:.1}s: {}, {} stored (from {instance})",
                found.id,
                folder.name(),
                took.as_secs_f64(),
                listed.databases().join(", "),
                Bytes(listed.stored_bytes()),
            );
            say_either(output, &sentence, &listed)
        })
    }

    fn order(&self, cluster: &str, usual: String) -> DumpOrder {
        // Finer than a second: to ask under the same name is to ask how that dump is.
        let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S%3f").to_string();
        let format = match self.format {
            Some(Format::Directory) => DumpFormat::Directory,
            Some(Format::Custom) | None => DumpFormat::Custom,
        };
        let databases = if self.databases.is_empty() && !self.tables.is_empty() {
            vec![usual]
        } else {
            self.databases.clone()
        };
        DumpOrder {
            name: self.dump_name.clone().unwrap_or_else(|| format!("{cluster}-{stamp}")),
            databases,
            tables: self.tables.clone(),
            format,
            jobs: self.jobs.unwrap_or(match format {
                DumpFormat::Custom => 1,
                DumpFormat::Directory => JOBS,
            }),
            compress: self.compress.clone(),
            passwords: if self.no_role_passwords {
                DumpPasswords::LeftOut
            } else {
                DumpPasswords::Kept
            },
            snapshot_limit_seconds: self.snapshot_limit.unwrap_or(SNAPSHOT_LIMIT).as_secs().max(1),
            retention: self.retention.clone(),
        }
    }
}
