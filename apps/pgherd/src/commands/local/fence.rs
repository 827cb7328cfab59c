//! `pgherd local fence`: keeps the PostgreSQL of an instance down; its agent stays.
//!
//! Never fences the last healthy instance unless that is said twice.

use super::action;
use super::place::Place;
use super::wait::{self, Sight};
use pgherd_api::agent::Role;
use pgherd_local::control::{Care, Request, View};
use pgherd_local::failure::Failure;

/// Keep the PostgreSQL of an instance down, for work on its data
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local fence 2")]
pub(crate) struct Fence {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instance, by name or number
    #[arg(value_name = "INSTANCE")]
    instance: String,
    /// Also the last healthy one
    #[arg(long)]
    force: bool,
}

impl Fence {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        let care = if self.force { Care::None } else { Care::Usual };
        self.place.with(|supervisor| async move {
            let request = Request::Fence { instance: self.instance, care };
            let done = supervisor.ask(&request).await?;
            let down = |view: &View| {
                let meant = view.instances.iter().filter(|it| done.instances.contains(&it.name));
                let up: Vec<String> = meant
                    .filter(|it| {
                        it.status.as_ref().is_some_and(|status| match status.role {
                            Role::Primary | Role::Standby | Role::Starting | Role::Unknown => true,
                            Role::Stopped | Role::Absent => false,
                        })
                    })
                    .map(|it| it.name.to_string())
                    .collect();
                if up.is_empty() {
                    Sight::There(())
                } else {
                    Sight::Missing(format!("waiting for PostgreSQL of {} to stop", up.join(", ")))
                }
            };
            wait::until(&supervisor, within, down).await?;
            action::tell(&supervisor, &done, output, ("fenced", "is fenced already"))
        })
    }
}
