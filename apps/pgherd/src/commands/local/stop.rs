//! `pgherd local stop`: stops instances cleanly; a primary hands over first.
//!
//! Never stops the cluster as a whole: `down` does.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Stop instances cleanly; a primary hands over its office first
#[derive(clap::Args)]
#[command(after_help = "\
They stay stopped until `pgherd local start`. To stop the whole cluster: pgherd local down

Example:
  pgherd local stop 2")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number
    #[arg(value_name = "INSTANCE", required = true)]
    instances: Vec<String>,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

impl Stop {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        self.place.with(|supervisor| async move {
            let done = supervisor.ask(&Request::Stop { instances: self.instances }).await?;
            if !self.no_wait {
                action::until_gone(&supervisor, &done.instances, within).await?;
            }
            action::tell(&supervisor, &done, output, ("stopped", "is stopped already"))
        })
    }
}
