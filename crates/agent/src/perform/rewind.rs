//! Makes a diverged folder a copy of the primary's past.
//!
//! Never starts it: the marker that says "half-rewound" is the core's to clear.

use super::{Bench, Manner};
use crate::postgres::control::{self, ControlError};
use crate::postgres::rewind::{self, Rewind, RewindError};
use crate::settings::{self, SettingsError};
use pgherd_core::names::InstanceName;
use pgherd_core::seen::Follows;
use pgherd_core::units::{Epoch, WalPosition};
use std::time::Duration;
use tracing::info;

const REPLAY_WITHIN: Duration = Duration::from_hours(1);
const REWIND_WITHIN: Duration = Duration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("gathering the settings")]
    Gather(#[source] SettingsError),
    #[error("reading the control file")]
    ReadControl(#[source] ControlError),
    #[error("rewinding")]
    Rewind(#[source] RewindError),
}

pub(super) async fn perform(
    bench: &Bench,
    epoch: Epoch,
    primary: InstanceName,
) -> Result<(), Error> {
    let manner = Manner { follows: Some(Follows { primary, epoch }), ..Manner::default() };
    let settings = settings::settings(bench, &manner).await.map_err(Error::Gather)?;
    let control = control::read_file(&bench.site.data).map_err(Error::ReadControl)?;
    let timeline = control.checkpoint.timeline;
    let left = bench.terms.iter().find(|term| term.parent == timeline);
    // What is kept aside is for people only: where nobody knows the fork, all of it is kept.
    let lsn = left.and_then(|term| term.began).unwrap_or(control.checkpoint.redo);
    let order = Rewind {
        fork: WalPosition { timeline, lsn },
        replay_within: REPLAY_WITHIN,
        rewind_within: REWIND_WITHIN,
    };
    let kept = rewind::rewind(&bench.site, &settings, order).await.map_err(Error::Rewind)?;
    info!(?kept, "rewound");
    Ok(())
}
