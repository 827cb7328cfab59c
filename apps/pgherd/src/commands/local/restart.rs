//! `pgherd local restart`: restarts the PostgreSQL of instances; agents stay.
//!
//! Never restarts one twice for one request.

use super::action;
use super::place::Place;
use super::wait::{self, Sight};
use pgherd_api::agent::Status;
use pgherd_core::names::InstanceName;
use pgherd_local::control::{InstanceView, Request, View};
use pgherd_local::failure::Failure;
use std::collections::{BTreeMap, BTreeSet};

/// Restart the PostgreSQL of instances
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  pgherd local restart\n  pgherd local restart 2")]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(super) place: Place,
    /// The instances, by name or number (default: all that run)
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
            let view = supervisor.view().await?;
            let old = Processes::of(view.instances.iter().filter_map(told));
            let done = supervisor.ask(&Request::Restart { instances: self.instances }).await?;
            let number = done.number.unwrap_or_default();
            if !self.no_wait {
                let restarted = old.replaced(&done.instances, number);
                wait::until(&supervisor, within, restarted).await?;
                action::until_ready(&supervisor, &done.instances, within).await?;
            }
            action::tell(&supervisor, &done, output, ("restarted", "restarted"))
        })
    }
}

fn told(instance: &InstanceView) -> Option<(&InstanceName, &Status)> {
    Some((&instance.name, instance.status.as_ref()?))
}

/// The PostgreSQL that each instance ran before its restart began.
pub(crate) struct Processes(BTreeMap<InstanceName, u32>);

impl Processes {
    pub(crate) fn of<'a>(
        statuses: impl IntoIterator<Item = (&'a InstanceName, &'a Status)>,
    ) -> Self {
        let process = |(name, status): (&InstanceName, &Status)| {
            status.server.pid.map(|pid| (name.clone(), pid))
        };
        Self(statuses.into_iter().filter_map(process).collect())
    }

    /// Sees when every one of `names` runs another PostgreSQL.
    fn replaced(
        mut self,
        names: &BTreeSet<InstanceName>,
        number: u64,
    ) -> impl FnMut(&View) -> Sight<()> {
        move |view| {
            let meant = view.instances.iter().filter(|it| names.contains(&it.name));
            let waiting: Vec<String> = meant
                .filter(|it| !told(it).is_some_and(|told| self.is_replaced(told, number)))
                .map(|it| it.name.to_string())
                .collect();
            if waiting.is_empty() {
                Sight::There(())
            } else {
                Sight::Missing(format!("waiting for {} to restart", waiting.join(", ")))
            }
        }
    }

    /// Whether an instance runs another PostgreSQL, for the restart of this number. An agent tells
    /// that it has begun to restart while the old one still serves.
    pub(crate) fn is_replaced(
        &mut self,
        (name, status): (&InstanceName, &Status),
        number: u64,
    ) -> bool {
        let Some(pid) = status.server.pid else { return false };
        if status.restart_done < number {
            // One that crashed meanwhile is up again and will be restarted all the same.
            self.0.insert(name.clone(), pid);
            return false;
        }
        self.0.get(name) != Some(&pid)
    }
}
