//! Replaces the folder by a copy of the primary's.
//!
//! Never gives up the old folder before the copy is whole, unless there is no room for both.

use super::{Bench, Manner};
use crate::postgres::clone::{self, CloneError, Copy, OldFolder, Progress, Tablespaces};
use crate::postgres::config::{SLOT_PREFIX, slot_of};
use crate::settings::{self, SettingsError};
use pgherd_core::names::InstanceName;
use pgherd_core::seen::Follows;
use pgherd_core::units::{Bytes, Epoch};
use std::time::Duration;
use tracing::{info, warn};

const WITHIN: Duration = Duration::from_hours(24);
/// How much is copied between two lines of the log.
const TOLD_EVERY: Bytes = Bytes(1 << 30);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("gathering the settings")]
    Gather(#[source] SettingsError),
    #[error("copying from {primary}")]
    Copy { primary: InstanceName, source: CloneError },
}

pub(super) async fn perform(
    bench: &Bench,
    epoch: Epoch,
    primary: InstanceName,
) -> Result<(), Error> {
    let follows = Some(Follows { primary: primary.clone(), epoch });
    let manner = Manner { follows, ..Manner::default() };
    let settings = settings::settings(bench, &manner).await.map_err(Error::Gather)?;
    let slot = slot_of(SLOT_PREFIX, &bench.config.instance);
    let order = |old| Copy {
        system_id: bench.system_id,
        slot: Some(slot.as_str()),
        old,
        tablespaces: Tablespaces::Kept,
        within: WITHIN,
    };
    let mut teller = Teller::default();
    let mut tell = |now| teller.tell(now);
    let mut copied = clone::clone(&bench.site, &settings, order(OldFolder::Keep), &mut tell).await;
    if let Err(CloneError::FindRoom { needed, available }) = &copied
        && bench.site.data.exists()
    {
        warn!(%needed, %available, "no room for two: the old folder goes first");
        copied =
            clone::clone(&bench.site, &settings, order(OldFolder::RemoveFirst), &mut tell).await;
    }
    copied.map(drop).map_err(|source| Error::Copy { primary, source })
}

/// Tells how far a copy is, now and then.
#[derive(Default)]
pub(super) struct Teller {
    told: Bytes,
}

impl Teller {
    pub(super) fn tell(&mut self, now: Progress) {
        if now.copied.0 >= self.told.0 + TOLD_EVERY.0 {
            self.told = now.copied;
            info!(copied = %now.copied, total = %now.total, "copying");
        }
    }
}
