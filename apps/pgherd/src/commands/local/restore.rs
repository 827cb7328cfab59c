//! `pgherd local restore`: makes a new cluster as another one was at a moment.
//!
//! Never touches the source, and never begins anything that cannot be brought to its end.

pub(super) mod checked;
pub(super) mod fresh;

use super::super::check::{Checked, statements, tell_made};
use super::super::recovery::{Wish, sentence, words};
use super::super::repository::{Asked, Teller, Told, answer, plan};
use super::output::{remark, warn};
use super::place::{self, Place};
use super::progress::Progress;
use super::repository;
use super::up::{self, Work};
use super::wait::Sight;
use pgherd_api::agent::{RecoveryPhase, RecoveryReport};
use pgherd_core::names::ClusterName;
use pgherd_local::client::{self, Supervisor};
use pgherd_local::control::{Request, View};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::{ClusterFolder, Home};
use pgherd_local::hint;
use pgherd_local::manifest::{self, Manifest};
use pgherd_local::prepare::Placing;
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
    pub(super) source: ClusterName,
    /// The name of the new cluster
    #[arg(long = "as", value_name = "NEW", value_parser = place::name)]
    pub(super) new: ClusterName,
    #[command(flatten)]
    pub(super) wish: Wish,
    /// Statements that have to succeed in the new cluster, and not to return false
    #[arg(long, value_name = "FILE")]
    pub(super) sql_check: Option<PathBuf>,
}

/// What is known before anything is made.
struct Prepared {
    text: String,
    manifest: Manifest,
    plan: Told,
    major: PathBuf,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let home = self.place.home()?;
        let source = place::folder(&home, &self.source)?;
        let root = source.root().to_owned();
        self.restore(home, &source).map_err(|failure| failure.addressed(&root))
    }

    fn restore(self, home: Home, source: &ClusterFolder) -> Result<(), Failure> {
        let new = place::folder(&home, &self.new)?;
        fresh::refuse_existing(&new)?;
        let check = self.sql_check.as_deref().map(statements).transpose()?;
        let account = place::owner(source)?;
        let prepared = place::as_account(&account, || self.prepare(source.clone()))?;
        let output = self.place.output();
        if self.wish.plan {
            return prepared.plan.tell(output.form(), &|text| hint::addressed(text, source.root()));
        }
        prepared.plan.lines().iter().for_each(|line| remark(line));
        let owner = fresh::claim(&new)?;
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
                Some(check) => Some(checked::run(&supervisor, check).await?),
                None => None,
            };
            Ok((report, checked))
        });
        let (report, checked) =
            made.map_err(|failure| fresh::cleared((&new, &owner), patience, failure))?;
        self.tell(&report, checked.as_ref(), began.elapsed())
    }

    /// The plan, or why there is none.
    async fn prepare(&self, source: ClusterFolder) -> Result<Prepared, Failure> {
        let (text, kept) = repository::kept(&source)?;
        let registration = client::registered(&source)?;
        repository::open(&source)?.refuse_other().await?;
        if !self.wish.plan {
            self.finish_log(&source, &kept).await?;
        }
        let aim = self.wish.aim(self.backup(&source).await?);
        let text = restored::manifest(&text, &self.new, aim, self.wish.instances)?;
        let manifest = manifest::understand(&text, None)?.with_key_files()?;
        let Some(spec) = manifest.checked.postgres.recovery.clone() else {
            return Err(Failure::new(Kind::Failed, "the manifest of the new cluster is wrong"));
        };
        let place = (spec.source.clone(), &manifest.recovery_keys);
        let opened = repository::open_for(place, &source, None)?;
        if let Some(own) = manifest.checked.postgres.archive.clone() {
            let own = repository::open_for((own, &manifest.keys), &source, None)?;
            plan::refuse_occupied(&own).await?;
        }
        let instances = manifest.checked.instances;
        let asked = plan::Plan { new: self.new.clone(), instances, spec, own: None };
        let plan = answer(&opened, &Asked::Plan(Box::new(asked)), &Teller::default()).await?;
        Ok(Prepared { text, manifest, plan, major: registration.bindir })
    }

    /// The segment that a running source writes to may hold the target.
    async fn finish_log(&self, source: &ClusterFolder, kept: &Manifest) -> Result<(), Failure> {
        if !self.wish.needs_log() || kept.checked.postgres.archive.is_none() {
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

    /// The backup to begin with, if one is named.
    async fn backup(&self, source: &ClusterFolder) -> Result<Option<String>, Failure> {
        let Some(wanted) = &self.wish.backup else { return Ok(None) };
        let (_, id) = repository::open(source)?.find(wanted).await?;
        Ok(Some(id.to_string()))
    }

    fn tell(
        &self,
        report: &RecoveryReport,
        checked: Option<&Checked>,
        took: Duration,
    ) -> Result<(), Failure> {
        let seconds = took.as_secs_f64();
        let document = serde_json::json!({
            "cluster": self.new,
            "source": self.source,
            "seconds": seconds,
            "recovery": report,
            "check": checked,
        });
        let line = sentence((self.new.as_str(), self.source.as_str()), report, seconds);
        tell_made(self.place.output().form(), (&self.new, line), checked, &document)
    }
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
