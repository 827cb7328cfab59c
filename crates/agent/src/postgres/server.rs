//! Starts, watches, reloads and stops one PostgreSQL server.
//!
//! Never starts one that may write unless it is told so in so many words, and never one beside
//! processes that are left of an earlier one.

mod log;
mod status;

use crate::durable::{self, DurableError};
use crate::postgres::control::{self, Control, ControlError, State};
use crate::postgres::folder::{self, FolderError};
use crate::postgres::site::{Site, SocketPathError};
use crate::postgres::wal::fork::{self, ForkError};
use crate::postgres::wal::history::{self, HistoryError};
use crate::postgres::wal::unbegun::{self, UnbegunError};
use crate::process::tree::{Dead, Reaper, TreeError};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

pub use log::{LogError, bound_log, log_tail};
pub use status::{Readiness, readiness};

/// Between two looks at a file PostgreSQL writes.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Reading the segment in which a timeline began, twice at most.
const COMPLETING: Duration = Duration::from_secs(30);

/// How the server comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Replays and receives; it cannot write.
    Standby,
    /// Recovers and accepts writes at once.
    ReadWrite,
}

/// How it is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Waits for every session to end by itself.
    Smart,
    /// Ends sessions, writes a shutdown checkpoint and sends it to the standbys.
    Fast,
    /// Ends everything without a checkpoint; the next start recovers.
    Immediate,
}

/// A running server: the process that all its others descend from.
#[derive(Debug)]
pub struct Postmaster {
    pid: Pid,
    exit: AsyncFd<OwnedFd>,
}

/// How it ended, as far as this process could learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Status(ExitStatus),
    /// Somebody else reaped it: the fencing thread, or a parent that is not us.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("placing the unix socket")]
    PlaceSocket { source: SocketPathError },
    #[error("looking for processes left of an earlier PostgreSQL")]
    LookForProcesses { source: TreeError },
    #[error("{count} processes of an earlier PostgreSQL still live in {data:?}: kill them first")]
    FindNoProcess { data: PathBuf, count: usize },
    #[error("giving up timelines that were reserved here")]
    GiveUpReservations { source: HistoryError },
    #[error("removing what an interrupted promotion left")]
    RemoveUnbegun { source: UnbegunError },
    #[error("making the log whole where its newest timeline began")]
    CompleteFork { source: ForkError },
    #[error("setting how PostgreSQL comes up")]
    SetMode { source: DurableError },
    #[error("removing {path:?}, which an earlier PostgreSQL left")]
    RemoveLeftover { path: PathBuf, source: DurableError },
    #[error("preparing the folder of the unix socket")]
    PrepareSockets { source: FolderError },
    #[error("opening PostgreSQL's log")]
    OpenLog { source: LogError },
    #[error("starting {program:?}")]
    Start { program: PathBuf, source: io::Error },
    #[error("watching process {pid}")]
    Watch { pid: i32, source: io::Error },
    #[error("PostgreSQL ended while it was starting ({exit}); it said:\n{said}")]
    StayUp { exit: String, said: String },
    #[error("PostgreSQL was not ready within {within:?}; it said:\n{said}")]
    BeReady { within: Duration, said: String },
    #[error("sending {signal} to process {pid}")]
    Signal { pid: i32, signal: &'static str, source: io::Error },
    #[error("PostgreSQL did not end within {within:?}")]
    End { within: Duration },
    #[error("reading how far the shutdown has come")]
    ReadControl { source: ControlError },
    #[error("PostgreSQL ended without a clean shutdown, its last state is {state:?}")]
    ShutDown { state: State },
}

/// Starts the server; it is not ready yet when this returns.
pub async fn start(site: &Site, mode: Mode) -> Result<Postmaster, ServerError> {
    site.socket().map_err(|source| ServerError::PlaceSocket { source })?;
    clear_leftovers(site)?;
    folder::make_private(&site.sockets, site.owner)
        .map_err(|source| ServerError::PrepareSockets { source })?;
    history::give_up_unused(&site.data)
        .map_err(|source| ServerError::GiveUpReservations { source })?;
    unbegun::remove(&site.data).map_err(|source| ServerError::RemoveUnbegun { source })?;
    fork::complete(site, COMPLETING)
        .await
        .map_err(|source| ServerError::CompleteFork { source })?;
    set_mode(site, mode)?;
    let log = log::open(site).map_err(|source| ServerError::OpenLog { source })?;
    let second = log.try_clone().map_err(|source| ServerError::OpenLog {
        source: LogError::Open { path: site.log(), source },
    })?;
    let program = site.installation.tool("postgres");
    let mut command = command(site, &program);
    command.stdout(Stdio::from(log)).stderr(Stdio::from(second));
    let child = command.spawn().map_err(|source| ServerError::Start { program, source })?;
    // The child is watched and reaped by its id: the same works after the agent re-executed itself.
    Postmaster::watch(Pid::from_child(&child))
}

fn command(site: &Site, program: &std::path::Path) -> Command {
    let mut command = match &site.launcher {
        None => Command::new(program),
        Some(launcher) => {
            let mut command = Command::new(&launcher.program);
            command.args(&launcher.arguments).arg(program);
            command
        }
    };
    command
        .arg("-D")
        .arg(&site.data)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        // Ctrl-C at the agent's terminal is not for PostgreSQL.
        .process_group(0);
    if let Some(owner) = site.owner {
        command.uid(owner.user).gid(owner.group);
    }
    command
}

/// Removes the lock files of a server that was killed: its id may belong to anybody by now, and
/// PostgreSQL would refuse to start.
pub fn clear_leftovers(site: &Site) -> Result<(), ServerError> {
    let mut reaper =
        Reaper::new(&site.data).map_err(|source| ServerError::LookForProcesses { source })?;
    let count = reaper.count().map_err(|source| ServerError::LookForProcesses { source })?;
    if count > 0 {
        return Err(ServerError::FindNoProcess { data: site.data.clone(), count });
    }
    let socket = site.socket().map_err(|source| ServerError::PlaceSocket { source })?;
    let mut lock = socket.clone().into_os_string();
    lock.push(".lock");
    for path in [site.data.join("postmaster.pid"), lock.into(), socket] {
        if path.symlink_metadata().is_ok() {
            durable::remove(&path)
                .map_err(|source| ServerError::RemoveLeftover { path, source })?;
        }
    }
    Ok(())
}

fn set_mode(site: &Site, mode: Mode) -> Result<(), ServerError> {
    let signal = site.data.join("standby.signal");
    let done = match (mode, signal.exists()) {
        (Mode::Standby, false) => durable::write(&signal, b"", site.private()),
        (Mode::ReadWrite, true) => durable::remove(&signal),
        (Mode::Standby, true) | (Mode::ReadWrite, false) => Ok(()),
    };
    done.map_err(|source| ServerError::SetMode { source })
}

impl Postmaster {
    /// Watches a process that was started before, by this process or the one it replaced.
    pub fn watch(pid: Pid) -> Result<Self, ServerError> {
        let watch = |source: io::Error| ServerError::Watch { pid: pid.as_raw_pid(), source };
        let exit = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| watch(error.into()))?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, which is forbidden here; an OwnedFd stays open and the same, which is all it asks"
        )]
        let exit = AsyncFd::with_interest(exit, Interest::READABLE).map_err(watch)?;
        Ok(Self { pid, exit })
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits until the process has ended, and reaps it. Others of its tree may still live.
    pub async fn ended(&self) -> Exit {
        // An error here means that the descriptor cannot be waited for; reaping then tells.
        let _readable = self.exit.readable().await;
        match rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Exit::Status(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(_) => Exit::Unknown,
        }
    }

    /// Waits until it accepts connections; a standby does so once it is consistent.
    pub async fn ready(&self, site: &Site, within: Duration) -> Result<(), ServerError> {
        self.reach(site, within, |now| now == Readiness::Ready).await
    }

    /// Waits until it is ready or at least a standby that replays.
    pub async fn replaying(&self, site: &Site, within: Duration) -> Result<(), ServerError> {
        let reached = |now| matches!(now, Readiness::Ready | Readiness::Standby);
        self.reach(site, within, reached).await
    }

    async fn reach(
        &self,
        site: &Site,
        within: Duration,
        reached: impl Fn(Readiness) -> bool,
    ) -> Result<(), ServerError> {
        let deadline = Instant::now() + within;
        loop {
            if reached(readiness(site, self.pid)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(ServerError::BeReady { within, said: log_tail(site) });
            }
            tokio::select! {
                exit = self.ended() => {
                    return Err(ServerError::StayUp { exit: exit.to_string(), said: log_tail(site) });
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Makes it read its configuration again.
    pub fn reload(&self) -> Result<(), ServerError> {
        self.signal(Signal::HUP, "SIGHUP")
    }

    /// Makes it look for the promote file.
    pub(crate) fn look_for_promotion(&self) -> Result<(), ServerError> {
        self.signal(Signal::USR1, "SIGUSR1")
    }

    pub fn request_stop(&self, stop: Stop) -> Result<(), ServerError> {
        match stop {
            Stop::Smart => self.signal(Signal::TERM, "SIGTERM"),
            Stop::Fast => self.signal(Signal::INT, "SIGINT"),
            Stop::Immediate => self.signal(Signal::QUIT, "SIGQUIT"),
        }
    }

    fn signal(&self, signal: Signal, name: &'static str) -> Result<(), ServerError> {
        // By descriptor: the id may be another's by now.
        match rustix::process::pidfd_send_signal(self.exit.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(ServerError::Signal {
                pid: self.pid.as_raw_pid(),
                signal: name,
                source: error.into(),
            }),
        }
    }

    /// Asks it to stop and waits until none of its processes is left. The evidence is worth the
    /// same as that of a fence.
    pub async fn stop(
        &self,
        site: &Site,
        stop: Stop,
        within: Duration,
    ) -> Result<Dead, ServerError> {
        self.request_stop(stop)?;
        tokio::time::timeout(within, self.ended())
            .await
            .map_err(|_| ServerError::End { within })?;
        sweep(site, within).await
    }

    /// Waits for the shutdown checkpoint after a stop was requested: from there on nothing is
    /// written, though standbys may still be sent the rest and the archiver may still work.
    pub async fn shut_down(&self, site: &Site, within: Duration) -> Result<Control, ServerError> {
        let deadline = Instant::now() + within;
        let read =
            || control::read_file(&site.data).map_err(|source| ServerError::ReadControl { source });
        let mut has_ended = false;
        loop {
            let control = read()?;
            if control.state.is_clean() {
                return Ok(control);
            }
            if has_ended {
                return Err(ServerError::ShutDown { state: control.state });
            }
            if Instant::now() >= deadline {
                return Err(ServerError::End { within });
            }
            tokio::select! {
                // Its last state is written before it ends: look once more.
                _ = self.ended() => has_ended = true,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

/// Kills what an ended postmaster left behind; usually nothing.
pub async fn sweep(site: &Site, within: Duration) -> Result<Dead, ServerError> {
    let data = site.data.clone();
    let killed = tokio::task::spawn_blocking(move || Reaper::new(&data)?.kill(None, within)).await;
    match killed {
        Ok(dead) => dead.map_err(|source| ServerError::LookForProcesses { source }),
        Err(_) => Err(ServerError::End { within }),
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Unknown => f.write_str("reaped elsewhere"),
        }
    }
}
