//! `pgherd local thaw`: lets frozen processes go on.
//!
//! Never starts one that has ended.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Let a frozen instance go on
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local thaw 1")]
pub(crate) struct Thaw {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number (default: all)
    #[arg(value_name = "INSTANCE")]
    instance: Option<String>,
}

impl Thaw {
    pub(super) fn run(self) -> Result<(), Failure> {
        let output = self.place.output();
        self.place.with(|supervisor| async move {
            let request = Request::Thaw { instance: self.instance };
            action::simply(&supervisor, request, output, ("thawed", "was not frozen")).await
        })
    }
}
