//! Stops the server after a shutdown checkpoint.
//!
//! Never leaves a process of it: what does not stop in time is killed.

use super::{Bench, Hands};
use crate::postgres::server::{self, ServerError, Stop};
use std::time::Duration;

/// To kill what a clean stop did not end.
const KILLING: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
#[error("stopping PostgreSQL cleanly: it was killed instead")]
pub(super) struct Error(#[source] ServerError);

pub(super) async fn perform(bench: &Bench, hands: &mut Hands) -> Result<(), Error> {
    let within = bench.specification.intent.stop_delay;
    let stopped = match &hands.postmaster {
        Some(postmaster) => postmaster.stop(&bench.site, Stop::Fast, within).await.map(drop),
        None => Ok(()),
    };
    if stopped.is_err() {
        server::sweep(&bench.site, KILLING).await.map_err(Error)?;
    }
    hands.postmaster = None;
    hands.manner = hands.manner.after_death();
    stopped.map_err(Error)
}
