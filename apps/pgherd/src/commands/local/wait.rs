//! Looks at a cluster until something has come true, and tells meanwhile what is missing.
//!
//! Never waits without end, and never takes a silent supervisor for a changed cluster.

use super::progress::Progress;
use pgherd_core::names::InstanceName;
use pgherd_core::wishes::Wish;
use pgherd_local::client::Supervisor;
use pgherd_local::control::View;
use pgherd_local::failure::{Failure, Kind};
use pgherd_local::summary::{self, is_ready};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::sleep;

const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What one look has shown.
pub(crate) enum Sight<T> {
    There(T),
    /// Not yet: what is missing, in words.
    Missing(String),
    /// It will not come.
    Never(Failure),
}

/// Waits until `look` finds what it looks for.
pub(crate) async fn until<T>(
    supervisor: &Supervisor,
    within: Duration,
    mut look: impl FnMut(&View) -> Sight<T>,
) -> Result<T, Failure> {
    let (mut progress, mut setbacks) = (Progress::new(), Setbacks::default());
    loop {
        let view = supervisor.view().await?;
        setbacks.see(&view);
        let missing = match look(&view) {
            Sight::There(found) => return Ok(found),
            Sight::Never(failure) => return Err(failure),
            Sight::Missing(what) => what,
        };
        progress.tell(&missing);
        if progress.elapsed() >= within {
            return Err(setbacks.timed_out(within, &missing));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

/// Refuses to wait for what an instance does that is not to run any more.
pub(super) fn unless_gone(view: &View, name: &InstanceName, what: &str) -> Result<(), Failure> {
    match view.instance(name) {
        Some(instance) if instance.wish == Wish::Running => Ok(()),
        Some(_) | None => Err(Failure::new(Kind::Failed, format!("{what} came to nothing"))
            .because(format!("{name}, which worked on it, does not run any more"))
            .fix("ask for it again")),
    }
}

/// What went wrong while somebody waited. At the end it may just be tried once more.
#[derive(Default)]
struct Setbacks {
    failed: BTreeMap<InstanceName, String>,
    full: Option<String>,
}

impl Setbacks {
    fn see(&mut self, view: &View) {
        self.full = summary::full_disks(view).or(self.full.take());
        for instance in &view.instances {
            let Some(status) = &instance.status else { continue };
            if is_ready(view, instance) {
                self.failed.remove(&instance.name);
            } else if status.verdict.because.get("retryLater").is_some() {
                self.failed.insert(instance.name.clone(), status.verdict.reason.clone());
            }
        }
    }

    fn timed_out(&self, within: Duration, missing: &str) -> Failure {
        let untold = self.failed.iter().filter(|(_, why)| !missing.contains(*why));
        let before = untold.map(|(name, why)| format!("; before that {name}: {why}"));
        let cause = before.fold(missing.to_owned(), |all, one| all + &one);
        let what = match &self.full {
            Some(full) => format!("gave up waiting after {within:?}: {full}"),
            None => format!("gave up waiting after {within:?}"),
        };
        Failure::new(Kind::TimedOut, what)
            .because(cause)
            .fix("it goes on: pgherd local status, pgherd local explain")
    }
}
