//! `pgherd local pause`: nobody fails over, restarts or rejoins by itself until `resume`.
//!
//! Never stops service: whoever is primary stays it.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Suspend automatic failover and repair, for work on the cluster
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local pause")]
pub(crate) struct Pause {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Pause {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.with(|supervisor| async move {
            let words = ("paused (pgherd local resume)", "is paused already");
            action::simply(&supervisor, Request::Pause, output, words).await
        })
    }
}
