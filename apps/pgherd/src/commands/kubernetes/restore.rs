//! `pgherd restore`: makes a new cluster as another one was at a moment.
//!
//! Never touches the source, and never makes anything that cannot be brought to its end.

pub(super) mod check;
pub(super) mod follow;

use super::super::check::{Checked, statements, tell_made};
use super::super::output::remark;
use super::super::recovery::{Wish, sentence};
use super::super::repository::{Asked, Told, details, plan};
use super::place::{Place, Reached, unread};
use super::wait::{BETWEEN_LOOKS, Waiting};
use super::{form, hint, repository};
use follow::{Begins, follow};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, PostParams};
use pgherd_agent::chain::chain;
use pgherd_api::agent::RecoveryReport;
use pgherd_api::cluster::Cluster;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_kubernetes::console::inside::{self, Conversation};
use pgherd_kubernetes::console::read::{ReadError, answer};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::restored;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// For a segment that is finished on request to come into the archive.
const LOG: Duration = Duration::from_secs(30);
const FINISH: Duration = Duration::from_secs(20);

/// Make a new cluster as another one was at a moment
#[derive(clap::Args)]
#[command(mut_arg("user", |user| user.long("as-user")))]
#[command(after_help = "\
The plan is shown first; what cannot be done is refused before anything is made. The source goes on as it
is. The new cluster archives to a place of its own, beside the source's. It takes the rights to create
pods/exec and clusters.postgresql.cnpg.io; a user to act as is named by --as-user here.

Examples:
  pgherd restore app-db --as app-db-1431 --to-time 2026-11-22T14:31:00Z
  pgherd restore app-db --as app-db-1431 --to-time 2026-11-22T14:31:00Z --plan
  pgherd restore app-db --as copy --latest --instances 1 --sql-check checks.sql")]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(super) place: Place,
    /// The name of the new cluster
    #[arg(long = "as", value_name = "NEW", value_parser = new)]
    new: ClusterName,
    #[command(flatten)]
    wish: Wish,
    /// Statements that have to succeed in the new cluster, and not to return false
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    sql_check: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) fn new(given: &str) -> Result<ClusterName, String> {
    ClusterName::parse(given).map_err(|error| error.to_string())
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, new, wish, sql_check, waiting } = self;
        let check = sql_check.as_deref().map(statements).transpose()?;
        place.with(|source| async move {
            let to = Reached { cluster: new, ..source.clone() };
            Box::pin(Work { wish, check, waiting, form }.run(&source, &to)).await
        })
    }
}

/// What is wanted of a restore, and how it is told.
pub(super) struct Work {
    pub(super) wish: Wish,
    /// Statements that the new cluster is checked by.
    pub(super) check: Option<String>,
    pub(super) waiting: Waiting,
    pub(super) form: form::Form,
}

impl Work {
    pub(super) async fn run(self, source: &Reached, to: &Reached) -> Result<(), Failure> {
        let Self { wish, check, waiting, form } = self;
        refuse_existing(to).await?;
        let made = Box::pin(prepared(source, to, &wish)).await?;
        let plan = Asked::Plan(Box::new(made.plan.clone()));
        if !wish.plan && wish.needs_log() {
            finish_log(source).await?;
        }
        let plan = repository::ask(source, &plan).await?;
        create(to, &made.manifest, Dry::Run).await?;
        if wish.plan {
            return plan.tell(form, &|text| hint::here(text, source));
        }
        plan.lines().iter().for_each(|line| remark(line));
        let began = Instant::now();
        create(to, &made.manifest, Dry::Not).await?;
        if waiting.no_wait {
            let line = format!("cluster/{} is being restored", to.cluster);
            let document = serde_json::json!({ "cluster": to.cluster });
            return form::tell(form, (to.cluster.as_str(), &[line]), &document);
        }
        let wanted = (Begins::Recovered, made.plan.instances);
        let report = Box::pin(follow(to, wanted, waiting.timeout)).await?;
        let report = report.ok_or_else(|| {
            Failure::new(Kind::Failed, format!("cluster {} does not say whence", to.cluster))
        })?;
        let checked = match check {
            Some(check) => Some(check::run(to, check).await?),
            None => None,
        };
        tell(form, (source, to), (&report, checked.as_ref()), began.elapsed())
    }
}

fn tell(
    form: form::Form,
    (source, to): (&Reached, &Reached),
    (report, checked): (&RecoveryReport, Option<&Checked>),
    took: Duration,
) -> Result<(), Failure> {
    let seconds = took.as_secs_f64();
    let line = sentence((to.cluster.as_str(), source.cluster.as_str()), report, seconds);
    let document = serde_json::json!({
        "cluster": to.cluster, "source": source.cluster, "seconds": seconds, "recovery": report,
        "check": checked,
    });
    tell_made(form, (&to.cluster, line), checked, &document)
}

/// What is known before anything is made.
struct Prepared {
    manifest: Cluster,
    plan: plan::Plan,
}

pub(super) async fn refuse_existing(to: &Reached) -> Result<(), Failure> {
    let clusters: Api<Cluster> = Api::namespaced(to.client.clone(), &to.namespace);
    let found = answer(clusters.get_opt(to.cluster.as_str())).await;
    match found.map_err(|error| unread(&error))? {
        None => Ok(()),
        Some(_) => Err(exists(to)),
    }
}

fn exists(to: &Reached) -> Failure {
    let what = format!("there is a cluster {} in {} already", to.cluster, to.namespace);
    Failure::new(Kind::Refused, what)
        .because("a restore makes a new cluster, and leaves every other one alone")
        .fix("choose another name")
}

/// The new cluster's manifest, from the source's own.
async fn prepared(source: &Reached, to: &Reached, wish: &Wish) -> Result<Prepared, Failure> {
    let view = source.look().await?;
    repository::refuse_without_archive(&view)?;
    let backup = match &wish.backup {
        Some(wanted) => Some(backup(source, wanted).await?),
        None => None,
    };
    let aim = wish.aim(backup);
    let mut manifest = restored::restored(view.cluster, &to.cluster, aim, wish.instances)?;
    manifest.metadata.namespace = Some(to.namespace.clone());
    let (checked, _warnings) = manifest.checked().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let what = format!("cluster {} cannot be made, and nothing was", to.cluster);
        Failure::new(Kind::Refused, what).because(problems.join("; "))
    })?;
    let own = checked.postgres.archive;
    let Some(spec) = checked.postgres.recovery else {
        return Err(Failure::new(Kind::Failed, "the manifest of the new cluster is wrong"));
    };
    let instances = checked.instances;
    let plan = plan::Plan { new: to.cluster.clone(), instances, spec, own };
    Ok(Prepared { manifest, plan })
}

/// The id of a backup that is named by its id, its name, or as the first or the last.
async fn backup(source: &Reached, wanted: &str) -> Result<String, Failure> {
    let mut backup = wanted.to_owned();
    super::errand::objects::of::<pgherd_api::backup::Backup>(source).await?.resolve(&mut backup);
    let asked = Asked::Info(details::Details { backup });
    match repository::ask(source, &asked).await? {
        Told::Info(listed) => listed.id.ok_or_else(Told::unexpected),
        _ => Err(Told::unexpected()),
    }
}

/// Whether it is only tried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dry {
    Run,
    Not,
}

pub(super) async fn create(to: &Reached, manifest: &Cluster, dry: Dry) -> Result<(), Failure> {
    let resource = ApiResource::erase::<Cluster>(&());
    let clusters: Api<DynamicObject> =
        Api::namespaced_with(to.client.clone(), &to.namespace, &resource);
    let object: DynamicObject = serde_json::from_value(restored::trimmed(manifest)?)
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let post = PostParams { dry_run: dry == Dry::Run, ..PostParams::default() };
    match answer(clusters.create(&post, &object)).await {
        Ok(_made) => Ok(()),
        // Somebody else was faster.
        Err(ReadError::Outrun) => Err(exists(to)),
        Err(ReadError::Permit { said }) => {
            let what = format!("cluster {} may not be made", to.cluster);
            Err(Failure::new(Kind::Refused, what).because(said).fix(format!(
                "ask for a Role with create on clusters.postgresql.cnpg.io in {}",
                to.namespace
            )))
        }
        Err(error) => Err(unread(&error)),
    }
}

/// The segment that the primary writes to may hold the target.
async fn finish_log(source: &Reached) -> Result<(), Failure> {
    let view = source.look().await?;
    let Some(primary) = view.primary() else {
        remark("warning: the source has no primary: its log goes as far as it is archived");
        return Ok(());
    };
    if let Err(error) = Box::pin(finish(source, &primary)).await {
        let why = chain(&error);
        remark(&format!("warning: what was written last may not be archived: {why}"));
        return Ok(());
    }
    let until = Instant::now() + LOG;
    loop {
        let asked = inside::agent(&source.client, &source.namespace, &primary);
        let said = Box::pin(asked).await;
        let archive = said.ok().and_then(|status| status.archive);
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

async fn finish(source: &Reached, primary: &InstanceName) -> Result<(), inside::InsideError> {
    let at = (source.namespace.as_str(), primary.to_string());
    let words = ["inside", "log"];
    let mut asked = Conversation::begin(&source.client, (at.0, &at.1), &words).await?;
    asked.hear::<()>(FINISH).await
}
