//! Looks at a cluster until something has come true, and tells meanwhile what is missing.
//!
//! Never waits without end, and never takes a silent supervisor for a changed cluster.

use super::progress::Progress;
use pgherd_local::client::Supervisor;
use pgherd_local::control::View;
use pgherd_local::failure::{Failure, Kind};
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
    let mut progress = Progress::new();
    loop {
        let view = supervisor.view().await?;
        let missing = match look(&view) {
            Sight::There(found) => return Ok(found),
            Sight::Never(failure) => return Err(failure),
            Sight::Missing(what) => what,
        };
        progress.tell(&missing);
        if progress.elapsed() >= within {
            return Err(Failure::new(Kind::TimedOut, format!("gave up waiting after {within:?}"))
                .because(missing)
                .fix("it goes on: pgherd local status, pgherd local explain"));
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
