//! Sets the rule for commits, and makes sure that every process of the server obeys it.
//!
//! Never says that a rule holds while a commit could pass without looking at it.

mod checkpointer;
mod senders;

use crate::postgres::config::{Settings, quote, standby_names};
use crate::postgres::running::{Deadline, Running, RunningError, until};
use crate::postgres::session::{Session, SessionError};
use pgherd_core::units::Lsn;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum CommitsError {
    #[error("changing the rule for commits")]
    Change { source: RunningError },
    #[error("looking at the checkpointer")]
    WatchCheckpointer { source: SessionError },
    #[error("the checkpointer did not take up the rule in time: it is busy, try again")]
    AwaitCheckpointer,
    #[error("looking at the processes that send to standbys")]
    WatchSenders { source: SessionError },
    #[error("a process that sends to a standby did not take up the rule in time: try again")]
    AwaitSenders,
    #[error("reading how far the log is")]
    ReadPosition { source: SessionError },
}

/// Makes the rule in `settings` the server's: new commits wait when this returns. Which standbys
/// they wait for is for the senders to say, and those of before may still obey the old rule.
/// Returns a session of the server: whoever goes on need not connect anew.
pub async fn set_rule(
    running: Running<'_>,
    settings: &Settings,
    within: Duration,
) -> Result<Session, CommitsError> {
    change(running, settings, Deadline::after(within)).await
}

/// The same, for all senders too; tells the position from which on the rule holds.
pub async fn obey(
    running: Running<'_>,
    settings: &Settings,
    within: Duration,
) -> Result<Lsn, CommitsError> {
    let deadline = Deadline::after(within);
    let mut session = change(running, settings, deadline).await?;
    senders::obey(&mut session, deadline).await?;
    let said = session
        .value("select pg_current_wal_flush_lsn()", deadline.left())
        .await
        .map_err(|source| CommitsError::ReadPosition { source })?;
    Lsn::parse(&said).map_err(|_| CommitsError::ReadPosition {
        source: SessionError::Understand { what: "a position in the log" },
    })
}

/// Returns a session that was begun after the postmaster had told every process of the change.
async fn change(
    running: Running<'_>,
    settings: &Settings,
    deadline: Deadline,
) -> Result<Session, CommitsError> {
    let change = |source| CommitsError::Change { source };
    running.configure(settings).await.map_err(change)?;
    let mut session = running.connect(deadline).await.map_err(change)?;
    let wanted = standby_names(settings.commits.as_ref());
    let has_it = format!(
        "select current_setting('synchronous_standby_names') = {}",
        quote::literal(&wanted)
    );
    until(&mut session, deadline, "the new rule for commits", &has_it).await.map_err(change)?;
    // A process that has the new rule was told of it while the postmaster may still have been
    // telling others. It takes a new connection only when it is done with that.
    let mut session = running.connect(deadline).await.map_err(change)?;
    if !wanted.is_empty() {
        checkpointer::take_up(&mut session, deadline).await?;
    }
    Ok(session)
}
