//! `pgherd restart`: restarts the PostgreSQL of instances; pods and agents stay.
//!
//! Never restarts one twice for one request.

use super::super::local::restart::Processes;
use super::super::output::remark;
use super::ask::{named, told, write};
use super::place::Place;
use super::wait::{Sight, Waiting, until, until_agents};
use pgherd_api::agent::Status;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::ask::{self, Refusal};
use pgherd_kubernetes::console::{Part, View};
use pgherd_local::failure::Failure;
use std::collections::BTreeSet;
use std::time::Instant;

/// Restart the PostgreSQL of instances
#[derive(clap::Args)]
#[command(after_help = "\
Waits until every PostgreSQL runs anew and is ready. Agents are asked by means of pods/exec; without
that right it waits until they have been told, and every instance is ready.

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
            let before = reached.asked().await?;
            let mut old = Processes::of(&before.agents);
            let written = write(&reached, restart).await?;
            let number = written.asked.as_ref().and_then(|asked| asked.number).unwrap_or_default();
            if waiting.no_wait {
                let words = ("is asked to restart", "is asked to restart");
                return told(form, &written, words);
            }
            let began = Instant::now();
            until(&reached, waiting.left(began), |view| taken_up(view, number)).await?;
            let meant = meant(&written.before, &instances).map_err(super::place::refused)?;
            let is_seen = before.sees(Part::Agents);
            if is_seen {
                let replaced =
                    |name: &InstanceName, it: &Status| old.is_replaced((name, it), number);
                let wait = (meant.clone(), waiting.left(began));
                until_agents(&reached, wait, replaced).await?;
            } else if let Some(note) = before.note(Part::Agents) {
                remark(&format!("note: {note}"));
            }
            until(&reached, waiting.left(began), |view| ready(view, &meant)).await?;
            let done = if is_seen { "restarted" } else { "is told to restart, and ready" };
            told(form, &written, (done, "is ready"))
        })
    }
}

/// Those whose PostgreSQL shall run.
fn meant(view: &View, given: &[String]) -> Result<BTreeSet<InstanceName>, Refusal> {
    let all = super::fence::meant(view, given)?;
    Ok(all.into_iter().filter(|name| !view.is_fenced(name)).collect())
}

fn taken_up(view: &View, number: u64) -> Sight<()> {
    let last = view.wishes.as_ref().and_then(|wishes| wishes.restart.as_ref());
    if last.is_some_and(|last| last.number >= number) {
        return Sight::There(());
    }
    Sight::Missing("waiting for the operator to take it up".to_owned())
}

fn ready(view: &View, meant: &BTreeSet<InstanceName>) -> Sight<()> {
    let waiting: Vec<String> =
        meant.iter().filter(|name| !view.is_ready(name)).map(ToString::to_string).collect();
    if waiting.is_empty() {
        Sight::There(())
    } else {
        Sight::Missing(format!("waiting for {}", waiting.join(", ")))
    }
}
