//! Makes sure that every process that sends to a standby has read the configuration.
//!
//! A sender lets commits go by its own copy of the rule. It reads a change at the beginning of each
//! of its rounds, hears its standby, and then sends once. So when it sends something that was
//! written after it was seen to send something else, it has begun a round in between. Never counts
//! on a sender that does not get that far: it is ended, and its standby comes back with a new one.

use super::CommitsError;
use crate::postgres::config::UNCOUNTED;
use crate::postgres::running::{ASK_EVERY, Deadline};
use crate::postgres::session::{Rows, Session};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long a sender may take before it is ended.
const PATIENCE: Duration = Duration::from_millis(300);

/// Those that can let a commit go. A base backup hears nothing from its receiver, and a copy that
/// is being made has a name that no rule knows: to end those would only undo their work.
fn counted() -> String {
    format!(
        "select pid from pg_stat_replication \
         where state <> 'backup' and application_name not like '%{UNCOUNTED}'"
    )
}

/// Writes a few bytes of log that mean nothing; its commit flushes them.
const WRITE: &str = "select pg_logical_emit_message(true, 'pgherd', '')";
const FLUSHED: &str = "select pg_current_wal_flush_lsn()";

/// Waits until the senders of this moment obey, or are gone.
pub(super) async fn obey(session: &mut Session, deadline: Deadline) -> Result<(), CommitsError> {
    let mut old = list(session, deadline, &counted()).await?;
    let patience = Instant::now() + PATIENCE;
    for _ in 0..2 {
        if old.is_empty() {
            return Ok(());
        }
        ask(session, deadline, WRITE).await?;
        let lsn = session
            .value(FLUSHED, deadline.left())
            .await
            .map_err(|source| CommitsError::WatchSenders { source })?;
        old = send(session, deadline, patience, (&old, &lsn)).await?;
    }
    Ok(())
}

/// Waits until those of `old` have sent up to `lsn`, or ends them; returns those that are left.
async fn send(
    session: &mut Session,
    deadline: Deadline,
    patience: Instant,
    (old, lsn): (&BTreeSet<String>, &str),
) -> Result<BTreeSet<String>, CommitsError> {
    let late =
        format!("select pid from pg_stat_replication where sent_lsn is null or sent_lsn < '{lsn}'");
    loop {
        let late = list(session, deadline, &late).await?;
        let left: BTreeSet<_> = late.intersection(old).cloned().collect();
        if left.is_empty() {
            let present = list(session, deadline, &counted()).await?;
            return Ok(present.intersection(old).cloned().collect());
        }
        if deadline.left().is_zero() {
            return Err(CommitsError::AwaitSenders);
        }
        if Instant::now() >= patience {
            let ids: Vec<_> = left.into_iter().collect();
            let end = format!(
                "select pg_terminate_backend(pid) from pg_stat_replication where pid in ({})",
                ids.join(", ")
            );
            ask(session, deadline, &end).await?;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn list(
    session: &mut Session,
    deadline: Deadline,
    sql: &str,
) -> Result<BTreeSet<String>, CommitsError> {
    let sets = ask(session, deadline, sql).await?;
    let rows = sets.iter().flatten();
    Ok(rows.filter_map(|row| row.try_get(0).ok().flatten().map(str::to_owned)).collect())
}

async fn ask(
    session: &mut Session,
    deadline: Deadline,
    sql: &str,
) -> Result<Vec<Rows>, CommitsError> {
    session.ask(sql, deadline.left()).await.map_err(|source| CommitsError::WatchSenders { source })
}
