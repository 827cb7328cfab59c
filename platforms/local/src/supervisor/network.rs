//! Keeps the process that is the cluster's network, and tells it what to be.
//!
//! Never takes a network for changed before its process has said so.

use super::instance::watch;
use super::{Ended, Wake};
use crate::folder::ClusterFolder;
use crate::network::{Network, NetworkError, Remote};
use crate::processes::{self, Act, Process};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// From its start until it answers.
const START: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub(super) enum NetworkProcessError {
    #[error("starting the cluster's network")]
    Start { source: io::Error },
    #[error("changing the cluster's network")]
    Change { source: NetworkError },
}

pub(super) struct NetworkProcess {
    folder: ClusterFolder,
    remote: Remote,
    process: Option<Process>,
    /// What it has confirmed to be.
    is: Option<Network>,
}

impl NetworkProcess {
    pub(super) fn new(folder: &ClusterFolder) -> Self {
        Self { folder: folder.clone(), remote: Remote::of(folder), process: None, is: None }
    }

    /// Takes over one that outlived an earlier supervisor, and tells what it is.
    pub(super) async fn find(&mut self, wakes: &mpsc::Sender<Wake>) -> Option<Network> {
        let process = self.look()?;
        match self.remote.show().await {
            Ok(is) => {
                info!(pid = process.id, "network found running");
                self.hold(process, wakes);
                self.is = is;
                self.is.clone()
            }
            Err(error) => {
                warn!(%error, "a network that does not answer is ended");
                kill(&process);
                None
            }
        }
    }

    pub(super) fn lives(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn ended(&mut self) {
        warn!("the network has ended");
        self.process = None;
        self.is = None;
    }

    /// Makes the network what it shall be, and starts its process if there is none.
    pub(super) async fn change(
        &mut self,
        network: Network,
        wakes: &mpsc::Sender<Wake>,
    ) -> Result<(), NetworkProcessError> {
        if self.is.as_ref() == Some(&network) {
            return Ok(());
        }
        if self.process.is_none() {
            self.start(wakes).await?;
        }
        self.is = None;
        let changed = self.remote.change(&network).await;
        changed.map_err(|source| NetworkProcessError::Change { source })?;
        self.is = Some(network);
        Ok(())
    }

    pub(super) async fn end(&mut self) {
        let Some(process) = self.process.take() else { return };
        if let Err(error) = processes::act_on(&process, Act::Terminate) {
            warn!(%error, "the network cannot be ended");
        }
        let end = Instant::now() + START;
        while self.look().is_some() {
            if Instant::now() >= end {
                return kill(&process);
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn start(&mut self, wakes: &mpsc::Sender<Wake>) -> Result<(), NetworkProcessError> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("pgherd");
        command.args(["local", "network", "--dir"]);
        command.arg(self.folder.root().parent().unwrap_or(self.folder.root()));
        command.arg("--name").arg(self.folder.name().as_str()).current_dir(self.folder.root());
        command.stdin(Stdio::null()).process_group(0);
        let spawned = command.spawn();
        spawned.map_err(|source| NetworkProcessError::Start { source })?;
        let end = Instant::now() + START;
        loop {
            match (self.remote.show().await, self.look()) {
                (Ok(_), Some(process)) => {
                    self.hold(process, wakes);
                    return Ok(());
                }
                (Err(source), _) if Instant::now() >= end => {
                    return Err(NetworkProcessError::Change { source });
                }
                (Ok(_) | Err(_), _) => sleep(BETWEEN_LOOKS).await,
            }
        }
    }

    fn hold(&mut self, process: Process, wakes: &mpsc::Sender<Wake>) {
        if let Ok(Some(handle)) = processes::watch(&process) {
            watch(handle, Ended::Network, wakes);
        }
        self.process = Some(process);
    }

    fn look(&self) -> Option<Process> {
        processes::network_of(self.folder.root()).unwrap_or_default()
    }
}

fn kill(process: &Process) {
    if let Err(error) = processes::act_on(process, Act::Kill) {
        warn!(%error, "the network cannot be killed");
    }
}
