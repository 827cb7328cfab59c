//! Ends sessions of others: clients before a handover, senders of standbys that count no more.
//!
//! Never ends the agent's own.

use crate::postgres::config::quote::literal;
use crate::postgres::running::{Deadline, Running, RunningError};
use crate::postgres::session::{APPLICATION, SUPERUSER, SessionError};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    #[error("connecting to the server")]
    Connect { source: RunningError },
    #[error("ending the sessions")]
    End { source: SessionError },
    #[error("understanding how many sessions were ended")]
    Count,
}

/// Ends the WAL senders of the standbys of these names; tells how many.
pub async fn end_senders(
    running: Running<'_>,
    names: &BTreeSet<String>,
    within: Duration,
) -> Result<u64, SessionsError> {
    let names: Vec<_> = names.iter().map(|name| literal(name)).collect();
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_replication \
         where application_name = any (array[{}]::text[])",
        names.join(", ")
    );
    run(running, &end, within).await
}

/// Ends every session of a client; tells how many.
pub async fn end_clients(running: Running<'_>, within: Duration) -> Result<u64, SessionsError> {
    // Anybody can choose this application name, but not to be this role through the socket.
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where backend_type = 'client backend' and pid <> pg_backend_pid() and not \
         (usename = '{SUPERUSER}' and client_addr is null and application_name = '{APPLICATION}')"
    );
    run(running, &end, within).await
}

async fn run(running: Running<'_>, sql: &str, within: Duration) -> Result<u64, SessionsError> {
    let deadline = Deadline::after(within);
    let mut session =
        running.connect(deadline).await.map_err(|source| SessionsError::Connect { source })?;
    let count = session
        .value(sql, deadline.left())
        .await
        .map_err(|source| SessionsError::End { source })?;
    count.parse().map_err(|_| SessionsError::Count)
}
