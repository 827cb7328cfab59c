//! What verbs that change something have in common: ask, wait, and say in one sentence what is
//! different now.
//!
//! Never says that something changed when nothing did.

use super::output::{Output, say_either, warn};
use super::wait::{self, Sight};
use pgherd_core::names::InstanceName;
use pgherd_local::client::Supervisor;
use pgherd_local::control::{AgentView, Done, Effect, InstanceView, Request, View};
use pgherd_local::failure::Failure;
use pgherd_local::hint;
use pgherd_local::summary::{self, is_ready};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a verb tells when it is done.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    pub(super) cluster: String,
    pub(super) instances: BTreeSet<InstanceName>,
    pub(super) done: String,
    pub(super) changed: bool,
}

/// Asks for a change and tells what it came to: `changed` if there is one, else `unchanged`.
pub(super) async fn simply(
    supervisor: &Supervisor,
    request: Request,
    output: Output,
    (changed, unchanged): (&str, &str),
) -> Result<(), Failure> {
    let done = supervisor.ask(&request).await?;
    tell(supervisor, &done, output, (changed, unchanged))
}

pub(super) fn tell(
    supervisor: &Supervisor,
    done: &Done,
    output: Output,
    (changed, unchanged): (&str, &str),
) -> Result<(), Failure> {
    warn(&done.warnings);
    let words = match done.effect {
        Effect::Changed => changed,
        Effect::Unchanged => unchanged,
    };
    let cluster = supervisor.folder().name().to_string();
    let sentence = match done.instances.iter().collect::<Vec<_>>().as_slice() {
        [one] => format!("instance/{one} {words}"),
        _ => format!("cluster/{cluster} {words}"),
    };
    let sentence = hint::addressed(&sentence, supervisor.folder().root());
    let told = Told {
        cluster,
        instances: done.instances.clone(),
        done: hint::addressed(words, supervisor.folder().root()),
        changed: done.effect == Effect::Changed,
    };
    say_either(output, &sentence, &told)
}

/// Waits until these instances do what they are for.
pub(super) async fn until_ready(
    supervisor: &Supervisor,
    names: &BTreeSet<InstanceName>,
    within: Duration,
) -> Result<View, Failure> {
    wait::until(supervisor, within, |view| {
        let meant = view.instances.iter().filter(|instance| names.contains(&instance.name));
        let missing: Vec<String> = meant
            .filter(|instance| !is_ready(view, instance))
            .map(|instance| waits_for(view, instance))
            .collect();
        if missing.is_empty() {
            Sight::There(view.clone())
        } else {
            Sight::Missing(format!("waiting for {}", missing.join("; ")))
        }
    })
    .await
}

/// Waits until no process of these instances lives.
pub(super) async fn until_gone(
    supervisor: &Supervisor,
    names: &BTreeSet<InstanceName>,
    within: Duration,
) -> Result<(), Failure> {
    wait::until(supervisor, within, |view| {
        let lives = |instance: &&InstanceView| match instance.agent {
            AgentView::Running { .. } | AgentView::Frozen { .. } | AgentView::Ending { .. } => true,
            AgentView::Restarting { .. } | AgentView::Absent => false,
        };
        let meant = view.instances.iter().filter(|instance| names.contains(&instance.name));
        let left: Vec<String> =
            meant.filter(lives).map(|instance| waits_for(view, instance)).collect();
        if left.is_empty() {
            Sight::There(())
        } else {
            Sight::Missing(format!("waiting for the end of {}", left.join("; ")))
        }
    })
    .await
}

fn waits_for(view: &View, instance: &InstanceView) -> String {
    let task = instance.status.as_ref().and_then(|status| status.task.as_ref());
    match task {
        Some(task) => format!("{} ({})", instance.name, task.name),
        None => format!("{} ({})", instance.name, summary::of(view, instance).reason),
    }
}
