//! Starts the server as a standby that receives from nobody.
//!
//! Never starts it any other way: only a promotion opens it.

use super::{Bench, Hands, Manner};
use crate::postgres::config::{self, ConfigError, Opens};
use crate::postgres::server::{self, Mode, ServerError};
use crate::postgres::wal::cut::{self, CutError};
use crate::settings::{self, SettingsError};
use pgherd_core::seen::Gate;
use pgherd_core::units::WalPosition;
use std::sync::Arc;
use std::time::Duration;

/// Until it replays; from there on it is looked at.
const REPLAYING: Duration = Duration::from_mins(1);
/// It is usually ready right away: then the first look finds it so.
const READY: Duration = Duration::from_millis(500);
const CLEANING_UP: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("gathering the settings")]
    Gather(#[source] SettingsError),
    #[error("cutting off log that is not in the primary's past")]
    Cut(#[source] CutError),
    #[error("writing the configuration")]
    Configure(#[source] ConfigError),
    #[error("starting PostgreSQL")]
    Start(#[source] ServerError),
}

pub(super) async fn perform(
    bench: &Bench,
    hands: &mut Hands,
    cut: Option<WalPosition>,
) -> Result<(), Error> {
    if let Some(fork) = cut {
        cut::cut(&bench.site, fork).map_err(Error::Cut)?;
    }
    let intent = &bench.specification.intent;
    let manner = Manner {
        commits: settings::standing_rule(intent, &bench.config.instance),
        configuration: intent.configuration,
        gate: Gate::Open,
        replayed_per_second: hands.manner.replayed_per_second,
        ..Manner::default()
    };
    let settings = settings::settings(bench, &manner).await.map_err(Error::Gather)?;
    config::apply(&bench.site, &bench.site.data, (&settings, Opens::AsStandby))
        .map_err(Error::Configure)?;
    let postmaster = server::start(&bench.site, Mode::Standby).await.map_err(Error::Start)?;
    bench.fence.watch(Some(postmaster.pid()));
    if let Err(error) = postmaster.replaying(&bench.site, REPLAYING).await {
        // A server that nobody watches must not stay.
        let _first_error_counts = server::sweep(&bench.site, CLEANING_UP).await;
        return Err(Error::Start(error));
    }
    // Late is fine: the looks go on until it answers.
    let _late = postmaster.ready(&bench.site, READY).await;
    *hands = Hands { postmaster: Some(Arc::new(postmaster)), manner };
    Ok(())
}
