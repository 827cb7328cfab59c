//! Receives from a primary.
//!
//! Never waits for the first byte: that it streams is seen by looking.

use super::{Bench, Hands, Manner, UnreadyError};
use crate::postgres::follow::{self, FollowError};
use crate::settings;
use pgherd_core::names::InstanceName;
use pgherd_core::seen::Follows;
use pgherd_core::units::Epoch;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("preparing to follow")]
    Prepare(#[source] UnreadyError),
    #[error("following")]
    Follow(#[source] FollowError),
}

pub(super) async fn perform(
    bench: &Bench,
    hands: &mut Hands,
    epoch: Epoch,
    primary: InstanceName,
) -> Result<(), Error> {
    let reached = bench.config.peers.get(&primary).map(|peer| peer.postgres);
    let follows = Some(Follows { primary, epoch });
    let manner = Manner { follows, reached, ..hands.manner.clone() };
    let settings = settings::settings(bench, &manner)
        .await
        .map_err(|error| Error::Prepare(UnreadyError::Gather(error)))?;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    let followed = follow::follow(running, &settings).await;
    // Even half of it may have made the server receive.
    hands.manner = manner;
    followed.map_err(Error::Follow)
}
