//! `pgherd local start`: lets stopped or killed instances come back.
//!
//! Never brings up a cluster that is down as a whole: `up` does.

use super::action;
use super::place::Place;
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Start instances that were stopped or killed
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local start 1")]
pub(crate) struct Start {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number (default: all)
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

impl Start {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        self.place.with(|supervisor| async move {
            let done = supervisor.ask(&Request::Start { instances: self.instances }).await?;
            if !self.no_wait {
                action::until_ready(&supervisor, &done.instances, within).await?;
            }
            action::tell(&supervisor, &done, output, ("started", "runs already"))
        })
    }
}
