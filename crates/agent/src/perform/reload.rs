//! Makes the server run with the newest configuration.
//!
//! Never restarts a primary for it: that is for its user to ask.

use super::{Bench, Hands, Manner, UnreadyError, start, stop};
use crate::postgres::running::{Deadline, RunningError};
use crate::postgres::session::SessionError;
use crate::settings;
use std::time::Duration;
use tracing::{info, warn};

/// The postmaster notices at once; its children within moments.
const WITHIN: Duration = Duration::from_secs(3);
/// Those that are ours never wait for a restart that we do not make ourselves.
const PENDING: &str = "select coalesce(string_agg(name, ', ' order by name), '') \
    from pg_settings where pending_restart";
const IS_STANDBY: &str = "select pg_is_in_recovery()";

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to reload")]
    Prepare(#[source] UnreadyError),
    #[error("reloading")]
    Reload(#[source] RunningError),
    #[error("asking what needs a restart")]
    Ask(#[source] SessionError),
    #[error("stopping the standby for its restart")]
    Stop(#[source] stop::Error),
    #[error("starting the standby again")]
    Start(#[source] start::Error),
}

pub(super) async fn perform(bench: &Bench, hands: &mut Hands) -> Result<(), Error> {
    let configuration = bench.specification.intent.configuration;
    let manner = Manner { configuration, ..hands.manner.clone() };
    let settings = settings::settings(bench, &manner)
        .await
        .map_err(|error| Error::Prepare(UnreadyError::Gather(error)))?;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    running.configure(&settings).await.map_err(Error::Reload)?;
    let deadline = Deadline::after(WITHIN);
    let mut session = running.connect(deadline).await.map_err(Error::Reload)?;
    let pending = session.value(PENDING, WITHIN).await.map_err(Error::Ask)?;
    let standby = session.value(IS_STANDBY, WITHIN).await.map_err(Error::Ask)?;
    drop(session);
    hands.manner = manner;
    if pending.is_empty() {
        return Ok(());
    }
    if standby != "t" {
        warn!(parameters = pending, "waiting for a restart of the primary");
        return Ok(());
    }
    info!(parameters = pending, "restarting the standby for its new configuration");
    stop::perform(bench, hands).await.map_err(Error::Stop)?;
    start::perform(bench, hands).await.map_err(Error::Start)
}
