//! `pgherd pause`: nobody fails over, restarts or rejoins by itself until `resume`.
//!
//! Never stops service: whoever is primary stays it.

use super::ask::{told, write};
use super::place::Place;
use super::wait::{Waiting, until_told};
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;

/// Suspend automatic failover and repair, for work on the cluster
#[derive(clap::Args)]
#[command(after_help = "\
Waits until the agents know.

Example:
  pgherd pause app-db")]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    waiting: Waiting,
}

impl Pause {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, waiting } = self;
        place.with(|reached| async move {
            let written = write(&reached, |view| Ok(ask::pause(view))).await?;
            if written.asked.is_some() && !waiting.no_wait {
                until_told(&reached, &waiting, |told| told.intent.paused).await?;
            }
            let paused = format!("paused ({})", written.before.command("resume"));
            told(form, &written, (&paused, "is paused already"))
        })
    }
}
