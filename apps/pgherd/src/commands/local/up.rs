//! `pgherd local up`: makes a cluster, brings it up, or changes it to what a manifest says.
//!
//! Never begins anything before the manifest is understood.

use super::super::manifest::read;
use super::super::recovery::came_about;
use super::output::{Output, remark, say, say_all, say_either, say_json, warn};
use super::place::{self, Place};
use super::repository;
use super::restore::recovery;
use super::wait::{self, Sight};
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_core::wishes::Wish;
use pgherd_local::account::Account;
use pgherd_local::built_in::{Backups, USUAL_INSTANCES, built_in};
use pgherd_local::claims;
use pgherd_local::client::{self, Supervisor};
use pgherd_local::control::{AgentView, Done, Effect, InstanceView, Request, View};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::{ClusterFolder, Home};
use pgherd_local::hint::{self, USUAL_NAME};
use pgherd_local::manifest::{self, Manifest};
use pgherd_local::ports::PortsError;
use pgherd_local::prepare::{self, Claim, Placing, PrepareError};
use pgherd_local::summary::{self, is_ready};
use pgherd_local::uri;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// For a look at the repository; the agent goes on trying, and tells.
const REPOSITORY: Duration = Duration::from_secs(5);
/// An agent that fails this often in a row will fail again.
const FAILURES: u32 = 3;

/// Make a cluster, bring it up, or change it to what a manifest says
#[derive(clap::Args)]
#[command(after_help = "\
Without a manifest: three instances; a commit is on two of them when it is acknowledged, as long
as two are there. The log and a backup each night go to the folder `repository` beside the data, for a
week: `pgherd local window`. All of it is kept until `pgherd local destroy`.
With a ScheduledBackup or ScheduledDump beside the Cluster in FILE, backups and dumps are taken by a
schedule, and `pgherd local status` tells when.

Examples:
  pgherd local up
  pgherd local up -f cluster.yaml
  pgherd local up --instances 5")]
pub(crate) struct Up {
    #[command(flatten)]
    pub(super) place: Place,
    /// A Cluster manifest (postgresql.cnpg.io/v1), also with Secrets and schedules; - reads it from stdin
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many instances, whatever the manifest says
    #[arg(long, value_name = "N")]
    instances: Option<u32>,
    /// The folder with PostgreSQL's programs (default: PGHERD_PG_BINDIR, or the newest installed)
    #[arg(long, value_name = "DIR")]
    pg_bindir: Option<PathBuf>,
    /// The port of the first instance; the others follow (default: 5501, or the next free ones)
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Without a manifest: archive nothing, and take no backups
    #[arg(long, conflicts_with = "file")]
    no_backups: bool,
    /// Return at once, and let it come up by itself
    #[arg(long)]
    no_wait: bool,
}

impl Up {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = self.file.as_deref().map(read).transpose()?;
        let home = self.place.home()?;
        let name = self.name(text.as_deref())?;
        let folder = place::folder(&home, &name)?;
        let root = folder.root().to_owned();
        let text = if self.no_backups { self.without_backups(&folder)? } else { text };
        let ended = self.make_or_change(home, folder, text);
        ended.map_err(|failure| failure.addressed(&root))
    }

    fn make_or_change(
        self,
        home: Home,
        folder: ClusterFolder,
        text: Option<String>,
    ) -> Result<(), Failure> {
        let wanted = self.understood(&folder, text.as_deref())?;
        let owner = prepare::owner(&folder).map_err(|error| told(&error))?;
        // Whatever stands against it is told before a folder is made.
        let account = if let Some(owner) = &owner {
            owner.clone()
        } else {
            let found = prepare::find_programs(self.pg_bindir.as_deref());
            found.map_err(|error| told(&error))?;
            prepare::new_owner().map_err(|error| told(&error))?
        };
        let with_keys = || async { wanted.map(Manifest::with_key_files).transpose() };
        let wanted = place::as_account(&account, with_keys)?;
        if owner.is_none() {
            prepare::claim(&folder, Claim::Any).map_err(|error| told(&error))?;
        }
        let work = Work { home, folder, account: account.clone(), wanted };
        place::as_account(&account, || self.bring_up(work, text))
    }

    fn name(&self, text: Option<&str>) -> Result<ClusterName, Failure> {
        if let Some(name) = self.place.given_name() {
            return Ok(name.clone());
        }
        if let Some(text) = text {
            return Ok(manifest::understand(text, self.instances)?.checked.name);
        }
        ClusterName::parse(USUAL_NAME).map_err(|error| Failure::from_error(Kind::Usage, &error))
    }

    /// The manifest given or built in, without the files that it names; `None` leaves it to the
    /// supervisor to take the kept one.
    fn understood(
        &self,
        folder: &ClusterFolder,
        text: Option<&str>,
    ) -> Result<Option<Manifest>, Failure> {
        match text {
            Some(text) => {
                let manifest = manifest::understand(text, self.instances)?;
                manifest.refuse_other_name(folder.name())?;
                Ok(Some(manifest))
            }
            None if folder.manifest().exists() => Ok(None),
            None => {
                let built_in = built_in(folder, USUAL_INSTANCES, Backups::Kept);
                manifest::understand(&built_in, self.instances).map(Some)
            }
        }
    }

    /// None: it is one already.
    fn without_backups(&self, folder: &ClusterFolder) -> Result<Option<String>, Failure> {
        let (name, kept) = (folder.name(), folder.manifest());
        if !kept.exists() {
            let instances = self.instances.unwrap_or(USUAL_INSTANCES);
            return Ok(Some(built_in(folder, instances, Backups::None)));
        }
        if Backups::of(&read(&kept)?) == Backups::None {
            return Ok(None);
        }
        let what = format!("cluster {name} keeps backups, and --no-backups is for a new one");
        Err(Failure::new(Kind::Refused, what).fix(format!(
            "take spec.backup and the ScheduledBackup out of a copy of {}, then pgherd local up with -f and that copy",
            kept.display()
        )))
    }

    async fn bring_up(self, work: Work, text: Option<String>) -> Result<(), Failure> {
        let placing = Placing { bindir: self.pg_bindir.clone(), port: self.port };
        let began = Instant::now();
        let asked = (text, self.instances);
        let (supervisor, done) = make(&work, &placing, asked).await?;
        warn(&done.warnings);
        if self.no_wait {
            let name = work.folder.name();
            let document = serde_json::json!({ "cluster": name, "state": "coming up" });
            let sentence = format!("cluster/{name} is coming up");
            return say_either(self.place.output(), &sentence, &document);
        }
        let view = wait::until(&supervisor, self.place.timeout(), sight).await?;
        let mut found = summary::warnings(&view);
        found.retain(|warning| !done.warnings.contains(warning));
        found.extend(unusable_repository(&work.folder).await);
        warn(&found);
        let bindir = view.bindir.display();
        let how = match done.effect {
            Effect::Unchanged => "is up already, and nothing is to be changed".to_owned(),
            Effect::Changed => format!("ready in {:.1}s", began.elapsed().as_secs_f64()),
        };
        if let (Effect::Changed, Some(report)) = (done.effect, recovery(&view)) {
            remark(&format!("restored {}", came_about(report)));
        }
        self.tell(&supervisor, &view, &format!("{how} (PostgreSQL from {bindir})"))
    }

    fn tell(&self, supervisor: &Supervisor, view: &View, how: &str) -> Result<(), Failure> {
        let summary = summary::summary(view);
        if self.place.output() == Output::Json {
            return say_json(&summary);
        }
        say(&format!("cluster/{} {how}", view.cluster));
        let instances = summary.instances.iter();
        let line = instances.map(|it| format!("{} {} :{}", it.name, it.role, it.port));
        say(&format!("  {}", line.collect::<Vec<_>>().join("   ")));
        say_all(&summary.commits.iter().map(|it| format!("  {it}")).collect::<Vec<_>>());
        say(&format!("  psql \"{}\"", uri::plain(view, supervisor.folder())?));
        let hint = "try: pgherd local status   |   pgherd local kill 1   |   pgherd local psql";
        say(&hint::addressed(hint, supervisor.folder().root()));
        Ok(())
    }
}

/// Why nothing can be archived, if that is known soon: the cluster is up all the same.
async fn unusable_repository(folder: &ClusterFolder) -> Option<String> {
    let (_, manifest) = repository::kept(folder).ok()?;
    let archive = manifest.checked.postgres.archive?;
    let looked = async {
        let opened = repository::open_for((archive, &manifest.keys), folder, None)?;
        let listed = opened.repository.list().await;
        listed.map(|_| ()).map_err(|error| opened.failed(&error))
    };
    let failure = timeout(REPOSITORY, looked).await.ok()?.err()?;
    let why = failure.cause.unwrap_or(failure.what);
    Some(format!("nothing is backed up until this is mended: {why}"))
}

/// What it takes to bring a cluster up.
pub(super) struct Work {
    pub(super) home: Home,
    pub(super) folder: ClusterFolder,
    pub(super) account: Account,
    /// Its manifest, unless it has one already.
    pub(super) wanted: Option<Manifest>,
}

/// Registers the cluster, starts its supervisor, and asks for what is wanted.
pub(super) async fn make(
    work: &Work,
    placing: &Placing,
    (manifest, instances): (Option<String>, Option<u32>),
) -> Result<(Supervisor, Done), Failure> {
    let Work { home, folder, account, wanted } = work;
    let count = wanted.as_ref().map_or(0, |wanted| wanted.checked.instances);
    let names: Vec<_> =
        (1..=count).map(|serial| InstanceName::new(folder.name(), serial)).collect();
    // A cluster that is made has to choose ports, and what two choose at once would be the same.
    let _turn = if folder.registration().exists() { None } else { claims::turn().await };
    let registered = prepare::register(home, folder, account, (&names, placing));
    registered.map_err(|error| told(&error))?;
    client::start_and_ask(folder, &Request::Apply { manifest, instances }).await
}

pub(super) fn told(error: &PrepareError) -> Failure {
    let kind = match error {
        PrepareError::ChoosePorts { source: PortsError::Range { .. } } => Kind::Usage,
        _ => Kind::Refused,
    };
    match (error, error.source()) {
        // Others leave it to what is below them to say what to do.
        (PrepareError::MakeFolder { .. } | PrepareError::Look { .. }, _) | (_, None) => {
            Failure::from_error(kind, error)
        }
        (_, Some(source)) => Failure::from_error(kind, source),
    }
}

/// Whether every instance does what it is for.
pub(super) fn sight(view: &View) -> Sight<View> {
    let wanted = || view.instances.iter().filter(|instance| instance.wish == Wish::Running);
    if let Some(failure) = wanted().find_map(hopeless) {
        return Sight::Never(failure);
    }
    let waiting = wanted().filter(|instance| !instance.fenced && !is_ready(view, instance));
    let waiting: Vec<String> = waiting.map(|instance| missing(view, instance)).collect();
    if waiting.is_empty() {
        return match summary::unsettled(view) {
            None => Sight::There(view.clone()),
            Some(what) => Sight::Missing(format!("waiting for {what}")),
        };
    }
    Sight::Missing(format!("waiting for {}", waiting.join("; ")))
}

fn missing(view: &View, instance: &InstanceView) -> String {
    let summary = summary::of(view, instance);
    let task = instance.status.as_ref().and_then(|status| status.task.as_ref());
    match task {
        Some(task) => format!("{}: {}", instance.name, task.name),
        None => format!("{}: {}", instance.name, summary.reason),
    }
}

/// An agent that fails at each start will not get better by waiting.
fn hopeless(instance: &InstanceView) -> Option<Failure> {
    match &instance.agent {
        AgentView::Restarting { failures, last, .. } if *failures >= FAILURES => {
            let what = format!("the agent of {} ends again and again", instance.name);
            Some(
                Failure::new(Kind::Failed, what)
                    .because(last.clone())
                    .fix("remove the cause and run this again, or pgherd local destroy"),
            )
        }
        AgentView::Restarting { .. }
        | AgentView::Running { .. }
        | AgentView::Frozen { .. }
        | AgentView::Ending { .. }
        | AgentView::Absent => None,
    }
}
