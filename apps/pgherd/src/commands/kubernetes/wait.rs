//! Looks at a cluster until something has come true, and tells meanwhile what is missing.
//!
//! Never waits without end, and never takes one failed look for an answer.

use super::super::local::place::duration;
use super::super::local::progress::Progress;
use super::place::Reached;
use pgherd_kubernetes::console::View;
use pgherd_local::failure::{Failure, Kind};
use std::time::Duration;
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

pub(super) fn timed_out(within: Duration, missing: &str, reached: &Reached) -> Failure {
    let (cluster, namespace) = (&reached.cluster, &reached.namespace);
    Failure::new(Kind::TimedOut, format!("gave up waiting after {within:?}"))
        .because(missing)
        .fix(format!("it goes on: pgherd explain {cluster} -n {namespace}"))
}
