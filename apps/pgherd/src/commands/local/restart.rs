//! `pgherd local restart`: restarts the PostgreSQL of instances; agents stay.
//!
//! Never restarts one twice for one request.

use super::action;
use super::place::Place;
use super::wait::{self, Sight};
use pgherd_local::control::Request;
use pgherd_local::failure::Failure;

/// Restart the PostgreSQL of instances
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  pgherd local restart\n  pgherd local restart 2")]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number (default: all)
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
}

impl Restart {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        self.place.with(|supervisor| async move {
            let done = supervisor.ask(&Request::Restart { instances: self.instances }).await?;
            let number = done.number.unwrap_or_default();
            if !self.no_wait {
                let began = |view: &pgherd_local::control::View| {
                    let meant =
                        view.instances.iter().filter(|it| done.instances.contains(&it.name));
                    let waiting: Vec<String> = meant
                        .filter(|it| {
                            it.status.as_ref().is_none_or(|status| status.restart_done < number)
                        })
                        .map(|it| it.name.to_string())
                        .collect();
                    if waiting.is_empty() {
                        Sight::There(())
                    } else {
                        Sight::Missing(format!("waiting for {} to restart", waiting.join(", ")))
                    }
                };
                wait::until(&supervisor, within, began).await?;
                action::until_ready(&supervisor, &done.instances, within).await?;
            }
            action::tell(&supervisor, &done, output, ("restarted", "restarted"))
        })
    }
}
