//! Writes a checkpoint: after it a rewind can read from this server, and a crash recovers fast.
//!
//! Never gives up while the server writes: how long it takes is up to the disk.

use super::{Bench, Hands, UnreadyError};
use crate::postgres::promote;
use crate::postgres::running::RunningError;
use std::time::Duration;

const WITHIN: Duration = Duration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing a checkpoint")]
    Prepare(#[source] UnreadyError),
    #[error("writing a checkpoint")]
    Write(#[source] RunningError),
}

pub(super) async fn perform(bench: &Bench, hands: &mut Hands) -> Result<(), Error> {
    let running = hands.running(bench).map_err(Error::Prepare)?;
    promote::checkpoint(running, WITHIN).await.map_err(Error::Write)
}
