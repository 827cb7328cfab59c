//! `pgherd reload`: lets every instance read its settings again.
//!
//! Never restarts anything.

use super::super::output::remark;
use super::ask::{told, write};
use super::place::Place;
use super::wait::{Sight, Waiting, until, until_agents};
use pgherd_api::agent::Status;
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::{Part, View, ask};
use pgherd_local::failure::Failure;
use std::time::Instant;

/// Let all instances read their settings again
#[derive(clap::Args)]
#[command(after_help = "\
Waits until every PostgreSQL that runs has read them. Agents are asked by means of pods/exec; without
that right it waits until they have been told.

Example:
  pgherd reload app-db")]
pub(crate) struct Reload {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    waiting: Waiting,
}

impl Reload {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        let Self { place, waiting } = self;
        place.with(|reached| async move {
            let before = reached.asked().await?;
            let written = write(&reached, |view| ask::reload(view).map(Some)).await?;
            let number = written.asked.as_ref().and_then(|asked| asked.number).unwrap_or_default();
            if waiting.no_wait {
                return told(form, &written, ("is asked to reload", "is asked to reload"));
            }
            let began = Instant::now();
            until(&reached, waiting.left(began), |view| taken_up(view, number)).await?;
            if !before.sees(Part::Agents) {
                if let Some(note) = before.note(Part::Agents) {
                    remark(&format!("note: {note}"));
                }
                return told(form, &written, ("is told to reload", "is told to reload"));
            }
            let running = before.agents.iter().filter(|(_, agent)| agent.server.pid.is_some());
            let running = running.map(|(name, _)| name.clone()).collect();
            let has_read = |_: &InstanceName, agent: &Status| agent.configuration_done >= number;
            until_agents(&reached, (running, waiting.left(began)), has_read).await?;
            told(form, &written, ("reloaded", "reloaded"))
        })
    }
}

fn taken_up(view: &View, number: u64) -> Sight<()> {
    if view.wishes.as_ref().is_some_and(|wishes| wishes.configuration >= number) {
        return Sight::There(());
    }
    Sight::Missing("waiting for the operator to take it up".to_owned())
}
