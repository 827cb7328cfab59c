//! Stops receiving, and makes sure of it.
//!
//! Never calls a standby sealed whose receiver may still be at work.

use super::{Bench, Hands, Manner, UnreadyError};
use crate::postgres::seal::{self, SealError};
use crate::settings;
use std::time::Duration;

/// It takes milliseconds; a standby that takes longer is asked again.
const WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to seal")]
    Prepare(#[source] UnreadyError),
    #[error("sealing")]
    Seal(#[source] SealError),
}

pub(super) async fn perform(bench: &Bench, hands: &mut Hands) -> Result<(), Error> {
    let manner = Manner { follows: None, ..hands.manner.clone() };
    let settings = settings::settings(bench, &manner)
        .await
        .map_err(|error| Error::Prepare(UnreadyError::Gather(error)))?;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    let _sealed = seal::seal(running, &settings, WITHIN).await.map_err(Error::Seal)?;
    hands.manner = manner;
    Ok(())
}
