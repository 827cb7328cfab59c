//! `pgherd resume`: ends a pause.
//!
//! Never ends a hibernation: that is another switch.

use super::ask::{told, write};
use super::place::Place;
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;

/// Let failover and repair go on
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd resume app-db")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Resume {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let written = write(&reached, |view| Ok(ask::resume(view))).await?;
            told(form, &written, ("resumed", "is not paused"))
        })
    }
}
