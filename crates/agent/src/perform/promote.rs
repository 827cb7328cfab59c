//! Opens the server for writing on the timeline that was reserved for it.
//!
//! Never opens it before its rule for commits and its gate are in place, nor without a deadline.

use super::{Bench, Hands, Manner, UnreadyError};
use crate::postgres::promote::{self, Opening, PromoteError};
use crate::process::fence::State;
use crate::settings;
use pgherd_core::record::Pair;
use pgherd_core::seen::{Gate, Obeyed};
use pgherd_core::units::Timeline;
use std::time::Duration;

/// Replaying what is left takes its time; the deadline of the office ends it before this does.
const WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no deadline is set for it")]
    FindDeadline,
    #[error("preparing to promote")]
    Prepare(#[source] UnreadyError),
    #[error("promoting")]
    Promote(#[source] PromoteError),
}

pub(super) async fn perform(
    bench: &Bench,
    hands: &mut Hands,
    timeline: Timeline,
    (obey, gate): (Option<Pair>, Gate),
) -> Result<(), Error> {
    let State::Armed { until: before, .. } = bench.fence.state() else {
        return Err(Error::FindDeadline);
    };
    let manner =
        Manner { commits: obey.clone(), obeys: None, follows: None, gate, ..hands.manner.clone() };
    let settings = settings::settings(bench, &manner)
        .await
        .map_err(|error| Error::Prepare(UnreadyError::Gather(error)))?;
    let running = hands.running(bench).map_err(Error::Prepare)?;
    let promoted = promote::promote(running, &settings, Opening { timeline, before }, WITHIN).await;
    // It may have opened even if that was not seen.
    hands.manner = manner;
    let promoted = promoted.map_err(Error::Promote)?;
    // In force since before the first commit.
    hands.manner.obeys = Some(Obeyed { pair: obey, since: promoted.began });
    Ok(())
}
