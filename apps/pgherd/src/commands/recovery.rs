//! To what a new cluster is recovered, and what people are told of it meanwhile.
//!
//! Never looks into a repository.

use super::backup::pace;
use super::origin::Wanted;
use super::repository::counted;
use jiff::Timestamp;
use pgherd_api::agent::{RecoveryPhase, RecoveryReport};
use pgherd_api::cluster::bootstrap::RecoveryTarget;
use pgherd_api::cluster::recovery::{parse_time, parse_transaction};
use pgherd_core::units::Lsn;

/// What shall be recovered.
#[derive(clap::Args)]
pub(crate) struct Wish {
    #[command(flatten)]
    target: Target,
    /// Just before the target instead of just after it
    #[arg(long, conflicts_with_all = ["immediate", "latest", "to_name"])]
    exclusive: bool,
    /// The timeline to follow (default: the newest)
    #[arg(long, value_name = "N")]
    timeline: Option<u32>,
    /// The backup to begin with, by its id, its name, or `latest`; --to-xid and --to-name need one
    /// (default: the nearest before the target)
    #[arg(long, value_name = "BACKUP")]
    pub(crate) backup: Option<String>,
    /// How many instances the new cluster has (default: as many as the source)
    #[arg(long, value_name = "N")]
    pub(crate) instances: Option<u32>,
    /// Only show how it would go
    #[arg(long)]
    pub(crate) plan: bool,
}

/// Where it stops: one of these.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// As it was at this moment; UTC without a zone
    #[arg(long, value_name = "TIME", value_parser = time)]
    to_time: Option<Timestamp>,
    /// As it was at this position of the log
    #[arg(long, value_name = "LSN", value_parser = lsn)]
    to_lsn: Option<Lsn>,
    /// As it was when this transaction was committed
    #[arg(long, value_name = "XID", value_parser = xid, requires = "backup")]
    to_xid: Option<u32>,
    /// As it was at this restore point
    #[arg(long, value_name = "NAME", requires = "backup")]
    to_name: Option<String>,
    /// As it was when the backup ended
    #[arg(long, alias = "to-immediate")]
    immediate: bool,
    /// As far as the log goes
    #[arg(long)]
    latest: bool,
}

fn time(given: &str) -> Result<Timestamp, String> {
    parse_time(given).ok_or_else(|| "write it like 2026-11-22T14:31:00Z".to_owned())
}

fn lsn(given: &str) -> Result<Lsn, String> {
    Lsn::parse(given).map_err(|error| error.to_string())
}

fn xid(given: &str) -> Result<u32, String> {
    parse_transaction(given).ok_or_else(|| "write a number from 3 to 4294967295".to_owned())
}

impl Wish {
    /// As far as the log goes, from the newest backup.
    pub(crate) fn latest(wanted: &Wanted) -> Self {
        let target = Target {
            to_time: None,
            to_lsn: None,
            to_xid: None,
            to_name: None,
            immediate: false,
            latest: true,
        };
        let (instances, plan) = (wanted.instances, wanted.plan);
        Self { target, exclusive: false, timeline: None, backup: None, instances, plan }
    }

    /// Whether log after the backup is needed.
    pub(crate) fn needs_log(&self) -> bool {
        !self.target.immediate
    }

    /// The target as a manifest has it.
    pub(crate) fn aim(&self, backup_id: Option<String>) -> RecoveryTarget {
        RecoveryTarget {
            target_time: self.target.to_time.map(|time| time.to_string()),
            target_lsn: self.target.to_lsn.map(|lsn| lsn.to_string()),
            target_xid: self.target.to_xid.map(|xid| xid.to_string()),
            target_name: self.target.to_name.clone(),
            target_immediate: self.target.immediate.then_some(true),
            target_tli: self.timeline.map(|timeline| timeline.to_string()),
            exclusive: self.exclusive.then_some(true),
            backup_id,
        }
    }
}

/// What came out of it.
pub(crate) fn sentence(
    (new, source): (&str, &str),
    report: &RecoveryReport,
    seconds: f64,
) -> String {
    let backup = report.backup.as_deref().unwrap_or("?");
    let (target, last) = (&report.target, last(report));
    format!(
        "cluster/{new} restored from backup/{backup} of cluster/{source} to {target} in {seconds:.1}s: {last}"
    )
}

/// The same of a cluster that a manifest made.
pub(crate) fn came_about(report: &RecoveryReport) -> String {
    let backup = report.backup.as_deref().unwrap_or("?");
    format!("from backup/{backup} to {}: {}", report.target, last(report))
}

fn last(report: &RecoveryReport) -> String {
    let last = match report.last_commit {
        Some(at) => format!("last commit {at}"),
        None => "no commit after the backup".to_owned(),
    };
    format!("{last}, {} of log", counted(report.log_files, "file"))
}

/// What it does, and how far that is.
pub(crate) fn words(report: &RecoveryReport) -> (String, String) {
    match report.phase {
        RecoveryPhase::Planning => ("choosing the backup".to_owned(), String::new()),
        RecoveryPhase::Restoring => {
            let pace = pace(report.rate, report.left_milliseconds);
            let detail = format!("{} of {}{pace}", report.done, report.total);
            ("restoring files".to_owned(), detail)
        }
        RecoveryPhase::Replaying => {
            let file = report.log.as_ref().map(|file| format!(", {file}")).unwrap_or_default();
            let detail = format!("{} so far{file}", counted(report.log_files, "file"));
            ("replaying log".to_owned(), detail)
        }
        RecoveryPhase::Opening => ("opening".to_owned(), String::new()),
        RecoveryPhase::Completed => ("completed".to_owned(), String::new()),
    }
}
