//! `pgherd local restore`: makes a new cluster as another one was at a moment.
//!
//! Never touches the source but to have it archive what the target may need, and never begins anything
//! that cannot be brought to its end.

pub(super) mod checked;
pub(super) mod fresh;
mod log;

use self::log::Ask;
use super::super::check::{Checked, statements, tell_made};
use super::super::recovery::{Wish, sentence, words};
use super::super::repository::{Asked, Teller, Told, answer, plan};
use super::output::{remark, warn};
use super::place::{self, Place};
use super::progress::{Headway, Progress};
use super::repository;
use super::up::{self, Work};
use super::wait::Sight;
use pgherd_api::agent::{RecoveryPhase, RecoveryReport};
use pgherd_core::names::ClusterName;
use pgherd_local::client::{self, Supervisor};
use pgherd_local::control::View;
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
    source: log::Asked,
}

/// What became of an attempt.
enum Made {
    Whole(Box<RecoveryReport>, Option<Checked>),
    /// The log ended before the target.
    Short(Failure),
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let home = self.place.home()?;
        let source = place::folder(&home, &self.source)?;
        let root = source.root().to_owned();
        self.restore(&home, &source).map_err(|failure| failure.addressed(&root))
    }

    fn restore(self, home: &Home, source: &ClusterFolder) -> Result<(), Failure> {
        let new = place::folder(home, &self.new)?;
        fresh::refuse_existing(&new)?;
        let check = self.sql_check.as_deref().map(statements).transpose()?;
        let account = place::owner(source)?;
        let (this, new) = (&self, &new);
        let prepare = |ask: Ask| {
            let prepared = place::as_account(&account, || this.prepare((source.clone(), new), ask));
            prepared.map_err(fresh::unasked)
        };
        let prepared = prepare(Ask::IfNeeded)?;
        if self.wish.plan {
            let output = self.place.output();
            return prepared.plan.tell(output.form(), &|text| hint::addressed(text, source.root()));
        }
        let began = Instant::now();
        let check = check.as_deref();
        let (report, checked) = match self.make((home, new), &prepared, check)? {
            Made::Whole(report, checked) => (report, checked),
            Made::Short(failure) if prepared.source != log::Asked::No => return Err(failure),
            Made::Short(failure) => {
                let again = prepare(Ask::Anyhow)?;
                if again.source != log::Asked::Yes {
                    return Err(failure);
                }
                remark("the archive ended before the target; the source has archived more: again");
                match self.make((home, new), &again, check)? {
                    Made::Whole(report, checked) => (report, checked),
                    Made::Short(failure) => return Err(failure),
                }
            }
        };
        self.tell(&report, checked.as_ref(), began.elapsed())
    }

    /// Makes the new cluster; what was made in vain is gone afterwards.
    fn make(
        &self,
        (home, new): (&Home, &ClusterFolder),
        prepared: &Prepared,
        check: Option<&str>,
    ) -> Result<Made, Failure> {
        prepared.plan.lines().iter().for_each(|line| remark(line));
        let owner = fresh::claim(new)?;
        let (work, placing) = (
            Work {
                home: home.clone(),
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
            let report = match follow(&supervisor, patience).await? {
                Followed::Restored(report) => report,
                Followed::Short(failure) => return Ok(Made::Short(failure)),
            };
            let checked = match check {
                Some(check) => Some(checked::run(&supervisor, check).await?),
                None => None,
            };
            Ok(Made::Whole(report, checked))
        });
        let cleared = |failure| fresh::cleared((new, &owner), patience, failure);
        match made.map_err(cleared)? {
            Made::Short(failure) => Ok(Made::Short(cleared(failure))),
            made @ Made::Whole(..) => Ok(made),
        }
    }

    /// The plan, or why there is none.
    async fn prepare(
        &self,
        (source, new): (ClusterFolder, &ClusterFolder),
        ask: Ask,
    ) -> Result<Prepared, Failure> {
        let (text, kept) = repository::kept(&source)?;
        let registration = client::registered(&source)?;
        repository::open(&source)?.refuse_other().await?;
        let aim = self.wish.aim(self.backup(&source).await?);
        let text = restored::manifest(&text, (&source, new), aim, self.wish.instances)?;
        let manifest = manifest::understand(&text, None)?.with_key_files()?;
        let Some(spec) = manifest.checked.postgres.recovery.clone() else {
            return Err(Failure::new(Kind::Failed, "the manifest of the new cluster is wrong"));
        };
        let place = (spec.source.clone(), &manifest.recovery_keys);
        let opened = repository::open_for(place, &source, None)?;
        if let Some(own) = repository::elsewhere(&manifest, new) {
            let own = repository::open_for((own, &manifest.keys), &source, None)?;
            plan::refuse_occupied(&own).await?;
        }
        let brought = if self.wish.plan {
            log::Asked::No
        } else {
            log::bring(ask, (&source, &kept), (&opened, &spec)).await?
        };
        let instances = manifest.checked.instances;
        let asked = plan::Plan { new: self.new.clone(), instances, spec, own: None };
        let plan = answer(&opened, &Asked::Plan(Box::new(asked)), &Teller::default()).await?;
        Ok(Prepared { text, manifest, plan, major: registration.bindir, source: brought })
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

/// What was seen of an attempt in the end.
enum Followed {
    Restored(Box<RecoveryReport>),
    Short(Failure),
}

/// Until every instance is ready.
async fn follow(supervisor: &Supervisor, patience: Duration) -> Result<Followed, Failure> {
    let (mut progress, mut headway) = (Progress::new(), Headway::new());
    loop {
        let view = supervisor.view().await?;
        if let Some(why) = hopeless(&view) {
            let what = format!("cluster {} cannot be restored", view.cluster);
            let failure = Failure::new(Kind::Failed, what).because(why);
            let is_short = recovery(&view).is_some_and(|report| report.fell_short.is_some());
            return if is_short { Ok(Followed::Short(failure)) } else { Err(failure) };
        }
        let report = recovery(&view).cloned();
        let done = report.filter(|report| report.phase == RecoveryPhase::Completed);
        let (step, detail) = match (done, recovery(&view)) {
            (Some(report), _) => match up::sight(&view) {
                Sight::There(_) => return Ok(Followed::Restored(Box::new(report))),
                Sight::Never(failure) => return Err(failure),
                Sight::Missing(what) => (what, String::new()),
            },
            (None, Some(report)) => words(report),
            (None, None) => ("starting".to_owned(), String::new()),
        };
        progress.tell_step(&step, &detail);
        headway.at((step, detail));
        if headway.stands() >= patience {
            let what = format!("the restore has not got on for {patience:?}");
            return Err(Failure::new(Kind::TimedOut, what));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

pub(super) fn recovery(view: &View) -> Option<&RecoveryReport> {
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
