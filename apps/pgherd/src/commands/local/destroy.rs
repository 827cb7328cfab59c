//! `pgherd local destroy`: ends a cluster and removes its data.
//!
//! Never removes anything that is not ours, and nothing at all before its name was confirmed.

use super::down::{self, Manner};
use super::output::{remark, say_either};
use super::place::{Place, as_account, owner};
use pgherd_core::names::InstanceName;
use pgherd_core::wishes::MOST_INSTANCES;
use pgherd_local::account::Account;
use pgherd_local::client;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::prepare;
use pgherd_local::processes::{self, Act};
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// End a cluster and remove its data
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local destroy --yes")]
pub(crate) struct Destroy {
    #[command(flatten)]
    pub(super) place: Place,
    /// Do not ask for the cluster's name
    #[arg(long)]
    yes: bool,
}

impl Destroy {
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = self.place.folder()?;
        let root = folder.root().to_owned();
        self.remove(&folder).map_err(|failure| failure.addressed(&root))
    }

    fn remove(self, folder: &ClusterFolder) -> Result<(), Failure> {
        if !remove_unclaimed(folder)? {
            let account = owner(folder)?;
            refuse_foreign(folder)?;
            refuse_other_owner(folder)?;
            if !self.yes {
                confirm(folder)?;
            }
            destroy(folder, &account, self.place.timeout()).map_err(unfinished)?;
        }
        let name = folder.name();
        let document = serde_json::json!({ "cluster": name, "state": "destroyed" });
        say_either(self.place.output(), &format!("cluster/{name} destroyed"), &document)
    }
}

/// Removes the empty folder of an `up` that ended before it gave the folder to an account. There
/// is nothing in it to be confirmed.
fn remove_unclaimed(folder: &ClusterFolder) -> Result<bool, Failure> {
    if prepare::owner(folder).map_err(|error| Failure::from_error(Kind::Refused, &error))?.is_some()
    {
        return Ok(false);
    }
    match std::fs::remove_dir(folder.root()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(irremovable(folder.root(), &error)),
    }
}

/// Nobody goes on with what was interrupted here.
pub(super) fn unfinished(failure: Failure) -> Failure {
    if failure.kind != Kind::Interrupted {
        return failure;
    }
    Failure::new(Kind::Interrupted, "interrupted before everything was removed")
        .fix("pgherd local destroy")
}

/// Kills everything of the cluster and removes its folder.
pub(super) fn destroy(
    folder: &ClusterFolder,
    account: &Account,
    within: Duration,
) -> Result<(), Failure> {
    as_account(account, || async {
        if folder.registration().exists() {
            end(folder, within).await;
        }
        kill_all(folder, within).await?;
        remove_content(folder)
    })?;
    // As root: the folder above is not the account's.
    std::fs::remove_dir(folder.root()).map_err(|error| irremovable(folder.root(), &error))
}

fn irremovable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("{} cannot be removed", path.display()))
        .because(error.to_string())
        .fix("remove the cause and run this again")
}

/// Lets the supervisor end what it started. One that cannot is killed with all the rest.
async fn end(folder: &ClusterFolder, within: Duration) {
    let runs = client::present(folder).await;
    if matches!(runs, Ok(Some(_)))
        && let Err(failure) = down::bring_down(folder, within, Manner::Forced).await
    {
        remark(&format!("warning: {failure}; its processes are killed"));
    }
}

async fn kill_all(folder: &ClusterFolder, within: Duration) -> Result<(), Failure> {
    let end = Instant::now() + within;
    loop {
        let left = living(folder)?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            let what = format!("{} processes of the cluster do not end", left.len());
            return Err(Failure::new(Kind::TimedOut, what).fix("run this again"));
        }
        for process in &left {
            processes::act_on(process, Act::Kill)
                .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn living(folder: &ClusterFolder) -> Result<Vec<processes::Process>, Failure> {
    let failed = |error| Failure::from_error(Kind::Failed, &error);
    // The supervisor first: it would start again what is killed.
    let supervisor = processes::supervisor_of(folder.root()).map_err(failed)?;
    let network = processes::network_of(folder.root()).map_err(failed)?;
    let others = processes::of(folder.root()).map_err(failed)?;
    Ok(supervisor.into_iter().chain(network).chain(others).collect())
}

fn remove_content(folder: &ClusterFolder) -> Result<(), Failure> {
    // The registration goes last: as long as it is there, this can be tried again.
    let root = folder.root();
    let entries = std::fs::read_dir(root).map_err(|error| irremovable(root, &error))?;
    for entry in entries {
        let path = entry.map_err(|error| irremovable(root, &error))?.path();
        if path == folder.registration() {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.map_err(|error| irremovable(&path, &error))?;
    }
    match std::fs::remove_file(folder.registration()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| irremovable(&folder.registration(), &error)),
    }
}

/// Nothing but what we make may be in a folder that is removed as a whole.
fn refuse_foreign(folder: &ClusterFolder) -> Result<(), Failure> {
    let root = folder.root();
    let failed = |error: io::Error| {
        Failure::new(Kind::Failed, format!("{} cannot be read", root.display()))
            .because(error.to_string())
    };
    let instances =
        (1..=MOST_INSTANCES).map(|serial| InstanceName::new(folder.name(), serial).to_string());
    let is_cluster = folder.registration().exists();
    let ours: Vec<String> = instances.chain(folder.own_names()).filter(|_| is_cluster).collect();
    // As its owner it could not be listed otherwise; as root it can.
    for entry in std::fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if !ours.contains(&name) && !prepare::is_left_by_beginning(&name) {
            let what = format!("{} holds {name:?}, which is not ours", root.display());
            return Err(Failure::new(Kind::Refused, what).fix("move it away and run this again"));
        }
    }
    Ok(())
}

/// What its folder's owner may not remove would be left behind, without the rest.
fn refuse_other_owner(folder: &ClusterFolder) -> Result<(), Failure> {
    let owner = |path: &Path| std::fs::metadata(path).map(|facts| facts.uid());
    let (root, registration) = (folder.root(), folder.registration());
    let (Ok(outside), Ok(inside)) = (owner(root), owner(&registration)) else { return Ok(()) };
    if outside == inside {
        return Ok(());
    }
    let root = root.display();
    let what = format!("{root} belongs to user {outside}, and the cluster in it to user {inside}");
    Err(Failure::new(Kind::Refused, what)
        .fix(format!("chown -R {inside} {root}, and run this again")))
}

fn confirm(folder: &ClusterFolder) -> Result<(), Failure> {
    let name = folder.name().as_str();
    let unconfirmed = || {
        Failure::new(Kind::Refused, format!("cluster {name} and its data are kept"))
            .because("its name was not confirmed")
            .fix("type it when asked, or add --yes")
    };
    if !io::stdin().is_terminal() {
        return Err(unconfirmed());
    }
    let with = if folder.repository().exists() { ", its backups included" } else { "" };
    remark(&format!(
        "This removes cluster {name} and all of its data{with}. Type its name to go on:"
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|_| unconfirmed())?;
    if line.trim() == name { Ok(()) } else { Err(unconfirmed()) }
}
