//! What people are told of a base backup while it is taken, and at its end.
//!
//! Never calls one completed that its agent does not.

use super::repository::counted;
use pgherd_api::agent::{BackupPhase, BackupReport, Incremental, ReadRate};
use pgherd_api::backup::rate;
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_core::backup::increment::LONGEST;
use pgherd_core::units::Bytes;
use pgherd_local::failure::{Failure, Kind};

/// Whom to take it from.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Target {
    Primary,
    PreferStandby,
}

impl Target {
    pub(crate) fn wanted(self) -> BackupTarget {
        match self {
            Self::Primary => BackupTarget::Primary,
            Self::PreferStandby => BackupTarget::PreferStandby,
        }
    }
}

/// Whether it stores all, or what has changed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Build {
    /// Store only what has changed since the last backup
    #[arg(long)]
    incremental: bool,
    /// Take a full one all the same when so many backups would build on each other
    #[arg(
        long,
        value_name = "N",
        requires = "incremental",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST))
    )]
    full_every: Option<u32>,
}

impl Build {
    pub(crate) fn wanted(self) -> Option<Incremental> {
        self.incremental.then_some(Incremental { full_every: self.full_every })
    }
}

/// How it is taken, beside what it stores.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Pace {
    /// Begin with a fast checkpoint: sooner, and a burden for the disk
    #[arg(long)]
    immediate_checkpoint: bool,
    /// Read so much in a second at most, 1Mi at least, or off (default: as the manifest says)
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    pub(crate) rate: Option<ReadRate>,
}

fn rate(given: &str) -> Result<ReadRate, String> {
    rate::parse(given).map_err(|_| "write off, or a quantity from 1Mi on, such as 50Mi".to_owned())
}

impl Pace {
    /// None: as the manifest says.
    pub(crate) fn immediate(self) -> Option<bool> {
        self.immediate_checkpoint.then_some(true)
    }
}

/// The report of one that is over, if there is a backup.
pub(crate) fn ended(report: BackupReport) -> Result<BackupReport, Failure> {
    let why = report.failure.clone().unwrap_or_default();
    match report.phase {
        BackupPhase::Cancelled => {
            let what = format!("backup {} was cancelled, and nothing is kept of it", report.name);
            Err(Failure::new(Kind::Failed, what).because(why))
        }
        BackupPhase::Failed => {
            let what = format!("backup {} failed on {}", report.name, report.instance);
            Err(Failure::new(Kind::Failed, what).because(why))
        }
        BackupPhase::Starting
        | BackupPhase::Checkpoint
        | BackupPhase::Copy
        | BackupPhase::Wal
        | BackupPhase::Completed => Ok(report),
    }
}

/// What it does, and how far that is.
pub(crate) fn words(report: &BackupReport) -> (String, String) {
    let step = match report.phase {
        BackupPhase::Starting => "opening the archive".to_owned(),
        BackupPhase::Checkpoint => format!("checkpoint on {}", report.instance),
        BackupPhase::Copy => "copy".to_owned(),
        BackupPhase::Wal => match &report.waits_for {
            Some(file) => format!("stored; waiting for {file} in the archive"),
            None => "stored; looking for its log in the archive".to_owned(),
        },
        BackupPhase::Completed => "completed".to_owned(),
        BackupPhase::Failed => "failed".to_owned(),
        BackupPhase::Cancelled => "cancelled".to_owned(),
    };
    if report.phase != BackupPhase::Copy || report.total.0 == 0 {
        return (step, String::new());
    }
    let percent = (u128::from(report.done.0) * 100 / u128::from(report.total.0)).min(100);
    let pace = pace(report.rate, report.left_milliseconds);
    (step, format!("{percent}%  {} of {}{pace}", report.done, report.total))
}

/// How fast it goes, and how long it still takes.
pub(crate) fn pace(rate: Option<Bytes>, left_milliseconds: Option<u64>) -> String {
    let rate = rate.map(|rate| format!("  {rate}/s"));
    let left = left_milliseconds.map(|left| format!("  eta {}s", left.div_ceil(1000)));
    [rate, left].into_iter().flatten().collect()
}

pub(crate) fn completed(cluster: &str, report: &BackupReport) -> String {
    let id = report.id.as_deref().unwrap_or("?");
    let took = report.ended.map(|ended| ended.duration_since(report.ordered).as_secs_f64());
    // A clock may have been set back meanwhile.
    let took = took.filter(|took| *took >= 0.0).map(|took| format!(" in {took:.1}s"));
    let size = report.taken.as_ref().map(|taken| {
        let files = counted(taken.files, "file");
        format!(", {} in {files}, {} stored", taken.bytes, taken.stored)
    });
    let kind = match (&report.builds_on, &report.full_because) {
        (Some(base), _) => {
            let all = report.all_read_because.as_ref();
            let all = all.map(|because| format!(", all pages read: {because}"));
            format!(", incremental to {base}{}", all.unwrap_or_default())
        }
        (None, Some(because)) => format!(", a full one: {because}"),
        (None, None) => String::new(),
    };
    format!(
        "backup/{id} of cluster/{cluster} completed{}{}{kind} (from {})",
        took.unwrap_or_default(),
        size.unwrap_or_default(),
        report.instance
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use pgherd_core::names::InstanceName;

    #[test]
    fn a_copy_is_told_with_its_rate_and_what_is_left() {
        let report = BackupReport {
            name: "db-1".to_owned(),
            asked_by: None,
            id: Some("20261122T112233".to_owned()),
            instance: InstanceName::parse("db-2").unwrap(),
            destination: "/b".to_owned(),
            endpoint: None,
            server: "db".to_owned(),
            phase: BackupPhase::Copy,
            since: Timestamp::UNIX_EPOCH,
            ordered: Timestamp::UNIX_EPOCH,
            ended: None,
            done: Bytes(28 << 30),
            total: Bytes(48 << 30),
            stored: Bytes(0),
            rate: Some(Bytes(412 << 20)),
            left_milliseconds: Some(48_100),
            waits_for: None,
            began: None,
            taken: None,
            builds_on: None,
            full_because: None,
            all_read_because: None,
            failure: None,
            passing: false,
            recoverable_since: None,
            retained: None,
            warnings: Vec::new(),
        };
        let told = words(&report);
        assert_eq!(told.1, "58%  28.0 GiB of 48.0 GiB  412.0 MiB/s  eta 49s");
        let waits = BackupReport {
            phase: BackupPhase::Wal,
            waits_for: Some("000000010000000000000003".to_owned()),
            ..report
        };
        let words = words(&waits);
        assert_eq!(words.0, "stored; waiting for 000000010000000000000003 in the archive");
    }
}
