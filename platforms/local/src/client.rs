//! How commands reach a cluster's supervisor, which is started if it should run and does not.
//!
//! Never starts a cluster that its user has stopped.

use crate::control::{Answer, Done, ROUTE, Request, View};
use crate::failure::{Failure, Kind};
use crate::folder::ClusterFolder;
use crate::launch;
use crate::registration::{Registration, RegistrationError};
use pgherd_agent::chain::chain;
use pgherd_agent::http::client::{CallError, Client, Endpoint};
use pgherd_agent::http::refusal::Kind as RefusalKind;
use pgherd_core::wishes::Shall;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

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
        done(self.call(request).await.map_err(|error| self.silent(&error))?)
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

/// The supervisor that runs now, if one does. One that is about to end is waited for.
pub async fn present(folder: &ClusterFolder) -> Result<Option<Supervisor>, Failure> {
    let supervisor = Supervisor::of(folder);
    let end = Instant::now() + PATIENCE;
    loop {
        match supervisor.call(&Request::View).await {
            Ok(_) => return Ok(Some(supervisor)),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) if is_ending(&error) && Instant::now() < end => sleep(PAUSE).await,
            Err(error) => return Err(supervisor.silent(&error)),
        }
    }
}

/// Asks the cluster's supervisor for a change. One that is about to end takes none: its successor
/// is started and asked.
pub async fn start_and_ask(
    folder: &ClusterFolder,
    request: &Request,
) -> Result<(Supervisor, Done), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let supervisor = reach_or_start(folder).await?;
        match supervisor.call(request).await {
            Ok(answer) => return Ok((supervisor, done(answer)?)),
            Err(error) if did_nothing(&error) && Instant::now() < end => sleep(PAUSE).await,
            Err(error) => return Err(supervisor.silent(&error)),
        }
    }
}

pub fn registered(folder: &ClusterFolder) -> Result<Registration, Failure> {
    let known = Registration::load(folder).map_err(|error| {
        let kind = match error {
            RegistrationError::OtherCluster { .. } | RegistrationError::Format { .. } => {
                Kind::Refused
            }
            RegistrationError::Read { .. }
            | RegistrationError::Write { .. }
            | RegistrationError::Lock { .. } => Kind::Failed,
        };
        Failure::from_error(kind, &error)
    })?;
    known.ok_or_else(|| not_found(folder))
}

pub fn not_found(folder: &ClusterFolder) -> Failure {
    Failure::new(Kind::NotFound, format!("cluster {} not found", folder.name()))
        .because(format!("{} holds no cluster", folder.root().display()))
        .fix("pgherd local up makes one, pgherd local list shows those there are")
}

pub fn is_down(folder: &ClusterFolder) -> Failure {
    let name = folder.name();
    Failure::new(Kind::Refused, format!("cluster {name} is down"))
        .because("it was stopped with `pgherd local down`")
        .fix("pgherd local up")
}

fn done(answer: Answer) -> Result<Done, Failure> {
    match answer {
        Answer::Done(done) => Ok(done),
        Answer::Refused(failure) => Err(failure),
        Answer::View(_) => Ok(Done::default()),
    }
}

async fn start(folder: &ClusterFolder) -> Result<Supervisor, Failure> {
    let end = Instant::now() + START;
    let late = || {
        let what = format!("the supervisor of cluster {} does not start", folder.name());
        Failure::new(Kind::TimedOut, what).fix(format!("read {}", folder.log().display()))
    };
    loop {
        let starting = folder.clone();
        let started = tokio::task::spawn_blocking(move || launch::start(&starting));
        let started = timeout_at(end, started).await.map_err(|_| late())?;
        let started = started.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
        let Err(refused) = started else { return Ok(Supervisor::of(folder)) };
        // Another command was faster, or the one before has the lock until it has ended.
        if let Some(other) = present(folder).await? {
            return Ok(other);
        }
        if refused.kind != Kind::Refused || Instant::now() >= end {
            return Err(refused);
        }
        sleep(PAUSE).await;
    }
}

/// Whether it was refused by a supervisor that ends, so that asking another one does no harm.
fn did_nothing(error: &CallError) -> bool {
    match error {
        CallError::Refused { source, .. } => source.refusal == RefusalKind::Unavailable,
        _ => is_absent(error),
    }
}

/// Whether it ended before it could answer a question that changes nothing.
fn is_ending(error: &CallError) -> bool {
    matches!(error, CallError::Open { .. } | CallError::Exchange { .. }) || did_nothing(error)
}

fn is_absent(error: &CallError) -> bool {
    let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    match error {
        CallError::Connect { source, .. } => nobody.contains(&source.kind()),
        _ => false,
    }
}
