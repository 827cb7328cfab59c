//! `pgherd reload`: lets every instance read its settings again.
//!
//! Never restarts anything.

use super::ask::{told, write};
use super::place::Place;
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;

/// Let all instances read their settings again
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd reload app-db")]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Reload {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let written = write(&reached, |view| ask::reload(view).map(Some)).await?;
            told(form, &written, ("is asked to reload", "is asked to reload"))
        })
    }
}
