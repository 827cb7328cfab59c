//! Changes the rule for commits, and tells from which position on it holds.
//!
//! Never claims that a rule holds after a change of it that was not seen to the end.

use super::{Bench, Hands, Manner, UnreadyError};
use crate::postgres::commits::{self, CommitsError};
use crate::settings;
use pgherd_core::record::Pair;
use pgherd_core::seen::Obeyed;
use pgherd_core::units::Lsn;
use std::time::Duration;

/// Longer than a reload ever takes; then it is tried again.
const WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to change the rule for commits")]
    Prepare(#[source] UnreadyError),
    #[error("changing the rule for commits")]
    Obey(#[source] CommitsError),
}

pub(super) async fn perform(
    bench: &Bench,
    hands: &mut Hands,
    pair: Option<Pair>,
) -> Result<Lsn, Error> {
    let manner = Manner { commits: pair.clone(), obeys: None, ..hands.manner.clone() };
    let settings = settings::settings(bench, &manner)
        .await
        .map_err(|error| Error::Prepare(UnreadyError::Gather(error)))?;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    let obeyed = commits::obey(running, &settings, WITHIN).await;
    hands.manner = manner;
    let since = obeyed.map_err(Error::Obey)?;
    hands.manner.obeys = Some(Obeyed { pair, since });
    Ok(since)
}
