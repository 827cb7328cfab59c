//! `pgherd local restore`: makes a new cluster as another one was at a moment.
//!
//! Never touches the source, and never begins anything that cannot be brought to its end.

mod check;
mod plan;

use super::backup::take;
use super::destroy;
use super::output::{Output, remark, say, say_all, say_json, warn};
use super::place::{self, Place};
use super::progress::Progress;
use super::repository;
use super::up::{self, Work};
use super::wait::Sight;
use jiff::Timestamp;
use pgherd_api::agent::{RecoveryPhase, RecoveryReport, RecoverySpec};
use pgherd_api::cluster::bootstrap::RecoveryTarget;
use pgherd_api::cluster::recovery::{parse_time, parse_transaction};
use pgherd_core::names::ClusterName;
use pgherd_core::units::Lsn;
use pgherd_local::client::{self, Supervisor};
use pgherd_local::control::{Request, View};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::manifest::{self, Manifest};
use pgherd_local::prepare::{self, Placing};
use pgherd_local::restored;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// For a segment that is finished on request to come into the archive.
const LOG: Duration = Duration::from_secs(30);

/// Make a new cluster as another one was at a moment
#[derive(clap::Args)]
#[command(after_help = "\
The plan is shown first; what cannot be done is refused before anything is made. The source goes on as it
is, and may be down. The new cluster archives to a place of its own, beside the source's.

Examples:
  pgherd local restore shop --as shop-1431 --to-time 2026-11-22T14:31:00Z
  pgherd local restore shop --as shop-1431 --to-time 2026-11-22T14:31:00Z --plan
  pgherd local restore shop --as copy --latest --sql-check checks.sql")]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(super) place: Place,
    /// The cluster whose backups and log are used
    #[arg(value_name = "SOURCE", value_parser = place::name)]
    source: ClusterName,
    /// The name of the new cluster
    #[arg(long = "as", value_name = "NEW", value_parser = place::name)]
    new: ClusterName,
    #[command(flatten)]
    target: Target,
    /// Just before the target instead of just after it
    #[arg(long, conflicts_with_all = ["immediate", "latest", "to_name"])]
    exclusive: bool,
    /// The timeline to follow (default: the newest)
    #[arg(long, value_name = "N")]
    timeline: Option<u32>,
    /// The backup to begin with (default: the nearest before the target)
    #[arg(long, value_name = "BACKUP")]
    backup: Option<String>,
    /// How many instances the new cluster has (default: as many as the source)
    #[arg(long, value_name = "N")]
    instances: Option<u32>,
    /// Only show how it would go
    #[arg(long)]
    plan: bool,
    /// Statements that have to succeed in the new cluster, and not to return false
    #[arg(long, value_name = "FILE")]
    sql_check: Option<PathBuf>,
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
    #[arg(long)]
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

/// What is known before anything is made.
struct Prepared {
    text: String,
    manifest: Manifest,
    plan: plan::Shown,
    major: PathBuf,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let home = self.place.home()?;
        let (source, new) = (place::folder(&home, &self.source)?, place::folder(&home, &self.new)?);
        self.refuse_existing(&new)?;
        let check = self.sql_check.as_deref().map(check::read).transpose()?;
        let account = place::owner(&source)?;
        let prepared = place::as_account(&account, || self.prepare(source.clone()))?;
        let output = self.place.output();
        if self.plan {
            return match output {
                Output::Json => say_json(&prepared.plan),
                Output::Text => {
                    say_all(&prepared.plan.lines());
                    Ok(())
                }
            };
        }
        prepared.plan.lines().iter().for_each(|line| remark(line));
        let owner = prepare::claim(&new).map_err(|error| up::told(&error))?;
        let began = Instant::now();
        let (work, placing) = (
            Work {
                home,
                folder: new.clone(),
                account: owner.clone(),
                wanted: Some(prepared.manifest.clone()),
            },
            Placing { bindir: Some(prepared.major.clone()), port: None },
        );
        let text = prepared.text.clone();
        let patience = self.place.timeout();
        let made = place::as_account(&owner, || async move {
            let (supervisor, done) = up::make(&work, &placing, (Some(text), None)).await?;
            warn(&done.warnings);
            let report = follow(&supervisor, patience).await?;
            let checked = match &check {
                Some(check) => Some(check::run(&supervisor, check).await?),
                None => None,
            };
            Ok((report, checked))
        });
        let (report, checked) = made.map_err(|failure| self.cleared(&new, &owner, failure))?;
        self.tell(&report, checked.as_ref(), began.elapsed())
    }

    fn refuse_existing(&self, new: &ClusterFolder) -> Result<(), Failure> {
        let owner =
            prepare::owner(new).map_err(|error| Failure::from_error(Kind::Refused, &error))?;
        match owner {
            None => Ok(()),
            Some(_) => Err(Failure::new(Kind::Refused, format!("cluster {} exists", self.new))
                .because("a restore makes a new cluster, and leaves every other one alone")
                .fix("choose another name")),
        }
    }

    /// The plan, or why there is none.
    async fn prepare(&self, source: ClusterFolder) -> Result<Prepared, Failure> {
        let (text, kept) = repository::kept(&source)?;
        let registration = client::registered(&source)?;
        repository::open(&source)?.refuse_other(&source).await?;
        self.finish_log(&source, &kept).await?;
        let text = restored::manifest(&text, &self.new, self.aim(&source).await?, self.instances)?;
        let manifest = manifest::understand(&text, None)?;
        let Some(spec) = manifest.checked.postgres.recovery.clone() else {
            return Err(Failure::new(Kind::Failed, "the manifest of the new cluster is wrong"));
        };
        let opened = repository::open_with(spec.source.clone(), &manifest.recovery_keys)?;
        if let Some(own) = manifest.checked.postgres.archive.clone() {
            plan::refuse_occupied(&repository::open_with(own, &manifest.keys)?).await?;
        }
        let sight = plan::Sight {
            new: &self.new,
            spec: &spec,
            major: registration.major,
            instances: manifest.checked.instances,
            folder: source.root(),
        };
        let plan = plan::shown(&opened, &sight).await?;
        Ok(Prepared { text, manifest, plan, major: registration.bindir })
    }

    /// The segment that a running source writes to may hold the target.
    async fn finish_log(&self, source: &ClusterFolder, kept: &Manifest) -> Result<(), Failure> {
        if self.target.immediate || kept.checked.postgres.archive.is_none() {
            return Ok(());
        }
        let Some(supervisor) = client::present(source).await? else { return Ok(()) };
        if let Err(failure) = supervisor.ask(&Request::FinishLog).await {
            remark(&format!("warning: what was written last may not be archived: {failure}"));
            return Ok(());
        }
        let until = Instant::now() + LOG;
        loop {
            let view = supervisor.view().await?;
            let status = view.primary().and_then(|primary| primary.status.as_ref());
            let archive = status.and_then(|status| status.archive.as_ref());
            if archive.is_some_and(|archive| archive.waiting == 0) {
                return Ok(());
            }
            if Instant::now() >= until {
                remark("warning: the source has log that is not archived yet");
                return Ok(());
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// The target as the manifest has it.
    async fn aim(&self, source: &ClusterFolder) -> Result<RecoveryTarget, Failure> {
        let backup_id = match &self.backup {
            Some(wanted) => Some(repository::open(source)?.find(wanted).await?.1.to_string()),
            None => None,
        };
        Ok(RecoveryTarget {
            target_time: self.target.to_time.map(|time| time.to_string()),
            target_lsn: self.target.to_lsn.map(|lsn| lsn.to_string()),
            target_xid: self.target.to_xid.map(|xid| xid.to_string()),
            target_name: self.target.to_name.clone(),
            target_immediate: self.target.immediate.then_some(true),
            target_tli: self.timeline.map(|timeline| timeline.to_string()),
            exclusive: self.exclusive.then_some(true),
            backup_id,
        })
    }

    /// What was made in vain is removed; what only takes longer goes on.
    fn cleared(
        &self,
        new: &ClusterFolder,
        owner: &pgherd_local::account::Account,
        failure: Failure,
    ) -> Failure {
        match failure.kind {
            Kind::TimedOut | Kind::Interrupted => {
                let fix = format!(
                    "it goes on: pgherd local status --name {0}; pgherd local destroy --name {0} ends it",
                    self.new
                );
                failure.fix(fix)
            }
            Kind::Failed | Kind::Refused | Kind::Usage | Kind::NotFound => {
                match destroy::destroy(new, owner, self.place.timeout()) {
                    Ok(()) => failure,
                    Err(left) => {
                        remark(&format!("warning: what was made is still there: {left}"));
                        failure.fix(format!("pgherd local destroy --name {}", self.new))
                    }
                }
            }
        }
    }

    fn tell(
        &self,
        report: &RecoveryReport,
        checked: Option<&check::Checked>,
        took: Duration,
    ) -> Result<(), Failure> {
        let seconds = took.as_secs_f64();
        let failed = checked.and_then(|checked| checked.failure.clone());
        if self.place.output() == Output::Json {
            say_json(&serde_json::json!({
                "cluster": self.new,
                "source": self.source,
                "seconds": seconds,
                "recovery": report,
                "check": checked,
            }))?;
        } else {
            say(&sentence(&self.new, &self.source, report, seconds));
            if checked.is_some() && failed.is_none() {
                say("  the SQL checks passed");
            }
        }
        match failed {
            None => Ok(()),
            Some(why) => {
                let what = format!("cluster {} is restored, and a check of it failed", self.new);
                Err(Failure::new(Kind::Failed, what).because(why))
            }
        }
    }
}

fn sentence(
    new: &ClusterName,
    source: &ClusterName,
    report: &RecoveryReport,
    seconds: f64,
) -> String {
    let backup = report.backup.as_deref().unwrap_or("?");
    let last = match report.last_commit {
        Some(at) => format!("last commit {at}"),
        None => "no commit after the backup".to_owned(),
    };
    format!(
        "cluster/{new} restored from backup/{backup} of cluster/{source} to {} in {seconds:.1}s: \
         {last}, {} files of log",
        report.target, report.log_files
    )
}

/// Until every instance is ready.
async fn follow(supervisor: &Supervisor, patience: Duration) -> Result<RecoveryReport, Failure> {
    let mut progress = Progress::new();
    let mut last: Option<(String, String)> = None;
    let mut moved = Instant::now();
    loop {
        let view = supervisor.view().await?;
        if let Some(why) = hopeless(&view) {
            let what = format!("cluster {} cannot be restored", view.cluster);
            return Err(Failure::new(Kind::Failed, what).because(why));
        }
        let report = recovery(&view).cloned();
        let done = report.filter(|report| report.phase == RecoveryPhase::Completed);
        let (step, detail) = match (done, recovery(&view)) {
            (Some(report), _) => match up::sight(&view) {
                Sight::There(_) => return Ok(report),
                Sight::Never(failure) => return Err(failure),
                Sight::Missing(what) => (what, String::new()),
            },
            (None, Some(report)) => words(report),
            (None, None) => ("starting".to_owned(), String::new()),
        };
        progress.tell_step(&step, &detail);
        let now = (step, detail);
        if last.as_ref() != Some(&now) {
            (last, moved) = (Some(now), Instant::now());
        }
        if moved.elapsed() >= patience {
            let what = format!("the restore has not got on for {patience:?}");
            return Err(Failure::new(Kind::TimedOut, what));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn recovery(view: &View) -> Option<&RecoveryReport> {
    let mut statuses = view.instances.iter().filter_map(|instance| instance.status.as_ref());
    statuses.find_map(|status| status.recovery.as_ref())
}

/// What the first instance failed at. It tries again, and would fail again.
fn hopeless(view: &View) -> Option<String> {
    if view.record.is_some() {
        return None;
    }
    let statuses = view.instances.iter().filter_map(|instance| instance.status.as_ref());
    let mut failures = statuses.filter_map(|status| status.failure.as_ref());
    failures.next().map(|failure| failure.why.clone())
}

fn words(report: &RecoveryReport) -> (String, String) {
    match report.phase {
        RecoveryPhase::Planning => ("choosing the backup".to_owned(), String::new()),
        RecoveryPhase::Restoring => {
            let pace = take::pace(report.rate, report.left_milliseconds);
            let detail = format!("{} of {}{pace}", report.done, report.total);
            ("restoring files".to_owned(), detail)
        }
        RecoveryPhase::Replaying => {
            let file = report.log.clone().unwrap_or_default();
            let detail = format!("{} files so far, {file}", report.log_files);
            ("replaying log".to_owned(), detail)
        }
        RecoveryPhase::Opening => ("opening".to_owned(), String::new()),
        RecoveryPhase::Completed => ("completed".to_owned(), String::new()),
    }
}

/// What the plan is made for.
type Spec = RecoverySpec;
