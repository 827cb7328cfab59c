//! Removes the dumps that a retention policy gives up.
//!
//! Never removes the last dump of the same databases.

use super::super::expire::{Word, parted, policy, wanted};
use super::super::{Answer, Opened, counted};
use pgherd_agent::dump::retention;
use pgherd_core::backup::BackupId;
use pgherd_core::dump::Fate;
use pgherd_local::failure::Failure;
use serde::{Deserialize, Serialize};

/// Remove the dumps that the retention policy gives up
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Expire {
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// 30d, 4w, 6m, or a number of dumps (default: spec.backup.retentionPolicy)
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<String>,
}

/// What becomes of each dump.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Expired {
    dry_run: bool,
    dumps: Vec<Judged>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    dump: String,
    fate: Word,
    because: String,
}

impl Expire {
    pub(crate) async fn answer(&self, opened: &Opened) -> Result<Expired, Failure> {
        opened.refuse_other().await?;
        let policy = wanted(self.policy.as_deref(), opened, "dumps")?;
        let (dumps, failed) = (opened.dumps(), |error| opened.dump_failed(&error));
        let plan = retention::planned(&dumps, policy).await.map_err(failed)?;
        if !self.dry_run {
            retention::apply(&dumps, &plan).await.map_err(failed)?;
        }
        Ok(Expired { dry_run: self.dry_run, dumps: plan.iter().map(judged).collect() })
    }
}

fn judged((id, fate): &(BackupId, Fate)) -> Judged {
    let word = match fate {
        Fate::Kept(_) => Word::Kept,
        Fate::Removed(_) => Word::Removed,
    };
    Judged { dump: id.to_string(), fate: word, because: parted(&fate.to_string()) }
}

impl Answer for Expired {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    /// Those that go.
    fn names(&self) -> Vec<String> {
        let gone = self.dumps.iter().filter(|one| one.fate == Word::Removed);
        gone.map(|one| format!("dump/{}", one.dump)).collect()
    }

    fn lines(&self) -> Vec<String> {
        let line = |one: &Judged| format!("{} {}: {}", one.dump, one.fate, one.because);
        let mut lines: Vec<String> = self.dumps.iter().map(line).collect();
        let count = u64::try_from(self.names().len()).unwrap_or(u64::MAX);
        let dumps = counted(count, "dump");
        lines.push(if self.dry_run {
            format!("{dumps} would be removed (dry run)")
        } else {
            format!("{dumps} removed")
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_core::dump::{Keep, Remove};

    #[test]
    fn each_dump_has_its_fate_and_the_reason() {
        let id = |id| BackupId::parse(id).unwrap();
        let plan = [
            (id("20261122T112233"), Fate::Removed(Remove::Surplus)),
            (id("20261129T112233"), Fate::Kept(Keep::Last)),
        ];
        let told = Expired { dry_run: true, dumps: plan.iter().map(judged).collect() };
        let document = serde_json::to_string(&told).unwrap();
        expect_test::expect![[r#"
            {"dryRun":true,"dumps":[{"dump":"20261122T112233","fate":"removed","because":"enough newer ones are there"},{"dump":"20261129T112233","fate":"kept","because":"the last one of its databases"}]}
            20261122T112233 removed: enough newer ones are there
            20261129T112233 kept: the last one of its databases
            1 dump would be removed (dry run)
        "#]]
        .assert_eq(&format!("{document}\n{}\n", told.lines().join("\n")));
    }
}
