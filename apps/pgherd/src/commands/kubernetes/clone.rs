//! `pgherd clone`: makes a new cluster as another one is now.
//!
//! Never touches the source, and never makes anything that cannot be brought to its end.

use super::super::check::{statements, tell_made};
use super::super::origin::{Archive, Origin, Wanted, plan, sentence};
use super::super::output::remark;
use super::super::recovery::Wish;
use super::super::repository::Asked;
use super::super::repository::vacant::Vacant;
use super::form;
use super::place::{Place, Reached};
use super::repository::ask;
use super::restore::follow::{Begins, follow};
use super::restore::{self, Dry, check, create, refuse_existing};
use super::wait::Waiting;
use pgherd_api::agent::ArchiveSpec;
use pgherd_api::cluster::Cluster;
use pgherd_core::names::{ClusterName, InstanceName};
use pgherd_kubernetes::cluster::copied;
use pgherd_kubernetes::console::View;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::restored;
use std::path::PathBuf;
use std::time::Instant;

/// Make a new cluster as another one is now
#[derive(clap::Args)]
#[command(after_help = "\
It begins with the newest backup and the log after it, or with a copy of the running primary. The source
goes on as it is; the new cluster archives to a place of its own. It takes the right to create
clusters.postgresql.cnpg.io, and pods/exec for a backup and for checks.

Examples:
  pgherd clone app-db app-db-copy
  pgherd clone app-db app-db-copy --from running --instances 1
  pgherd clone app-db app-db-copy --plan")]
pub(crate) struct Cloning {
    #[command(flatten)]
    pub(super) place: Place,
    /// The name of the new cluster
    #[arg(value_name = "NEW", value_parser = restore::new)]
    new: ClusterName,
    #[command(flatten)]
    wanted: Wanted,
    /// Statements that have to succeed in the new cluster, and not to return false
    #[arg(long, value_name = "FILE", conflicts_with = "no_wait")]
    sql_check: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Cloning {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { place, new, wanted, sql_check, waiting } = self;
        let form = place.form();
        let check = sql_check.as_deref().map(statements).transpose()?;
        place.with(|source| async move {
            let to = Reached { cluster: new, ..source.clone() };
            let view = source.look().await?;
            let archive = match view.cluster.archive() {
                Some(_) => Archive::There,
                None => Archive::Missing,
            };
            match wanted.origin(&source.cluster, archive)? {
                Origin::Backup => {
                    let wish = Wish::latest(&wanted);
                    let work = restore::Work { wish, check, waiting, form };
                    Box::pin(work.run(&source, &to)).await
                }
                Origin::Running => {
                    let work = Copying { wanted, check, waiting, form };
                    Box::pin(work.run(view, (&source, &to))).await
                }
            }
        })
    }
}

/// A clone of a primary that runs.
struct Copying {
    wanted: Wanted,
    check: Option<String>,
    waiting: Waiting,
    form: form::Form,
}

impl Copying {
    async fn run(self, view: View, (source, to): (&Reached, &Reached)) -> Result<(), Failure> {
        let Self { wanted, check, waiting, form } = self;
        refuse_existing(to).await?;
        let primary = running(&view)?;
        let server = copied::server(&view.cluster, &view.name);
        let mut manifest = restored::copied(view.cluster, &to.cluster, server, wanted.instances);
        manifest.metadata.namespace = Some(to.namespace.clone());
        let (instances, own) = checked(&manifest, to)?;
        if let Some(own) = own {
            // A copy has its source's system identifier: it would be taken for an earlier copy.
            Box::pin(ask(source, &Asked::Vacant(Box::new(Vacant { own })))).await?;
        }
        create(to, &manifest, Dry::Run).await?;
        let lines = plan(&primary, &to.cluster, instances);
        let name = to.cluster.as_str();
        if wanted.plan {
            let document = serde_json::json!({
                "cluster": to.cluster, "copyOf": primary, "instances": instances,
            });
            return form::tell(form, (name, &lines), &document);
        }
        for line in &lines {
            remark(line);
        }
        let began = Instant::now();
        create(to, &manifest, Dry::Not).await?;
        if waiting.no_wait {
            let line = format!("cluster/{name} is being cloned");
            return form::tell(
                form,
                (name, &[line]),
                &serde_json::json!({ "cluster": to.cluster }),
            );
        }
        Box::pin(follow(to, (Begins::Copied, instances), waiting.timeout)).await?;
        let checked = match check {
            Some(check) => Some(check::run(to, check).await?),
            None => None,
        };
        let seconds = began.elapsed().as_secs_f64();
        let document = serde_json::json!({
            "cluster": to.cluster, "copyOf": primary, "seconds": seconds, "check": checked,
        });
        let line = sentence(&primary, &to.cluster, seconds);
        tell_made(form, (&to.cluster, line), checked.as_ref(), &document)
    }
}

/// Whom to copy.
fn running(view: &View) -> Result<InstanceName, Failure> {
    view.primary().ok_or_else(|| {
        let what = format!("cluster {} has no primary that could be copied", view.name);
        Failure::new(Kind::Refused, what).fix(view.command("explain"))
    })
}

/// How many there will be, and where their log goes, if the manifest can be carried out.
fn checked(manifest: &Cluster, to: &Reached) -> Result<(u32, Option<ArchiveSpec>), Failure> {
    let checked = manifest.checked().map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let what = format!("cluster {} cannot be made, and nothing was", to.cluster);
        Failure::new(Kind::Refused, what).because(problems.join("; "))
    })?;
    Ok((checked.0.instances, checked.0.postgres.archive))
}
