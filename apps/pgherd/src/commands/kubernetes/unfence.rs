//! `pgherd unfence`: lets the PostgreSQL of a fenced instance run again.
//!
//! Never opens more fences than are named.

use super::ask::{named, told_of, write};
use super::fence::meant;
use super::place::{Place, refused};
use super::wait::{Sight, Waiting, until};
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::ask;
use pgherd_local::failure::Failure;
use std::collections::BTreeSet;

/// Let the PostgreSQL of fenced instances run again
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pgherd unfence app-db 2
  pgherd unfence app-db --all")]
pub(crate) struct Unfence {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number
    #[arg(value_name = "INSTANCE", required_unless_present = "all", conflicts_with = "all")]
    instances: Vec<String>,
    /// All instances
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Unfence {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, instances, waiting, .. } = self;
        place.with(|reached| async move {
            let unfence = |view: &View| ask::unfence(view, &named(view, &instances)?);
            let written = write(&reached, unfence).await?;
            let meant = meant(&written.before, &instances).map_err(refused)?;
            // One that is hibernated starts when it is woken.
            let is_to_start = written.asked.is_some() && !written.before.is_asleep();
            if !waiting.no_wait && is_to_start {
                until(&reached, waiting.timeout, |view| up(view, &meant)).await?;
            }
            let of = if instances.is_empty() { BTreeSet::new() } else { meant };
            told_of(form, &written, of, ("unfenced", "is not fenced"))
        })
    }
}

fn up(view: &View, meant: &BTreeSet<InstanceName>) -> Sight<()> {
    let down: Vec<String> =
        meant.iter().filter(|name| !view.is_ready(name)).map(ToString::to_string).collect();
    if down.is_empty() {
        Sight::There(())
    } else {
        Sight::Missing(format!("waiting for PostgreSQL of {} to start", down.join(", ")))
    }
}
