//! Sets the rule for commits, and makes sure that the server has taken it up.
//!
//! Never says that a rule holds while a commit could pass without looking at it.

use crate::postgres::config::{Settings, quote, standby_names};
use crate::postgres::running::{Deadline, Running, RunningError, until};
use crate::postgres::session::{Session, SessionError};
use pgherd_core::units::Lsn;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum CommitsError {
    #[error("changing the rule for commits")]
    Change { source: RunningError },
    #[error("reading the present rule for commits")]
    ReadRule { source: SessionError },
    #[error("making the checkpointer take the rule up")]
    Checkpoint { source: SessionError },
    #[error("reading how far the log is")]
    ReadPosition { source: SessionError },
}

/// Makes the rule in `settings` the server's. New and waiting commits obey it when this returns;
/// WAL senders take it up when they next wake, which only what their standbys confirm can show.
pub async fn set_rule(
    running: Running<'_>,
    settings: &Settings,
    within: Duration,
) -> Result<(), CommitsError> {
    let deadline = Deadline::after(within);
    let change = |source| CommitsError::Change { source };
    let mut session = running.connect(deadline).await.map_err(change)?;
    let before = session
        .value("show synchronous_standby_names", deadline.left())
        .await
        .map_err(|source| CommitsError::ReadRule { source })?;
    running.configure(settings).await.map_err(change)?;
    let wanted = standby_names(settings.commits.as_ref());
    let has_it = format!(
        "select current_setting('synchronous_standby_names') = {}",
        quote::literal(&wanted)
    );
    until(&mut session, deadline, "the new rule for commits", &has_it).await.map_err(change)?;
    if before.is_empty() && !wanted.is_empty() {
        wake_checkpointer(running, deadline).await?;
    }
    Ok(())
}

/// Whether there is a rule at all is a flag in shared memory that the checkpointer sets when it
/// reads the configuration; before that, commits do not wait. It reads it before it begins a
/// checkpoint that is asked for. That the postmaster takes a connection means that it has passed
/// the reload on.
async fn wake_checkpointer(running: Running<'_>, deadline: Deadline) -> Result<(), CommitsError> {
    let mut session =
        running.connect(deadline).await.map_err(|source| CommitsError::Change { source })?;
    session
        .run("checkpoint", deadline.left())
        .await
        .map_err(|source| CommitsError::Checkpoint { source })
}

/// Where the log of a primary has been written to disk up to.
pub(crate) async fn flushed(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Lsn, SessionError> {
    let said = session.value("select pg_current_wal_flush_lsn()", deadline.left()).await?;
    Lsn::parse(&said).map_err(|_| SessionError::Understand { what: "a position in the log" })
}

/// The same as [`set_rule`]; then tells the position from which on the rule holds for every commit.
pub async fn obey(
    running: Running<'_>,
    settings: &Settings,
    within: Duration,
) -> Result<Lsn, CommitsError> {
    let deadline = Deadline::after(within);
    set_rule(running, settings, within).await?;
    let mut session =
        running.connect(deadline).await.map_err(|source| CommitsError::Change { source })?;
    flushed(&mut session, deadline).await.map_err(|source| CommitsError::ReadPosition { source })
}
