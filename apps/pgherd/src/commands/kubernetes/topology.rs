//! `pgherd topology`: who follows whom, and on which node.
//!
//! Never draws a link that the record does not state.

use super::form::tell;
use super::place::Place;
use pgherd_kubernetes::console::summary::{Health, InstanceSummary, Summary, summary};
use pgherd_local::failure::Failure;

/// Show who follows whom, and on which nodes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd topology app-db")]
pub(crate) struct Topology {
    #[command(flatten)]
    pub(super) place: Place,
}

impl Topology {
    pub(super) fn run(self) -> Result<(), Failure> {
        let form = self.place.form();
        self.place.with(|reached| async move {
            let summary = summary(&reached.view().await?);
            tell(form, (&summary.cluster, &text(&summary)), &summary.instances)
        })
    }
}

fn text(summary: &Summary) -> Vec<String> {
    let is_root = |it: &&InstanceSummary| summary.primary.as_ref() == Some(&it.name);
    let line = |it: &InstanceSummary| {
        let node = it.node.as_deref().map(|node| format!(" on {node}")).unwrap_or_default();
        format!("{} ({}, {}){node}", it.name, it.role, it.state)
    };
    let root = summary.instances.iter().find(is_root);
    let nobody = match summary.health {
        Health::Unknown => "who takes writes cannot be seen",
        Health::Healthy
        | Health::Changing
        | Health::Degraded
        | Health::NoPrimary
        | Health::Stopped => "nobody takes writes",
    };
    let first = root.map_or_else(|| format!("{}: {nobody}", summary.cluster), line);
    let others: Vec<_> = summary.instances.iter().filter(|it| !is_root(it)).collect();
    let last = others.len().saturating_sub(1);
    let branch = |position| if position == last { "└─" } else { "├─" };
    let rest = others.iter().enumerate();
    let rest = rest.map(|(position, it)| format!("{} {}", branch(position), line(it)));
    [first].into_iter().chain(rest).collect()
}
