//! Removes what the retention policy gives up.
//!
//! Never removes the last backup that can be restored.

use super::super::output::{Output, say, say_all, say_json};
use super::super::place::Place;
use super::super::repository::{self, Opened};
use pgherd_agent::backup::retention;
use pgherd_core::backup::retention::{Fate, Plan, Policy};
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;

/// Remove the backups and the log that the retention policy gives up
#[derive(clap::Args)]
#[command(after_help = "\
The same happens after each backup.

Examples:
  pgherd local backup expire --dry-run
  pgherd local backup expire --policy 7d")]
pub(super) struct Expire {
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// 30d, 4w, 6m, or a number of backups (default: spec.backup.retentionPolicy)
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<Policy>,
}

fn policy(given: &str) -> Result<Policy, String> {
    match Policy::parse(given) {
        Ok(Policy::Count(0)) => Err("a policy of 0 keeps nothing: write 1 or more".to_owned()),
        Ok(policy) => Ok(policy),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    dry_run: bool,
    #[serde(flatten)]
    plan: &'a Plan,
    log_files_removed: Option<u64>,
}

impl Expire {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let opened = repository::open(&folder)?;
            opened.refuse_other(&folder).await?;
            let policy = self.policy(&opened)?;
            let failed = |error| opened.failed(&error);
            let planned = retention::planned(&opened.repository, policy).await;
            let (_, plan) = planned.map_err(failed)?;
            let pruned = if self.dry_run {
                None
            } else {
                Some(opened.repository.prune(&plan).await.map_err(failed)?)
            };
            if output == Output::Json {
                let log_files_removed = pruned.map(|pruned| pruned.log);
                let dry_run = self.dry_run;
                return say_json(&Told { dry_run, plan: &plan, log_files_removed });
            }
            say_all(&plan.to_string().lines().map(str::to_owned).collect::<Vec<_>>());
            let is_removed = |(_, fate): &&(_, Fate)| matches!(fate, Fate::Removed(_));
            let count = plan.backups.iter().filter(is_removed).count();
            say(&match pruned {
                Some(pruned) => {
                    format!("{} backups and {} files of the log removed", count, pruned.log)
                }
                None => format!("{count} backups would be removed (dry run)"),
            });
            Ok(())
        })
    }

    fn policy(&self, opened: &Opened) -> Result<Policy, Failure> {
        let said = opened.spec.retention.as_deref().map(Policy::parse);
        match (self.policy, said) {
            (Some(policy), _) | (None, Some(Ok(policy))) => Ok(policy),
            (None, Some(Err(error))) => Err(Failure::from_error(Kind::Refused, &error)),
            (None, None) => {
                let what = "no retention policy is set: all backups are kept";
                Err(Failure::new(Kind::Refused, what)
                    .fix("add spec.backup.retentionPolicy to the manifest, or --policy 30d"))
            }
        }
    }
}
