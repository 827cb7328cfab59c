//! `pgherd local resume`: ends a pause.
//!
//! Never undoes what was done by hand meanwhile.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Resume automatic failover and repair
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local resume")]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Resume {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.with(|supervisor| async move {
            action::simply(&supervisor, Request::Resume, output, ("resumed", "was not paused"))
                .await
        })
    }
}
