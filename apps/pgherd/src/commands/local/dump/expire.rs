//! Removes the dumps that a retention policy gives up.
//!
//! Never removes the last dump of the same databases.

use super::super::output::{Output, say, say_json};
use super::super::place::Place;
use super::opened;
use pgherd_agent::dump::retention;
use pgherd_core::backup::retention::Policy;
use pgherd_core::dump::Fate;
use pgherd_local::failure::{Failure, Kind};

/// Remove the dumps that the retention policy gives up
#[derive(clap::Args)]
#[command(after_help = "\
The same happens after each dump. Dumps of the same databases are counted together.

Examples:
  pgherd local dump expire --dry-run
  pgherd local dump expire --policy 7d")]
pub(super) struct Expire {
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// 30d, 4w, 6m, or a number of dumps (default: spec.backup.retentionPolicy)
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
}

impl Expire {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let output = place.output();
        place.inside(|folder| async move {
            let catalogue = opened::open(&folder)?;
            catalogue.opened.refuse_other().await?;
            let said = self.policy.as_deref().or(catalogue.opened.spec.retention.as_deref());
            let Some(said) = said else {
                let what = "no retention policy is set: all dumps are kept";
                return Err(Failure::new(Kind::Refused, what)
                    .fix("add spec.backup.retentionPolicy to the manifest, or --policy 30d"));
            };
            let policy = Policy::parse(said);
            let policy = policy.map_err(|error| Failure::from_error(Kind::Usage, &error))?;
            let failed = |error| catalogue.failed(&error);
            let plan = retention::planned(&catalogue.dumps, policy).await.map_err(failed)?;
            if !self.dry_run {
                retention::apply(&catalogue.dumps, &plan).await.map_err(failed)?;
            }
            if output == Output::Json {
                let document = serde_json::json!({ "dryRun": self.dry_run, "dumps": plan });
                return say_json(&document);
            }
            for (id, fate) in &plan {
                say(&format!("{id}  {fate}"));
            }
            let is_removed = |(_, fate): &&(_, Fate)| matches!(fate, Fate::Removed(_));
            let count = plan.iter().filter(is_removed).count();
            say(&if self.dry_run {
                format!("{count} dumps would be removed (dry run)")
            } else {
                format!("{count} dumps removed")
            });
            Ok(())
        })
    }
}
