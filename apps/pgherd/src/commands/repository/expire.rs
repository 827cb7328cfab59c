//! Removes what the retention policy gives up.
//!
//! Never removes the last backup that can be restored.

use super::{Answer, Opened, counted};
use pgherd_agent::backup::retention;
use pgherd_core::backup::retention::{Fate, Plan, Policy};
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Remove the backups and the log that the retention policy gives up
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Expire {
    /// Only tell what would be removed
    #[arg(long)]
    dry_run: bool,
    /// 30d, 4w, 6m, or a number of backups (default: spec.backup.retentionPolicy)
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<String>,
}

/// Reads one from the command line.
pub(crate) fn policy(given: &str) -> Result<String, String> {
    match Policy::parse(given) {
        Ok(Policy::Count(0)) => Err("a policy of 0 keeps nothing: write 1 or more".to_owned()),
        Ok(_) => Ok(given.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What becomes of each backup, and of the log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Expired {
    dry_run: bool,
    backups: Vec<Judged>,
    wal: Cut,
    #[serde(default)]
    log_files_removed: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    backup: String,
    fate: Word,
    because: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Word {
    Kept,
    Removed,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kept => "kept",
            Self::Removed => "removed",
        })
    }
}

/// The reason alone, of a fate with its reason.
pub(super) fn parted(said: &str) -> String {
    said.split_once(": ").map_or(said, |(_, because)| because).to_owned()
}

/// Which segments are kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cut {
    /// What is older is removed; nothing is when absent.
    before: Option<String>,
    /// What backups that stand alone need.
    except: Vec<Span>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    first: String,
    last: String,
}

impl Expire {
    pub(super) async fn answer(&self, opened: &Opened) -> Result<Expired, Failure> {
        opened.refuse_other().await?;
        let policy = wanted(self.policy.as_deref(), opened, "backups")?;
        let failed = |error| opened.failed(&error);
        let planned = retention::planned(&opened.repository, policy).await;
        let (_, plan) = planned.map_err(failed)?;
        let removed = if self.dry_run {
            None
        } else {
            let removed = opened.repository.prune(&plan).await.map_err(failed)?.log;
            opened.repository.sweep().await.map_err(failed)?;
            Some(removed)
        };
        Ok(told(&plan, removed))
    }
}

/// What the command says, else the manifest; `all` are kept if neither does.
pub(super) fn wanted(given: Option<&str>, opened: &Opened, all: &str) -> Result<Policy, Failure> {
    match given.or(opened.spec.retention.as_deref()).map(Policy::parse) {
        Some(Ok(policy)) => Ok(policy),
        Some(Err(error)) => Err(Failure::from_error(Kind::Refused, &error)),
        None => {
            let what = format!("no retention policy is set: all {all} are kept");
            Err(Failure::new(Kind::Refused, what)
                .fix("add spec.backup.retentionPolicy to the manifest, or --policy 30d"))
        }
    }
}

fn told(plan: &Plan, log_files_removed: Option<u64>) -> Expired {
    let judged = plan.backups.iter().map(|(id, fate)| {
        let because = parted(&fate.to_string());
        let fate = match fate {
            Fate::Kept(_) => Word::Kept,
            Fate::Removed(_) => Word::Removed,
        };
        Judged { backup: id.to_string(), fate, because }
    });
    let span = |(first, last): &(_, _)| Span { first: text(first), last: text(last) };
    Expired {
        dry_run: log_files_removed.is_none(),
        backups: judged.collect(),
        wal: Cut {
            before: plan.wal.before.as_ref().map(text),
            except: plan.wal.except.iter().map(span).collect(),
        },
        log_files_removed,
    }
}

fn text(segment: &pgherd_core::wal::Segment) -> String {
    segment.to_string()
}

impl Answer for Expired {
    type Document = Self;

    fn document(&self) -> &Self {
        self
    }

    /// Those that go.
    fn names(&self) -> Vec<String> {
        let gone = self.backups.iter().filter(|one| one.fate == Word::Removed);
        gone.map(|one| format!("backup/{}", one.backup)).collect()
    }

    fn lines(&self) -> Vec<String> {
        let line = |one: &Judged| format!("{} {}: {}", one.backup, one.fate, one.because);
        let mut lines: Vec<String> = self.backups.iter().map(line).collect();
        let log = match &self.wal.before {
            Some(before) => format!("log before {before} removed"),
            None => "no log removed".to_owned(),
        };
        let except = self.wal.except.iter();
        let except = except.map(|Span { first, last }| format!(", except {first} to {last}"));
        lines.push(log + &except.collect::<String>());
        let count = self.names().len();
        let backups = counted(u64::try_from(count).unwrap_or(u64::MAX), "backup");
        lines.push(match self.log_files_removed {
            Some(files) => format!("{backups} and {} of the log removed", counted(files, "file")),
            None => format!("{backups} would be removed (dry run)"),
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use pgherd_core::backup::BackupId;
    use pgherd_core::backup::retention::{Keep, Remove};
    use pgherd_core::wal::Segment;

    #[test]
    fn each_backup_is_an_object_with_its_fate_and_reason() {
        let id = |id| BackupId::parse(id).unwrap();
        let segment = |name| Segment::parse(name).unwrap();
        let plan = Plan {
            backups: vec![
                (id("20261122T112233"), Fate::Removed(Remove::BeforeTheWindow)),
                (id("20261129T112233"), Fate::Kept(Keep::Inside)),
            ],
            wal: pgherd_core::backup::retention::Cut {
                before: Some(segment("000000010000000000000007")),
                except: vec![(
                    segment("000000010000000000000003"),
                    segment("000000010000000000000004"),
                )],
            },
        };
        let told = told(&plan, Some(1));
        let document = serde_json::to_string(&told).unwrap();
        expect![[r#"
            {"dryRun":false,"backups":[{"backup":"20261122T112233","fate":"removed","because":"the window begins after it"},{"backup":"20261129T112233","fate":"kept","because":"it ended within the window"}],"wal":{"before":"000000010000000000000007","except":[{"first":"000000010000000000000003","last":"000000010000000000000004"}]},"logFilesRemoved":1}
            20261122T112233 removed: the window begins after it
            20261129T112233 kept: it ended within the window
            log before 000000010000000000000007 removed, except 000000010000000000000003 to 000000010000000000000004
            1 backup and 1 file of the log removed
        "#]]
        .assert_eq(&format!("{document}\n{}\n", told.lines().join("\n")));
    }
}
