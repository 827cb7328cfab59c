//! `pgherd local reload`: lets every PostgreSQL read its configuration again.
//!
//! Never restarts one: what needs a restart is for `restart`.

use super::action;
use super::place::Place;
use super::wait::{self, Sight};
use pgherd_local::control::{Request, View};
use pgherd_local::failure::Failure;

/// Let every PostgreSQL read its configuration again
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local reload")]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Reload {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        self.place.with(|supervisor| async move {
            let done = supervisor.ask(&Request::Reload).await?;
            let number = done.number.unwrap_or_default();
            let reloaded = |view: &View| {
                let behind = view.instances.iter().filter(|instance| {
                    let status = instance.status.as_ref();
                    let runs = status.is_some_and(|status| status.server.pid.is_some());
                    runs && status.is_some_and(|status| status.configuration_done < number)
                });
                let behind: Vec<String> = behind.map(|it| it.name.to_string()).collect();
                if behind.is_empty() {
                    Sight::There(())
                } else {
                    Sight::Missing(format!("waiting for {} to reload", behind.join(", ")))
                }
            };
            wait::until(&supervisor, within, reloaded).await?;
            action::tell(&supervisor, &done, output, ("reloaded", "reloaded"))
        })
    }
}
