//! Asks for a dump by means of a Dump object, and follows it.
//!
//! Never ends a dump because nobody follows it any more.

use super::super::super::dump::{What, completed};
use super::super::super::form::write;
use super::super::super::output::warn;
use super::super::super::repository::dump::details::Details;
use super::super::super::repository::dump::list::Listed;
use super::super::super::repository::{Asked, Told};
use super::super::errand;
use super::super::place::{Place, Reached};
use super::super::repository::{ask, refuse_without_archive};
use super::super::wait::Waiting;
use super::objects;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use pgherd_api::cluster::references::LocalObjectReference;
use pgherd_api::dump::{Dump, DumpSpec, DumpStatus};
use pgherd_api::errand::{Errand, Going};
use pgherd_core::names::InstanceName;
use pgherd_local::failure::{Failure, Kind};

#[derive(clap::Args)]
pub(super) struct Take {
    #[command(flatten)]
    what: What,
    /// The name of the Dump object (default: the cluster's name and the time)
    #[arg(long, value_name = "NAME", alias = "dump-name")]
    name: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Take {
    pub(super) fn run(self, place: &Place) -> Result<(), Failure> {
        let form = place.form();
        place.with(|reached| async move {
            let view = reached.look().await?;
            refuse_without_archive(&view)?;
            let known = view.checked.as_ref();
            let usual = known.map(|it| it.postgres.initdb.database.clone()).unwrap_or_default();
            let stamp = Timestamp::now().strftime("%Y%m%d%H%M%S");
            let name = self.name.clone().unwrap_or_else(|| format!("{}-{stamp}", reached.cluster));
            let wanted = self.object(&reached, (&name, &usual));
            let followed = errand::ask_for(&reached, &wanted, (form, &self.waiting)).await?;
            let Some((made, _heard)) = followed else { return Ok(()) };
            let (by, took) = taker(&made.going()).ok_or_else(|| {
                Failure::new(Kind::Failed, format!("dump {name} does not say who took it"))
            })?;
            let DumpStatus { warnings, databases, .. } = made.status.clone().unwrap_or_default();
            warn(&warnings);
            let listed = listed(&reached, &made).await;
            let line = completed(reached.cluster.as_str(), &listed, (&by, took), &databases);
            write(form, (&[errand::object::<Dump>(&name)], &[line]), &listed)
        })
    }

    fn object(&self, reached: &Reached, (name, usual): (&str, &str)) -> Dump {
        Dump {
            api_version: Dump::api_version(&()).into_owned(),
            kind: Dump::kind(&()).into_owned(),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(reached.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: DumpSpec {
                cluster: LocalObjectReference { name: reached.cluster.to_string() },
                content: self.what.content(usual),
            },
            status: None,
        }
    }
}

/// Who took it, and how long that was.
fn taker(going: &Going) -> Option<(InstanceName, SignedDuration)> {
    let began = going.reconciliation_started_at.as_ref()?.0;
    let ended = going.reconciliation_terminated_at.as_ref()?.0;
    Some((going.taker()?, ended.duration_since(began)))
}

/// What the repository holds, or what the object says if that cannot be asked.
async fn listed(reached: &Reached, made: &Dump) -> Listed {
    let told = objects::told(made);
    let Some(dump) = told.id.clone() else { return told };
    match ask(reached, &Asked::DumpInfo(Details { dump })).await {
        Ok(Told::DumpInfo(listed)) => Listed { object: told.object, ..*listed },
        Ok(_) => told,
        Err(failure) => {
            tracing::debug!(failure = failure.what, "the repository is not asked");
            told
        }
    }
}
