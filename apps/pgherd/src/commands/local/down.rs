//! `pgherd local down`: stops everything cleanly and keeps the data.
//!
//! Never kills a server that may still stop by itself, unless it is told to.

use super::output::say_either;
use super::place::Place;
use super::wait::{self, Sight};
use pgherd_core::wishes::Shall;
use pgherd_local::client;
use pgherd_local::control::{Part, Request, View};
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::folder::ClusterFolder;
use pgherd_local::summary;
use std::time::{Duration, Instant};

/// From the end of the last instance to that of the supervisor.
const LAST: Duration = Duration::from_secs(15);

/// Stop a cluster cleanly and keep its data
#[derive(clap::Args)]
#[command(after_help = "Example:\n  pgherd local down")]
pub(crate) struct Down {
    #[command(flatten)]
    pub(super) place: Place,
    /// Kill what does not stop at once
    #[arg(long)]
    force: bool,
}

impl Down {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (output, within) = (self.place.output(), self.place.timeout());
        let manner = if self.force { Manner::Forced } else { Manner::Clean };
        let (name, took) = self.place.inside(|folder| async move {
            let name = folder.name().clone();
            let began = Instant::now();
            bring_down(&folder, within, manner).await?;
            Ok((name, began.elapsed().as_secs_f64()))
        })?;
        let document = serde_json::json!({ "cluster": name, "state": "down", "seconds": took });
        say_either(
            output,
            &format!("cluster/{name} down in {took:.1}s; its data is kept"),
            &document,
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Clean,
    Forced,
}

/// Stops the cluster, and returns when nothing of it runs any more.
pub(super) async fn bring_down(
    folder: &ClusterFolder,
    within: Duration,
    manner: Manner,
) -> Result<(), Failure> {
    let registration = client::registered(folder)?;
    let supervisor = match client::present(folder).await? {
        Some(supervisor) => supervisor,
        None if registration.shall == Shall::Rest => return Ok(()),
        // Its agents may have outlived it.
        None => client::reach_or_start(folder).await?,
    };
    if manner == Manner::Forced {
        for instance in supervisor.view().await?.instances {
            let instance = instance.name.to_string();
            supervisor.ask(&Request::Kill { instance, part: Part::Everything }).await?;
        }
    }
    match supervisor.ask(&Request::Down).await {
        Ok(_) => {}
        // Another command has brought it down meanwhile.
        Err(_) if supervisor.gone(LAST).await => return Ok(()),
        Err(failure) => return Err(failure),
    }
    let stopped = wait::until(&supervisor, within, stopped).await;
    match stopped {
        // It ends when all are down, and may have done so between two looks.
        Ok(()) => {}
        Err(failure) if failure.kind == Kind::Failed => {}
        Err(failure) => return Err(failure),
    }
    if supervisor.gone(LAST).await {
        return Ok(());
    }
    let what = format!("the supervisor of cluster {} does not end", folder.name());
    Err(Failure::new(Kind::TimedOut, what).fix(format!("read {}", folder.log().display())))
}

fn stopped(view: &View) -> Sight<()> {
    use pgherd_local::control::AgentView;
    let runs = view.instances.iter().filter(|instance| match instance.agent {
        AgentView::Running { .. } | AgentView::Frozen { .. } | AgentView::Ending { .. } => true,
        AgentView::Restarting { .. } | AgentView::Absent => false,
    });
    let left: Vec<String> = runs
        .map(|instance| format!("{} ({})", instance.name, summary::of(view, instance).reason))
        .collect();
    if left.is_empty() {
        return Sight::There(());
    }
    Sight::Missing(format!("waiting for the end of {}", left.join(", ")))
}
