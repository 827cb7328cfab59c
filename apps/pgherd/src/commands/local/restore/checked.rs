//! Runs the user's own checks in a restored cluster of this machine.
//!
//! Never judges them: that is done alike everywhere.

use super::super::super::check::{Checked, judged, quietly};
use pgherd_local::client::Supervisor;
use pgherd_local::failure::Failure;
use pgherd_local::uri;
use tokio::process::Command;

pub(in super::super) async fn run(
    supervisor: &Supervisor,
    statements: &str,
) -> Result<Checked, Failure> {
    let view = supervisor.view().await?;
    let mut psql = Command::new(view.bindir.join("psql"));
    quietly(&mut psql)
        .arg(uri::plain(&view, supervisor.folder())?)
        // Root's own certificates are not for the cluster's owner.
        .env("HOME", supervisor.folder().root());
    judged(psql, statements).await
}
