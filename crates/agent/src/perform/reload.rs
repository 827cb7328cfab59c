//! Makes the server read the newest configuration.
//!
//! Never restarts it for what needs that: when is decided elsewhere.

use super::{Bench, Hands, Manner, UnreadyError};
use crate::postgres::running::{Deadline, RunningError};
use crate::postgres::session::SessionError;
use crate::settings;
use pgherd_core::seen::Pending;
use std::time::Duration;
use tracing::info;

/// The postmaster notices at once; its children within moments.
const WITHIN: Duration = Duration::from_secs(3);
/// Those that are ours never wait for a restart that we do not make ourselves.
const PENDING: &str = "select coalesce(string_agg(name, ', ' order by name), '') \
    from pg_settings where pending_restart";

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to reload")]
    Prepare(#[source] UnreadyError),
    #[error("reloading")]
    Reload(#[source] RunningError),
    #[error("asking what needs a restart")]
    Ask(#[source] SessionError),
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
    let waits = session.value(PENDING, WITHIN).await.map_err(Error::Ask)?;
    let pending = if waits.is_empty() { Pending::Nothing } else { Pending::Some };
    if pending == Pending::Some {
        info!(parameters = waits, "the rest counts from the next start on");
    }
    hands.manner = Manner { pending, ..manner };
    Ok(())
}
