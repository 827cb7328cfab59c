//! Runs the user's own checks in a restored cluster.
//!
//! Never calls a check passed that did not run to its end.

use super::super::switchover;
use pgherd_local::client::Supervisor;
use pgherd_local::failure::{Failure, Kind};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Longer than any check should take.
const WITHIN: Duration = Duration::from_hours(1);

/// What is to be checked.
pub(super) struct Check {
    path: PathBuf,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    pub(super) failure: Option<String>,
    output: String,
}

/// A file that is missing is told before anything is made.
pub(super) fn read(path: &Path) -> Result<Check, Failure> {
    let found = std::fs::File::open(path).and_then(|_| std::path::absolute(path));
    found.map(|path| Check { path }).map_err(|error| {
        Failure::new(Kind::Usage, format!("{} cannot be read", path.display()))
            .because(error.to_string())
            .fix("name a file with SQL statements")
    })
}

pub(super) async fn run(supervisor: &Supervisor, check: &Check) -> Result<Checked, Failure> {
    let view = supervisor.view().await?;
    let program = view.bindir.join("psql");
    let uri = switchover::passwordless(supervisor, &view);
    let run = Command::new(&program)
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"])
        .args(["--set", "ON_ERROR_STOP=1", "--file"])
        .arg(&check.path)
        .arg(uri)
        // Root's own certificates are not for the cluster's owner.
        .env("HOME", supervisor.folder().root())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(WITHIN, run).await;
    let failed = |why: String| Failure::new(Kind::Failed, "the checks cannot be run").because(why);
    let ran = ran.map_err(|_| failed(format!("psql took longer than {WITHIN:?}")))?;
    let ran = ran.map_err(|error| failed(format!("{}: {error}", program.display())))?;
    let output = String::from_utf8_lossy(&ran.stdout).into_owned();
    let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    let failure = match (ran.status.success(), output.lines().position(|line| line == "f")) {
        (false, _) => Some(said),
        (true, Some(line)) => Some(format!("row {} of what it returned is false", line + 1)),
        (true, None) => None,
    };
    Ok(Checked { failure, output })
}
