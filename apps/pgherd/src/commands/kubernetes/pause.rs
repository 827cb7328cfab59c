//! `pgherd pause`: nobody fails over, restarts or rejoins by itself until `resume`.
//!
//! Never stops service: whoever is primary stays it.

use super::ask::{told, write};
use super::place::Place;
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;

/// Suspend automatic failover and repair, for work on the cluster
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd pause app-db")]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Pause {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let written = write(&reached, |view| Ok(ask::pause(view))).await?;
            let paused = format!("paused ({})", written.before.command("resume"));
            told(form, &written, (&paused, "is paused already"))
        })
    }
}
