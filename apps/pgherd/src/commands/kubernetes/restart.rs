//! `pgherd restart`: restarts the PostgreSQL of instances; pods and agents stay.
//!
//! Never restarts one twice for one request.

use super::ask::{named, told, write};
use super::place::Place;
use super::wait::{Sight, Waiting, until};
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;

/// Restart the PostgreSQL of instances
#[derive(clap::Args)]
#[command(after_help = "\
Waits until the agents have been told, and every instance is ready.

Examples:
  pgherd restart app-db
  pgherd restart app-db 2")]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number (default: all)
    #[arg(value_name = "INSTANCE")]
    instances: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Restart {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, instances, waiting } = self;
        place.with(|reached| async move {
            let restart = |view: &View| ask::restart(view, &named(view, &instances)?).map(Some);
            let written = write(&reached, restart).await?;
            let number = written.asked.as_ref().and_then(|asked| asked.number);
            if waiting.no_wait {
                let words = ("is asked to restart", "is asked to restart");
                return told(form, &written, words);
            }
            until(&reached, waiting.timeout, |view| taken_up(view, number.unwrap_or_default()))
                .await?;
            told(form, &written, ("is told to restart, and ready", "is ready"))
        })
    }
}

fn taken_up(view: &View, number: u64) -> Sight<()> {
    let last = view.wishes.as_ref().and_then(|wishes| wishes.restart.as_ref());
    if last.is_none_or(|last| last.number < number) {
        return Sight::Missing("waiting for the operator to take it up".to_owned());
    }
    let wanted = view.instances().into_iter().filter(|name| !view.is_fenced(name));
    let waiting: Vec<String> =
        wanted.filter(|name| !view.is_ready(name)).map(|name| name.to_string()).collect();
    if waiting.is_empty() {
        Sight::There(())
    } else {
        Sight::Missing(format!("waiting for {}", waiting.join(", ")))
    }
}
