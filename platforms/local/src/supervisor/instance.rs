//! Keeps the processes of one instance: starts its agent, watches it, signals and removes it.
//!
//! Never starts an agent without looking first whether one lives.

use super::{Ended, Wake};
use crate::folder::ClusterFolder;
use crate::keeper::{self, Failures};
use crate::processes::{self, Act, Life, Part, Process, ProcessesError};
use pgherd_core::names::InstanceName;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

/// A thread that only waits needs little.
const WATCHER_STACK: usize = 64 * 1024;
/// The end of what an agent said last; its reason to fail is in there.
const LAST_WORDS_BYTES: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub(super) enum InstanceError {
    #[error("opening {path:?} for what the agent says")]
    OpenLog { path: PathBuf, source: io::Error },
    #[error("starting the agent of {instance}")]
    Start { instance: InstanceName, source: io::Error },
    #[error("looking at the processes of {instance}")]
    Look { instance: InstanceName, source: ProcessesError },
    #[error("removing {path:?}")]
    Remove { path: PathBuf, source: io::Error },
}

/// What is known of one instance's processes.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: InstanceName,
    root: PathBuf,
    agent: Option<Agent>,
    pub(super) failures: Failures,
    /// The agent is not started again before this.
    not_before: Instant,
    /// Since when it has been known that the instance shall end.
    pub(super) ending: Option<Instant>,
    /// What the agent last said of its PostgreSQL, while it ends.
    pub(super) server: keeper::Server,
    /// Why the agent ended last.
    pub(super) last: String,
}

#[derive(Debug)]
struct Agent {
    process: Process,
    since: Instant,
    asked_to_end: Option<Instant>,
}

impl Instance {
    pub(super) fn new(folder: &ClusterFolder, name: &InstanceName) -> Self {
        Self {
            name: name.clone(),
            root: folder.instance(name).root().to_owned(),
            agent: None,
            failures: Failures::default(),
            not_before: Instant::now(),
            ending: None,
            server: keeper::Server::Unknown,
            last: String::new(),
        }
    }

    /// All living processes of the instance.
    pub(super) fn processes(&self) -> Result<Vec<Process>, InstanceError> {
        processes::of(&self.root)
            .map_err(|source| InstanceError::Look { instance: self.name.clone(), source })
    }

    /// Takes note of what lives, also of an agent that an earlier supervisor started.
    pub(super) fn look(&mut self, found: &[Process], wakes: &mpsc::Sender<Wake>) {
        if found.iter().any(|process| process.removed && process.part == Part::Agent) {
            // What it receives is lost, and it would be asked in place of its successor.
            warn!(instance = %self.name, "the folder was removed: what still works there is killed");
            if let Err(error) = self.act(Act::Kill, |process| process.removed) {
                warn!(instance = %self.name, %error, "it cannot be killed");
            }
        }
        let lives = found.iter().find(|process| process.part == Part::Agent);
        let known = self.agent.as_ref().map(|agent| (agent.process.id, agent.process.started));
        match lives {
            Some(process) if known == Some((process.id, process.started)) => {}
            Some(process) => {
                info!(instance = %self.name, pid = process.id, "agent found running");
                self.hold(process.clone(), wakes);
            }
            None if known.is_some() => self.ended(),
            None => {}
        }
    }

    fn hold(&mut self, process: Process, wakes: &mpsc::Sender<Wake>) {
        let ended = Ended::Agent { name: self.name.clone(), pid: process.id };
        match processes::watch(&process) {
            Ok(Some(handle)) => watch(handle, ended, wakes),
            // It has ended already: the next look finds that.
            Ok(None) => {}
            Err(error) => warn!(instance = %self.name, %error, "agent cannot be watched"),
        }
        self.agent = Some(Agent { process, since: Instant::now(), asked_to_end: None });
    }

    pub(super) fn is_agent(&self, pid: u32) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.process.id == pid)
    }

    /// The agent has ended: of itself, because it was asked to, or killed.
    pub(super) fn ended(&mut self) {
        let Some(agent) = self.agent.take() else { return };
        let life = agent.since.elapsed();
        self.server = keeper::Server::Unknown;
        if agent.asked_to_end.is_some() {
            info!(instance = %self.name, "agent ended as asked");
            self.failures = Failures::default();
            return;
        }
        self.last = last_words(&self.root).unwrap_or_else(|| "it said nothing".to_owned());
        self.failures = self.failures.after(life);
        self.not_before = Instant::now() + self.failures.wait();
        let wait = self.failures.wait();
        warn!(instance = %self.name, ?life, ?wait, said = %self.last, "agent ended");
    }

    pub(super) fn agent(&self, now: Instant) -> keeper::Agent {
        match &self.agent {
            None => keeper::Agent::Absent { waits: self.not_before.saturating_duration_since(now) },
            Some(agent) => match agent.asked_to_end {
                Some(asked) => keeper::Agent::Ends { asked: now.saturating_duration_since(asked) },
                None => keeper::Agent::Lives,
            },
        }
    }

    pub(super) fn start(&mut self, config: &Path) -> Result<(), InstanceError> {
        let said = log_file(&self.root)
            .map_err(|(path, source)| InstanceError::OpenLog { path, source })?;
        let copy = said.try_clone();
        let failed = |source| InstanceError::Start { instance: self.name.clone(), source };
        // By /proc: the program may lie where the account cannot go.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("pgherd");
        command.arg("agent").arg("--config").arg(config).current_dir(&self.root);
        command.stdin(Stdio::null()).stdout(copy.map_err(failed)?).stderr(said);
        // Signals of a terminal are not for it.
        command.process_group(0);
        let child = command.spawn().map_err(failed)?;
        info!(instance = %self.name, pid = child.id(), "agent started");
        Ok(())
    }

    /// Lets the agent be started again at once.
    pub(super) fn forgive(&mut self) {
        self.failures = Failures::default();
        self.not_before = Instant::now();
        self.ending = None;
    }

    /// Asks the agent to stop its PostgreSQL and end.
    pub(super) fn ask_to_end(&mut self, now: Instant) -> Result<(), InstanceError> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        agent.asked_to_end = Some(now);
        info!(instance = %self.name, "agent asked to end");
        processes::act_on(&agent.process, Act::Terminate)
            .map_err(|source| InstanceError::Look { instance: self.name.clone(), source })
    }

    /// Kills every process of the instance, its agent first: it is not to see the others die.
    pub(super) fn kill(&mut self) -> Result<(), InstanceError> {
        if let Some(agent) = &mut self.agent {
            // Whatever follows is not its failure.
            agent.asked_to_end.get_or_insert_with(Instant::now);
        }
        self.act(Act::Kill, |_| true).map(|_| ())
    }

    /// Does `act` to those of its processes that are `meant`; returns how many there were.
    pub(super) fn act(
        &self,
        act: Act,
        meant: impl Fn(&Process) -> bool,
    ) -> Result<usize, InstanceError> {
        let failed = |source| InstanceError::Look { instance: self.name.clone(), source };
        let mut found: Vec<_> = self.processes()?.into_iter().filter(|one| meant(one)).collect();
        found.sort_by_key(|process| match process.part {
            Part::Agent => 0,
            Part::Postmaster => 1,
            Part::Other => 2,
        });
        for process in &found {
            processes::act_on(process, act).map_err(failed)?;
        }
        Ok(found.len())
    }

    pub(super) fn frozen(found: &[Process]) -> usize {
        found.iter().filter(|process| process.life == Life::Frozen).count()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.agent.as_ref().map(|agent| agent.process.id)
    }

    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.not_before.saturating_duration_since(now)
    }

    /// Removes the folder with all data.
    pub(super) fn remove(&self) -> Result<(), InstanceError> {
        match std::fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => {
                other.map_err(|source| InstanceError::Remove { path: self.root.clone(), source })
            }
        }
    }
}

/// Wakes the loop when the process behind `handle` ends. A thread waits, because the process need
/// not be a child of ours, and it ends with the process or with us.
pub(super) fn watch(handle: OwnedFd, ended: Ended, wakes: &mpsc::Sender<Wake>) {
    let wakes = wakes.clone();
    let waiting = move || {
        let mut waits = [PollFd::new(&handle, PollFlags::IN)];
        while matches!(poll(&mut waits, None), Err(Errno::INTR)) {}
        // A loop that is gone has nothing left to watch.
        let _gone = wakes.blocking_send(Wake::Ended(ended));
    };
    let thread = std::thread::Builder::new().name("watch".to_owned()).stack_size(WATCHER_STACK);
    if let Err(error) = thread.spawn(waiting) {
        warn!(%error, "a process cannot be watched; it is looked at now and then");
    }
}

/// Takes the ends of all children that have ended, also of orphans that came to us.
pub(super) fn reap() {
    while let Ok(Some(_ended)) = wait(WaitOptions::NOHANG) {}
}

fn log_path(root: &Path) -> PathBuf {
    root.join("log/agent.stderr")
}

fn log_file(root: &Path) -> Result<File, (PathBuf, io::Error)> {
    let path = log_path(root);
    let mut options = OpenOptions::new();
    // Begun anew each time: the agent's own log tells what it does, this only why it could not.
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&path).map_err(|error| (path, error))
}

/// The last line an agent wrote that says why it ended.
fn last_words(root: &Path) -> Option<String> {
    let mut file = File::open(log_path(root)).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_WORDS_BYTES))).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let said = lines.clone().find_map(|line| line.strip_prefix("error: ")).or(lines.next())?;
    Some(said.to_owned())
}
