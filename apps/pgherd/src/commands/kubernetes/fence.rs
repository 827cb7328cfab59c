//! `pgherd fence`: keeps the PostgreSQL of an instance down; its agent stays.
//!
//! Never fences the last healthy instance unless that is said twice.

use super::ask::{named, told_of, write};
use super::place::Place;
use super::wait::{Sight, Waiting, until};
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::View;
use pgherd_kubernetes::console::ask::{self, Insistence, Refusal};
use pgherd_local::failure::Failure;
use std::collections::BTreeSet;

/// Keep the PostgreSQL of instances down, for work on their data
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pgherd fence app-db 2
  pgherd fence app-db --all --force")]
pub(crate) struct Fence {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number
    #[arg(value_name = "INSTANCE", required_unless_present = "all", conflicts_with = "all")]
    instances: Vec<String>,
    /// All instances, also those to come
    #[arg(long)]
    all: bool,
    /// Also the last healthy one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Fence {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let insistence = if self.force { Insistence::Forced } else { Insistence::Usual };
        let Self { place, instances, waiting, .. } = self;
        place.with(|reached| async move {
            let fence = |view: &View| ask::fence(view, &named(view, &instances)?, insistence);
            let written = write(&reached, fence).await?;
            let meant = meant(&written.before, &instances).map_err(super::place::refused)?;
            if !waiting.no_wait {
                until(&reached, waiting.timeout, |view| down(view, &meant)).await?;
            }
            let done = if waiting.no_wait { "is asked to be fenced" } else { "fenced" };
            let of = if instances.is_empty() { BTreeSet::new() } else { meant };
            told_of(form, &written, of, (done, "is fenced already"))
        })
    }
}

pub(super) fn meant(view: &View, given: &[String]) -> Result<BTreeSet<InstanceName>, Refusal> {
    if given.is_empty() { Ok(view.instances()) } else { named(view, given) }
}

/// A pod is not ready any more once its PostgreSQL is down.
fn down(view: &View, meant: &BTreeSet<InstanceName>) -> Sight<()> {
    let up: Vec<String> =
        meant.iter().filter(|name| view.is_ready(name)).map(ToString::to_string).collect();
    if up.is_empty() {
        Sight::There(())
    } else {
        Sight::Missing(format!("waiting for PostgreSQL of {} to stop", up.join(", ")))
    }
}
