//! Takes a base backup and follows it.
//!
//! Never ends a backup because nobody follows it any more.

use super::super::output::{say_either, warn};
use super::super::place::Place;
use super::super::progress::Progress;
use jiff::Timestamp;
use pgherd_api::agent::{BackupOrder, BackupPhase, BackupReport};
use pgherd_api::cluster::backup::BackupTarget;
use pgherd_core::names::InstanceName;
use pgherd_core::units::Bytes;
use pgherd_local::client::Supervisor;
use pgherd_local::control::Request;
use pgherd_local::failure::{Failure, Kind};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// An agent that does not know of the backup has lost it; one that does not answer may come back.
const UNKNOWN: Duration = Duration::from_secs(5);

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
    /// Begin with a fast checkpoint: sooner, and a burden for the disk
    #[arg(long)]
    immediate_checkpoint: bool,
    /// Return as soon as it has begun
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    Primary,
    PreferStandby,
}

impl Take {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let (output, patience) = (place.output(), place.timeout());
        place.with(|supervisor| async move {
            let cluster = supervisor.folder().name().to_string();
            let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S").to_string();
            let name = self.backup_name.unwrap_or_else(|| format!("{cluster}-{stamp}"));
            let order = BackupOrder {
                name: name.clone(),
                immediate_checkpoint: self.immediate_checkpoint.then_some(true),
                wait_for_archive: true,
            };
            let target = self.target.map(|target| match target {
                Target::Primary => BackupTarget::Primary,
                Target::PreferStandby => BackupTarget::PreferStandby,
            });
            let request = Request::Backup { order, target, instance: self.instance };
            let done = supervisor.ask(&request).await?;
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

/// Until it is completed. It may take as long as it likes while it gets on.
pub(crate) async fn follow(
    supervisor: &Supervisor,
    (instance, name): (&InstanceName, &str),
    patience: Duration,
) -> Result<BackupReport, Failure> {
    let mut progress = Progress::new();
    let mut last: Option<(BackupPhase, u64, Option<String>)> = None;
    let mut moved = Instant::now();
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
                let now = (report.phase, report.done.0, report.waits_for.clone());
                if last.as_ref() != Some(&now) {
                    (last, moved) = (Some(now), Instant::now());
                }
            }
            Some(None) if moved.elapsed() >= UNKNOWN => {
                let what = format!("{instance} takes no backup {name} any more");
                return Err(Failure::new(Kind::Failed, what).fix("pgherd local backup list"));
            }
            Some(None) => progress.tell_step("waiting for it to begin", ""),
            None => progress.tell_step(&format!("waiting for the agent of {instance}"), ""),
        }
        if moved.elapsed() >= patience {
            let what = format!("backup {name} has not got on for {patience:?}");
            return Err(Failure::new(Kind::TimedOut, what)
                .fix("it goes on: pgherd local backup list; pgherd local backup cancel ends it"));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn ended(report: BackupReport) -> Result<BackupReport, Failure> {
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
fn words(report: &BackupReport) -> (String, String) {
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

fn completed(cluster: &str, report: &BackupReport) -> String {
    let id = report.id.as_deref().unwrap_or("?");
    let took = report.ended.map_or(0.0, |ended| ended.duration_since(report.ordered).as_secs_f64());
    let size = report.taken.as_ref().map(|taken| {
        format!(", {} in {} files, {} stored", taken.bytes, taken.files, taken.stored)
    });
    format!(
        "backup/{id} of cluster/{cluster} completed in {took:.1}s{} (from {})",
        size.unwrap_or_default(),
        report.instance
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_with_its_rate_and_what_is_left() {
        let report = BackupReport {
            name: "db-1".to_owned(),
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
            failure: None,
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
