//! `pgherd local unfence`: lets the PostgreSQL of a fenced instance run again.
//!
//! Never starts an agent: that runs all the time.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Let the PostgreSQL of a fenced instance run again
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local unfence 2")]
pub(crate) struct Unfence {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

impl Unfence {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        self.place.with(|supervisor| async move {
            let done = supervisor.ask(&Request::Unfence { instance: self.instance }).await?;
            if !self.no_wait {
                action::until_ready(&supervisor, &done.instances, within).await?;
            }
            action::tell(&supervisor, &done, output, ("unfenced", "was not fenced"))
        })
    }
}
