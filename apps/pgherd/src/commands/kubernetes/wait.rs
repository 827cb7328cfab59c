//! Looks at a cluster until something has come true, and tells meanwhile what is missing.
//!
//! Never waits without end, and never takes one failed look for an answer.

use super::super::local::place::duration;
use super::super::output::remark;
use super::super::progress::Progress;
use super::place::Reached;
use futures_util::future::join_all;
use pgherd_api::agent::{Specification, Status};
use pgherd_core::names::InstanceName;
use pgherd_kubernetes::console::{Part, View, inside};
use pgherd_local::failure::{Failure, Kind};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::time::sleep;

pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(super) struct Waiting {
    /// How long to wait, for example 30s or 5m; the operation goes on after that
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub(super) timeout: Duration,
    /// Return at once
    #[arg(long)]
    pub(super) no_wait: bool,
}

impl Waiting {
    /// What is left of the time for a wait that began then.
    pub(super) fn left(&self, began: Instant) -> Duration {
        self.timeout.saturating_sub(began.elapsed())
    }
}

/// What one look has shown.
pub(super) enum Sight<T> {
    There(T),
    /// Not yet: what is missing, in words.
    Missing(String),
}

/// Waits until `look` finds what it looks for.
pub(super) async fn until<T>(
    reached: &Reached,
    within: Duration,
    mut look: impl FnMut(&View) -> Sight<T>,
) -> Result<T, Failure> {
    let mut progress = Progress::new();
    loop {
        let missing = match reached.look().await {
            Ok(view) => match look(&view) {
                Sight::There(found) => return Ok(found),
                Sight::Missing(what) => what,
            },
            Err(failure) => failure.what,
        };
        progress.tell(&missing);
        if progress.elapsed() >= within {
            return Err(timed_out(within, &missing, reached));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Waits until the agents of all `names` say what `is_done` wants to hear.
pub(super) async fn until_agents(
    reached: &Reached,
    (mut names, within): (BTreeSet<InstanceName>, Duration),
    mut is_done: impl FnMut(&InstanceName, &Status) -> bool,
) -> Result<(), Failure> {
    let mut progress = Progress::new();
    loop {
        let ask = |name: InstanceName| async move {
            let said = inside::agent(&reached.client, &reached.namespace, &name).await;
            (name, said)
        };
        // One that is away says nothing: it is asked again.
        for (name, said) in join_all(names.clone().into_iter().map(ask)).await {
            if said.is_ok_and(|status| is_done(&name, &status)) {
                names.remove(&name);
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let waiting: Vec<String> = names.iter().map(ToString::to_string).collect();
        let missing = format!("waiting for {}", waiting.join(", "));
        progress.tell(&missing);
        if progress.elapsed() >= within {
            return Err(timed_out(within, &missing, reached));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Waits until what is wanted is so, and every agent that can be asked acts on it.
pub(super) async fn until_told(
    reached: &Reached,
    waiting: &Waiting,
    is_so: impl Fn(&Specification) -> bool,
) -> Result<(), Failure> {
    let began = Instant::now();
    let number = until(reached, waiting.left(began), |view| {
        if let Some(note) = view.note(Part::Specification) {
            return Sight::There(Err(note));
        }
        match view.specification.as_ref().filter(|told| is_so(told)) {
            Some(told) => Sight::There(Ok(told.number)),
            None => Sight::Missing("waiting for the operator to take it up".to_owned()),
        }
    })
    .await?;
    let number = match number {
        Ok(number) => number,
        Err(note) => {
            remark(&format!("note: {note}"));
            return Ok(());
        }
    };
    let names = reached.asked().await?.agents.into_keys().collect();
    let has_read = |_: &InstanceName, agent: &Status| agent.specification >= number;
    until_agents(reached, (names, waiting.left(began)), has_read).await
}

pub(super) fn timed_out(within: Duration, missing: &str, reached: &Reached) -> Failure {
    let (cluster, namespace) = (&reached.cluster, &reached.namespace);
    Failure::new(Kind::TimedOut, format!("gave up waiting after {within:?}"))
        .because(missing)
        .fix(format!("it goes on: pgherd explain {cluster} -n {namespace}"))
}
