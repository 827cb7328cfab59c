//! `pgherd resume`: ends a pause.
//!
//! Never ends a hibernation: that is another switch.

use super::ask::{told, write};
use super::place::Place;
use super::wait::{Waiting, until_told};
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;

/// Let failover and repair go on
#[derive(clap::Args)]
#[command(after_help = "\
Waits until the agents know.

Example:
  pgherd resume app-db")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    waiting: Waiting,
}

impl Resume {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, waiting } = self;
        place.with(|reached| async move {
            let written = write(&reached, |view| Ok(ask::resume(view))).await?;
            if written.asked.is_some() && !waiting.no_wait {
                until_told(&reached, &waiting, |told| !told.intent.paused).await?;
            }
            told(form, &written, ("resumed", "is not paused"))
        })
    }
}
