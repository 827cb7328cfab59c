//! Lets clients in.
//!
//! Never changes anything else.

use super::{Bench, Hands, Manner, UnreadyError};
use crate::postgres::running::RunningError;
use crate::settings;
use pgherd_core::seen::Gate;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to let clients in")]
    Prepare(#[source] UnreadyError),
    #[error("letting clients in")]
    Open(#[source] RunningError),
}

pub(super) async fn perform(bench: &Bench, hands: &mut Hands) -> Result<(), Error> {
    let manner = Manner { gate: Gate::Open, ..hands.manner.clone() };
    let settings = settings::settings(bench, &manner)
        .await
        .map_err(|error| Error::Prepare(UnreadyError::Gather(error)))?;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    running.configure(&settings).await.map_err(Error::Open)?;
    hands.manner = manner;
    Ok(())
}
