//! `pgherd local list`: the clusters of this user.
//!
//! Never wakes a cluster: it only reads what is on disk, and knocks.

use super::output::{Output, say, say_all, say_json};
use super::place::{Place, folder};
use super::status::table;
use pgherd_core::wishes::Shall;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::Home;
use pgherd_local::registration::{Lock, Registration};
use serde::Serialize;

/// List the clusters of this machine
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local list")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    state: &'static str,
    postgres: Option<u32>,
    port: Option<u16>,
    user: Option<String>,
    folder: String,
}

impl List {
    pub(super) fn output(&self) -> Output {
        self.place.output()
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        let home = self.place.home()?;
        let names = home.clusters().map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        let mut entries = Vec::new();
        for name in names {
            entries.push(entry(&home, &name)?);
        }
        if self.output() == Output::Json {
            return say_json(&entries);
        }
        if entries.is_empty() {
            say(&format!("no clusters in {} (pgherd local up makes one)", home.root().display()));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        let header = ["CLUSTER", "STATE", "POSTGRESQL", "PORT", "USER", "FOLDER"];
        say_all(&table(&header, &rows));
        Ok(())
    }
}

fn entry(home: &Home, name: &pgherd_core::names::ClusterName) -> Result<Entry, Failure> {
    let folder = folder(home, name)?;
    let known = Registration::load(&folder);
    let runs = || Lock::take(&folder).is_ok_and(|lock| lock.is_none());
    let state = match &known {
        Err(_) => "unreadable",
        Ok(None) => "half-made",
        Ok(Some(_)) if runs() => "up",
        Ok(Some(known)) if known.shall == Shall::Run => "up, supervisor not running",
        Ok(Some(_)) => "down",
    };
    let known = known.ok().flatten();
    Ok(Entry {
        name: name.to_string(),
        state,
        postgres: known.as_ref().map(|known| known.major),
        port: known.as_ref().map(|known| known.ports.base() + 1),
        user: known.map(|known| known.account.name),
        folder: folder.root().display().to_string(),
    })
}

fn row(entry: &Entry) -> Vec<String> {
    let known = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    vec![
        entry.name.clone(),
        entry.state.to_owned(),
        known(entry.postgres.map(|major| major.to_string())),
        known(entry.port.map(|port| port.to_string())),
        known(entry.user.clone()),
        entry.folder.clone(),
    ]
}
