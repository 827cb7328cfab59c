//! Starts a supervisor that outlives the command which needs it, and tells whether it came up.
//!
//! Never leaves it tied to a terminal: it is of a session of its own, and a child of nobody.

use crate::failure::{Failure, Kind};
use crate::folder::{ClusterFolder, Home};
use pgherd_core::names::ClusterName;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A larger log is put aside at the next start, in place of the one before.
const LOG_LIMIT: u64 = 16 << 20;
/// What a supervisor says once it answers.
const READY: &str = "ready";

/// Whether this is the process that a command waits for, or the one that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Leaving,
    Staying,
}

/// Starts the cluster's supervisor. Blocks until it answers commands, or has said why not.
pub fn start(folder: &ClusterFolder) -> Result<(), Failure> {
    let what = format!("the supervisor of cluster {} does not start", folder.name());
    let failed = |error: &io::Error| {
        Failure::new(Kind::Failed, what.clone())
            .because(error.to_string())
            .fix(format!("read {}", folder.log().display()))
    };
    let log = open_log(&folder.log()).map_err(|error| failed(&error))?;
    let mut child = command(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| failed(&error))?;
    let said = child.stdout.take().map(|stdout| {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    child.wait().map_err(|error| failed(&error))?;
    let line = said.transpose().map_err(|error| failed(&error))?.unwrap_or_default();
    match line.trim() {
        READY => Ok(()),
        "" => Err(failed(&io::Error::other("it ended without a word"))),
        other => Err(serde_json::from_str(other)
            .unwrap_or_else(|_| failed(&io::Error::other(other.to_owned())))),
    }
}

fn command(folder: &ClusterFolder) -> Command {
    let home = folder.root().parent().unwrap_or(folder.root());
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pgherd");
    command.args(["local", "supervise", "--dir"]).arg(home);
    command.arg("--name").arg(folder.name().as_str());
    // A folder that is unmounted or removed later is not to be held by it.
    command.current_dir("/");
    command
}

/// The part of the process that a command starts: gets away from its terminal, and ends.
pub fn leave(home: &Home, cluster: &ClusterName) -> io::Result<()> {
    rustix::process::setsid()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("pgherd");
    command.args(["local", "supervise", "--staying", "--dir"]).arg(home.root());
    command.arg("--name").arg(cluster.as_str());
    command.spawn().map(|_stays| ())
}

/// Says to the command that waits that all is well, and lets go of it. One that was interrupted
/// meanwhile is no reason to end: the next command may be asking already.
pub fn say_ready() -> io::Result<()> {
    let _gone = say(READY).is_err();
    Ok(rustix::stdio::dup2_stdout(io::stderr().as_fd())?)
}

/// Says to the command that waits why there will be no supervisor.
pub fn say_failure(failure: &Failure) -> io::Result<()> {
    say(&serde_json::to_string(failure)?)
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn open_log(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|facts| facts.len() > LOG_LIMIT) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
