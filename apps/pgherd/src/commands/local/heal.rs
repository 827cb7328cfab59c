//! `pgherd local heal`: ends partitions.
//!
//! Never brings back what was killed: `start` does.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// End the partitions of an instance, or all
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local heal")]
pub(crate) struct Heal {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number (default: all)
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
}

impl Heal {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.with(|supervisor| async move {
            let request = Request::Heal { instance: self.instance };
            action::simply(&supervisor, request, output, ("healed", "was not cut off")).await
        })
    }
}
