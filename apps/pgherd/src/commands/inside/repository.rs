//! `pgherd inside repository`: asks the cluster's repository from where it can be opened.
//!
//! Never goes on when nobody listens any more, and never says what opens the repository.

use super::super::output::say;
use super::super::repository::{Around, Asked, Opened, Step, Told, answer, open_with, plan};
use super::question;
use anyhow::bail;
use pgherd_agent::archive::repository::in_folder;
use pgherd_agent::config::Folder;
use pgherd_agent::durable;
use pgherd_agent::postgres::control;
use pgherd_api::agent::Specification;
use pgherd_api::console::no_archive;
use pgherd_core::names::ClusterName;
use pgherd_kubernetes::pod;
use pgherd_local::failure::{Failure, Kind};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::interval;

/// Whoever listens knows by this that it goes on.
pub(crate) const BETWEEN_WORDS: Duration = Duration::from_secs(2);

/// Read a question from stdin, and print how far it is and what the repository says
#[derive(clap::Args)]
pub(super) struct Repository {}

/// What is said, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Said {
    /// It goes on.
    Step(Step),
    Told(Box<Told>),
    Refused(Failure),
}

pub(super) async fn tell() -> anyhow::Result<()> {
    let (asked, gone) = question::read().await?;
    let said = tokio::select! {
        answered = work(&asked) => match answered {
            Ok(told) => Said::Told(Box::new(told)),
            Err(failure) => Said::Refused(failure),
        },
        _gone = gone => bail!("nobody listens any more"),
    };
    say(&serde_json::to_string(&said)?);
    Ok(())
}

async fn work(asked: &Asked) -> Result<Told, Failure> {
    let (cluster, folder) = pod::own().map_err(failed)?;
    let opened = open(&cluster, &folder)?;
    if let Some(own) = asked.own() {
        let own = open_with(own, &in_folder(&folder.archive()), opened.around.clone())?;
        plan::refuse_occupied(&own).await?;
    }
    let (teller, shown) = watch::channel(Step::default());
    let mut working = std::pin::pin!(answer(&opened, asked, &teller));
    let mut words = interval(BETWEEN_WORDS);
    loop {
        tokio::select! {
            told = &mut working => return told,
            _ = words.tick() => {
                let step = Said::Step(shown.borrow().clone());
                // What cannot be said is no reason to stop.
                if let Ok(step) = serde_json::to_string(&step) {
                    say(&step);
                }
            }
        }
    }
}

fn open(cluster: &ClusterName, folder: &Folder) -> Result<Opened, Failure> {
    let told: Option<Specification> = durable::load(&folder.specification()).map_err(failed)?;
    let Some(spec) = told.and_then(|told| told.postgres.archive) else {
        return Err(Failure::new(Kind::Refused, no_archive(cluster))
            .fix("add spec.backup.barmanObjectStore to its manifest, and apply that"));
    };
    let data = folder.pgdata();
    let control = data.join(control::FILE).exists().then(|| control::read_file(&data));
    let control = control.transpose().map_err(failed)?;
    let around = Around {
        cluster: cluster.to_string(),
        system: control.map(|control| control.system_id),
        major: Some(major(&data)?),
        disk: None,
    };
    open_with(spec, &in_folder(&folder.archive()), around)
}

/// Of the data, and so of the programs beside it.
fn major(data: &Path) -> Result<u32, Failure> {
    let read = std::fs::read_to_string(data.join("PG_VERSION")).map_err(failed)?;
    read.trim().parse().map_err(failed)
}

fn failed(error: impl Error + 'static) -> Failure {
    Failure::from_error(Kind::Failed, &error)
}
