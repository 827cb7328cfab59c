//! `pgherd local demo`: the tour. A cluster loses a machine, hangs, is cut apart and switches over,
//! while a client writes and keeps its own book.
//!
//! Never believes the cluster about itself, and leaves nothing behind, however it ends.

use super::output::{Output, remark, say, say_all, say_json};
use super::place::{as_account, duration};
use super::status::table;
use super::switchover::{Asked, address, until_over};
use super::up::{self, Work};
use super::{destroy, wait};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_local::built_in::{Backups, built_in};
use pgherd_local::client::Supervisor;
use pgherd_local::control::{Part, Reach, Request, View, Ways};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::Home;
use pgherd_local::ledger::{Findings, Ledger, LedgerError, Settings};
use pgherd_local::manifest;
use pgherd_local::prepare::{self, Placing};
use pgherd_local::summary;
use serde::Serialize;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Writes flow this long before a fault and after it, so that its pause is seen as a whole.
const QUIET: Duration = Duration::from_secs(1);
const NAME: &str = "demo";
const INSTANCES: u32 = 3;

/// Show a real cluster surviving a lost, a frozen and a cut off machine, and measure it
#[derive(clap::Args)]
#[command(after_help = "\
A client writes numbered rows all the time and keeps every acknowledgement in a file of its own.
The outage is the longest time without one; lost are rows that were acknowledged and are gone.

Example:
  pgherd local demo")]
pub(crate) struct Demo {
    /// How to write the result
    #[arg(long, short, value_enum, default_value = "text")]
    pub(super) output: Output,
    /// How long each part may take
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    timeout: Duration,
    /// The folder with PostgreSQL's programs (default: PGHERD_PG_BINDIR, or the newest installed)
    #[arg(long, value_name = "DIR")]
    pg_bindir: Option<PathBuf>,
}

/// What happens to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Kill,
    Freeze,
    CutOff,
    SwitchOver,
}

impl Act {
    const ALL: [Self; 4] = [Self::Kill, Self::Freeze, Self::CutOff, Self::SwitchOver];

    fn words(self) -> &'static str {
        match self {
            Self::Kill => "node lost",
            Self::Freeze => "node frozen",
            Self::CutOff => "node cut off",
            Self::SwitchOver => "planned switchover",
        }
    }
}

/// What one part of the tour came to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Scene {
    what: &'static str,
    from: InstanceName,
    to: InstanceName,
    write_outage_seconds: f64,
    acknowledged: u64,
    /// Acknowledged rows that are gone.
    lost: u64,
    /// Rows that are there twice, or that nobody sent.
    wrong: u64,
    /// Until the old primary followed the new one.
    whole_again_seconds: f64,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), Failure> {
        let place = Stage::make()?;
        let played = self.play(&place);
        place.clear(self.timeout)?;
        let scenes = played.map_err(|failure| match failure.kind {
            Kind::Interrupted => {
                Failure::new(Kind::Interrupted, "interrupted; everything of the demo is removed")
            }
            _ => failure,
        })?;
        self.tell(&scenes)
    }

    fn play(&self, stage: &Stage) -> Result<Vec<Scene>, Failure> {
        let placing = Placing { bindir: self.pg_bindir.clone(), port: None };
        let found = prepare::find_programs(placing.bindir.as_deref());
        found.map_err(|error| up::told(&error))?;
        let name = ClusterName::parse(NAME);
        let name = name.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let home = Home::at(stage.root.clone());
        let folder = super::place::folder(&home, &name)?;
        let account =
            prepare::claim(&folder, prepare::Claim::Any).map_err(|error| up::told(&error))?;
        let text = built_in(&folder, INSTANCES, Backups::None);
        let wanted = Some(manifest::understand(&text, None)?);
        let work = Work { home, folder, account: account.clone(), wanted };
        as_account(&account, || async {
            let began = Instant::now();
            let (supervisor, _) = up::make(&work, &placing, (Some(text), None)).await?;
            let view = wait::until(&supervisor, self.timeout, up::sight).await?;
            if self.output == Output::Text {
                let seconds = began.elapsed().as_secs_f64();
                say(&format!("three instances of PostgreSQL {} in {seconds:.1}s", version(&view)));
                let commits = summary::summary(&view).commits;
                say_all(&commits.iter().map(|it| format!("  {it}")).collect::<Vec<_>>());
            }
            let mut scenes = Vec::new();
            for act in Act::ALL {
                let scene = self.scene(&supervisor, act).await?;
                if self.output == Output::Text {
                    say(&sentence(&scene));
                }
                scenes.push(scene);
            }
            Ok(scenes)
        })
    }

    /// One fault from quiet to quiet, with a ledger of its own.
    async fn scene(&self, supervisor: &Supervisor, act: Act) -> Result<Scene, Failure> {
        let view = wait::until(supervisor, self.timeout, up::sight).await?;
        let from = primary(&view)?;
        let book = supervisor.folder().probe_book();
        let settings = Settings::new(address(supervisor, &view)?, book.clone());
        let ledger = Ledger::start(settings, self.timeout).await.map_err(|e| measure(&e))?;
        let settled = |since| ledger.settle(since, QUIET, self.timeout);
        settled(Instant::now()).await.map_err(|error| measure(&error))?;
        let began = Instant::now();
        let to = self.strike(supervisor, act, (&view, &from)).await?;
        settled(Instant::now()).await.map_err(|error| measure(&error))?;
        let outage = ledger.longest_gap(began).length();
        let mending = Instant::now();
        mend(supervisor, act, &from).await?;
        wait::until(supervisor, self.timeout, up::sight).await?;
        let whole_again = mending.elapsed();
        let stopped = ledger.stop().await.map_err(|error| measure(&error))?;
        let found = stopped.verify(self.timeout).await.map_err(|error| measure(&error))?;
        let forgotten = std::fs::remove_file(&book);
        forgotten.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        Ok(Scene {
            what: act.words(),
            from,
            to,
            write_outage_seconds: outage.as_secs_f64(),
            acknowledged: found.acknowledged,
            lost: found.lost.count,
            wrong: wrong(&found),
            whole_again_seconds: whole_again.as_secs_f64(),
        })
    }

    /// Does it, and waits for the new primary.
    async fn strike(
        &self,
        supervisor: &Supervisor,
        act: Act,
        (before, old): (&View, &InstanceName),
    ) -> Result<InstanceName, Failure> {
        let instance = old.to_string();
        let part = Part::Everything;
        let request = match act {
            Act::Kill => Request::Kill { instance, part },
            Act::Freeze => Request::Freeze { instance, part },
            Act::CutOff => {
                let (ways, reach) = (Ways::Both, Reach::Everything);
                Request::Partition { instance, from: None, ways, reach }
            }
            Act::SwitchOver => Request::Switchover { target: None },
        };
        let done = supervisor.ask(&request).await?;
        if let (Some(number), Some(before)) = (done.number, &before.record) {
            let asked = Asked { number, target: None, before };
            return until_over(supervisor, self.timeout, &asked).await;
        }
        wait::until(supervisor, self.timeout, |view| {
            let new = view.primary().filter(|primary| primary.name != *old);
            match new.filter(|primary| summary::is_ready(view, primary)) {
                Some(primary) => wait::Sight::There(primary.name.clone()),
                None => wait::Sight::Missing(format!("waiting for another primary than {old}")),
            }
        })
        .await
    }

    fn tell(&self, scenes: &[Scene]) -> Result<(), Failure> {
        match self.output {
            Output::Json => say_json(&scenes)?,
            Output::Text => {
                let header = [
                    "WHAT HAPPENED",
                    "PRIMARY",
                    "WRITE OUTAGE",
                    "ACKNOWLEDGED",
                    "LOST",
                    "WHOLE AGAIN",
                ];
                let rows: Vec<Vec<String>> = scenes.iter().map(row).collect();
                say("");
                say_all(&table(&header, &rows));
            }
        }
        let bad: u64 = scenes.iter().map(|scene| scene.lost + scene.wrong).sum();
        if bad == 0 {
            return Ok(());
        }
        let what = format!("{bad} rows are not what the client was promised");
        Err(Failure::new(Kind::Failed, what).because("this is a bug in pgherd"))
    }
}

async fn mend(supervisor: &Supervisor, act: Act, old: &InstanceName) -> Result<(), Failure> {
    let instance = old.to_string();
    let request = match act {
        Act::Kill => Request::Start { instances: vec![instance] },
        Act::Freeze => Request::Thaw { instance: Some(instance) },
        Act::CutOff => Request::Heal { instance: Some(instance) },
        Act::SwitchOver => return Ok(()),
    };
    supervisor.ask(&request).await.map(|_| ())
}

fn measure(error: &LedgerError) -> Failure {
    Failure::from_error(Kind::Failed, error)
}

fn wrong(found: &Findings) -> u64 {
    let shared = found.shared_timelines.len() as u64;
    found.repeated.count + found.foreign.count + found.undead.count + shared
}

fn primary(view: &View) -> Result<InstanceName, Failure> {
    let primary = view.primary().map(|primary| primary.name.clone());
    primary.ok_or_else(|| Failure::new(Kind::Failed, "the cluster has no primary"))
}

fn version(view: &View) -> String {
    summary::summary(view).postgres
}

fn sentence(scene: &Scene) -> String {
    let Scene { what, from, to, write_outage_seconds, acknowledged, lost, .. } = scene;
    format!(
        "{what}: {from} -> {to}, write outage {write_outage_seconds:.2}s, {lost} of {acknowledged} acknowledged rows lost"
    )
}

fn row(scene: &Scene) -> Vec<String> {
    vec![
        scene.what.to_owned(),
        format!("{} -> {}", scene.from, scene.to),
        format!("{:.2}s", scene.write_outage_seconds),
        scene.acknowledged.to_string(),
        scene.lost.to_string(),
        format!("{:.1}s", scene.whole_again_seconds),
    ]
}

/// A folder for the tour alone.
struct Stage {
    root: PathBuf,
}

impl Stage {
    fn make() -> Result<Self, Failure> {
        let root = std::env::temp_dir().join(format!("pgherd-demo-{}", std::process::id()));
        let failed = |error: io::Error| {
            Failure::new(Kind::Failed, format!("{} cannot be made", root.display()))
                .because(error.to_string())
        };
        std::fs::DirBuilder::new().mode(0o755).create(&root).map_err(failed)?;
        // Whatever the umask: as root, others have to pass through.
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).map_err(failed)?;
        Ok(Self { root })
    }

    /// Ends and removes everything.
    fn clear(&self, within: Duration) -> Result<(), Failure> {
        let home = Home::at(self.root.clone());
        let name = ClusterName::parse(NAME);
        let name = name.map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let folder = super::place::folder(&home, &name)?;
        let owner = prepare::owner(&folder).map_err(|error| up::told(&error))?;
        if let Some(account) = owner {
            remark("  clearing up");
            let destroyed = destroy::destroy(&folder, &account, within);
            let left = |failure| destroy::unfinished(failure).addressed(folder.root());
            destroyed.map_err(left)?;
        }
        let gone = std::fs::remove_dir(&self.root);
        gone.map_err(|error| Failure::from_error(Kind::Failed, &error))
    }
}
