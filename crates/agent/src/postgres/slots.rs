//! Replication slots: one for each standby, so that its log is kept while it is away.
//!
//! Never touches a slot that is not named with our prefix.

use crate::postgres::config::quote::literal;
use crate::postgres::running::{Deadline, Running, RunningError};
use crate::postgres::session::SessionError;
use pgherd_core::units::Lsn;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error("connecting to the server")]
    Connect { source: RunningError },
    #[error("creating the slot {name:?}")]
    Create { name: String, source: SessionError },
    #[error("dropping slots that nobody needs any more")]
    Drop { source: SessionError },
    #[error("advancing the slot {name:?}")]
    Advance { name: String, source: SessionError },
}

/// Creates the slots of `names` that are missing, keeping log from now on. Works on a standby too,
/// so that a new primary has them from its first moment.
pub async fn ensure(
    running: Running<'_>,
    names: &BTreeSet<String>,
    within: Duration,
) -> Result<(), SlotError> {
    let deadline = Deadline::after(within);
    let mut session =
        running.connect(deadline).await.map_err(|source| SlotError::Connect { source })?;
    for name in names {
        let quoted = literal(name);
        let create = format!(
            "select pg_create_physical_replication_slot({quoted}, true) where not exists \
             (select from pg_replication_slots where slot_name = {quoted})"
        );
        session
            .run(&create, deadline.left())
            .await
            .map_err(|source| SlotError::Create { name: name.clone(), source })?;
    }
    Ok(())
}

/// Drops the slots that begin with `prefix` and are not among `kept`; one that is in use stays
/// until the next time.
pub async fn drop_others(
    running: Running<'_>,
    prefix: &str,
    kept: &BTreeSet<String>,
    within: Duration,
) -> Result<(), SlotError> {
    let deadline = Deadline::after(within);
    let mut session =
        running.connect(deadline).await.map_err(|source| SlotError::Connect { source })?;
    let kept: Vec<_> = kept.iter().map(|name| literal(name)).collect();
    let drop = format!(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
         where slot_type = 'physical' and not active and starts_with(slot_name::text, {}) \
         and not slot_name::text = any (array[{}]::text[])",
        literal(prefix),
        kept.join(", ")
    );
    session.run(&drop, deadline.left()).await.map_err(|source| SlotError::Drop { source })
}

/// Lets go of log before `to`: on a standby nothing else moves a slot on.
pub async fn advance(
    running: Running<'_>,
    name: &str,
    to: Lsn,
    within: Duration,
) -> Result<(), SlotError> {
    let deadline = Deadline::after(within);
    let mut session =
        running.connect(deadline).await.map_err(|source| SlotError::Connect { source })?;
    let (name_quoted, to) = (literal(name), literal(&to.to_string()));
    // A slot never goes back, and is not in use on a standby.
    let advance = format!(
        "select pg_replication_slot_advance(slot_name, {to}) from pg_replication_slots \
         where slot_name = {name_quoted} and not active and restart_lsn < {to}"
    );
    session
        .run(&advance, deadline.left())
        .await
        .map_err(|source| SlotError::Advance { name: name.to_owned(), source })
}
