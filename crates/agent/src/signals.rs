//! Turns what the operating system tells into wakes: signals, changed files, dead orphans.
//!
//! Never acts on a signal itself.

use crate::chain::chain;
use crate::postgres::server;
use crate::postgres::site::Site;
use crate::process::tree::Reaper;
use crate::wake::{Signalled, Wake, Waker};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// How often the configuration file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const BOUND_EVERY: Duration = Duration::from_mins(1);
const LOG_LIMIT: u64 = 32 << 20;
/// Orphans are in nobody's way: they are reaped together.
const REAP_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("listening for {signal}")]
pub struct SignalError {
    signal: &'static str,
    source: io::Error,
}

/// Listens from now on; what it returns tells the loop.
pub fn listen(waker: &Waker) -> Result<impl Future<Output = ()> + Send + use<>, SignalError> {
    let open = |kind, name| signal(kind).map_err(|source| SignalError { signal: name, source });
    let mut terminate = open(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = open(SignalKind::interrupt(), "SIGINT")?;
    let mut first_user = open(SignalKind::user_defined1(), "SIGUSR1")?;
    let mut hang_up = open(SignalKind::hangup(), "SIGHUP")?;
    let waker = waker.clone();
    Ok(async move {
        loop {
            let signalled = tokio::select! {
                _ = terminate.recv() => Signalled::Leave,
                _ = interrupt.recv() => Signalled::Leave,
                _ = first_user.recv() => Signalled::Reexecute,
                _ = hang_up.recv() => Signalled::Reload,
            };
            waker.wake(Wake::Signalled(signalled)).await;
        }
    })
}

/// Asks for a reload whenever one of the files changes.
pub async fn watch_files(paths: Vec<PathBuf>, waker: Waker) {
    let modified = |path: &PathBuf| std::fs::metadata(path).ok()?.modified().ok();
    let look = || paths.iter().map(modified).collect::<Vec<Option<SystemTime>>>();
    let mut known = look();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let present = look();
        if present != known {
            known = present;
            waker.wake(Wake::Signalled(Signalled::Reload)).await;
        }
    }
}

/// Keeps PostgreSQL's log within its bound.
pub async fn bound_log(site: Site) {
    loop {
        tokio::time::sleep(BOUND_EVERY).await;
        let bounded = site.clone();
        let work = move || server::bound_log(&bounded, LOG_LIMIT);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(work).await {
            warn!(error = %chain(&error), "PostgreSQL's log grows on");
        }
    }
}

/// Reaps what was left to this process by children that ended.
pub async fn reap_orphans(data: PathBuf) {
    let (mut ended, mut reaper) = match (signal(SignalKind::child()), Reaper::new(&data)) {
        (Ok(ended), Ok(reaper)) => (ended, reaper),
        (Err(error), _) => return warn!(%error, "orphans stay in the process table"),
        (_, Err(error)) => return warn!(%error, "orphans stay in the process table"),
    };
    while ended.recv().await.is_some() {
        tokio::time::sleep(REAP_AFTER).await;
        if let Err(error) = reaper.reap_strays() {
            warn!(%error, "orphans stay in the process table for now");
        }
    }
}
