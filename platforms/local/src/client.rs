//! How commands reach a cluster's supervisor, which is started if it should run and does not.
//!
//! Never starts a cluster that its user has stopped.

use crate::control::{Answer, Done, ROUTE, Request, View};
use crate::failure::{Failure, Kind};
use crate::folder::ClusterFolder;
use crate::launch;
use crate::registration::{Registration, Shall};
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A supervisor answers at once, unless it looks at something first.
const PATIENCE: Duration = Duration::from_secs(20);
/// For a new one to look at what lives, make certificates and answer.
const START: Duration = Duration::from_secs(30);
/// Between looks whether it has gone.
const PAUSE: Duration = Duration::from_millis(50);

/// A supervisor that answers.
pub struct Supervisor {
    client: Client,
    endpoint: Endpoint,
    folder: ClusterFolder,
}

impl Supervisor {
    fn of(folder: &ClusterFolder) -> Self {
        let endpoint = Endpoint::Local { path: folder.socket() };
        Self { client: Client::local(), endpoint, folder: folder.clone() }
    }

    pub fn folder(&self) -> &ClusterFolder {
        &self.folder
    }

    /// Asks for a change and tells what was accepted.
    pub async fn ask(&self, request: &Request) -> Result<Done, Failure> {
        match self.call(request).await.map_err(|error| self.silent(&error))? {
            Answer::Done(done) => Ok(done),
            Answer::Refused(failure) => Err(failure),
            Answer::View(_) => Ok(Done::default()),
        }
    }

    /// The cluster as it is now.
    pub async fn view(&self) -> Result<View, Failure> {
        match self.call(&Request::View).await.map_err(|error| self.silent(&error))? {
            Answer::View(view) => Ok(*view),
            Answer::Refused(failure) => Err(failure),
            Answer::Done(_) => {
                Err(Failure::new(Kind::Failed, "the supervisor is of another version")
                    .fix("end it with the program that started it: pgherd local down"))
            }
        }
    }

    /// Waits until the supervisor has ended.
    pub async fn gone(&self, within: Duration) -> bool {
        let end = Instant::now() + within;
        while Instant::now() < end {
            match self.call(&Request::View).await {
                Err(error) if is_absent(&error) => return true,
                Ok(_) | Err(_) => sleep(PAUSE).await,
            }
        }
        false
    }

    async fn call(&self, request: &Request) -> Result<Answer, CallError> {
        self.client.call(&self.endpoint, ROUTE, request, PATIENCE).await
    }

    fn silent(&self, error: &CallError) -> Failure {
        let what = format!("the supervisor of cluster {} does not answer", self.folder.name());
        Failure::new(Kind::Failed, what)
            .because(chain(error).to_string())
            .fix(format!("read {}", self.folder.log().display()))
    }
}

/// The supervisor of a cluster that shall be up; one that crashed is started again.
pub async fn reach(folder: &ClusterFolder) -> Result<Supervisor, Failure> {
    let registration = registered(folder)?;
    match present(folder).await? {
        Some(supervisor) => Ok(supervisor),
        None if registration.shall == Shall::Run => start(folder).await,
        None => Err(is_down(folder)),
    }
}

/// The supervisor of a cluster, whatever the cluster shall be.
pub async fn reach_or_start(folder: &ClusterFolder) -> Result<Supervisor, Failure> {
    registered(folder)?;
    match present(folder).await? {
        Some(supervisor) => Ok(supervisor),
        None => start(folder).await,
    }
}

/// The supervisor that runs now, if one does.
pub async fn present(folder: &ClusterFolder) -> Result<Option<Supervisor>, Failure> {
    let supervisor = Supervisor::of(folder);
    match supervisor.call(&Request::View).await {
        Ok(_) => Ok(Some(supervisor)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(supervisor.silent(&error)),
    }
}

pub fn registered(folder: &ClusterFolder) -> Result<Registration, Failure> {
    let name = folder.name();
    let known =
        Registration::load(folder).map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    known.ok_or_else(|| {
        Failure::new(Kind::NotFound, format!("cluster {name} not found"))
            .because(format!("{} holds no cluster", folder.root().display()))
            .fix(format!("pgherd local up --name {name}, or pgherd local list"))
    })
}

pub fn is_down(folder: &ClusterFolder) -> Failure {
    let name = folder.name();
    Failure::new(Kind::Refused, format!("cluster {name} is down"))
        .because("it was stopped with `pgherd local down`")
        .fix(format!("pgherd local up --name {name}"))
}

async fn start(folder: &ClusterFolder) -> Result<Supervisor, Failure> {
    let starting = folder.clone();
    let started = tokio::task::spawn_blocking(move || launch::start(&starting));
    match timeout(START, started).await {
        Ok(Ok(Ok(()))) => {}
        // Another command was faster.
        Ok(Ok(Err(refused))) => return present(folder).await?.ok_or(refused),
        Ok(Err(error)) => return Err(Failure::new(Kind::Failed, error.to_string())),
        Err(_) => {
            let what = format!("the supervisor of cluster {} does not start", folder.name());
            return Err(
                Failure::new(Kind::TimedOut, what).fix(format!("read {}", folder.log().display()))
            );
        }
    }
    Ok(Supervisor::of(folder))
}

fn is_absent(error: &CallError) -> bool {
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    match error {
        CallError::Connect { source, .. } => nobody.contains(&source.kind()),
        _ => false,
    }
}
