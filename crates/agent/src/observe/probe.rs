//! Asks a running server where it stands, in one round trip.
//!
//! Never asks for more than the core decides from: it is asked many times a second.

use crate::postgres::session::{Rows, Session, SessionError};
use pgherd_core::names::InstanceName;
use pgherd_core::seen::Sender;
use pgherd_core::units::{Lsn, Timeline};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::SimpleQueryRow;

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Standby(StandbySaid),
    Primary(PrimarySaid),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandbySaid {
    /// Received and flushed by streaming, since the server started.
    pub received: Option<Lsn>,
    pub replayed: Lsn,
    pub receiver: Receiver,
    /// Replay waits for more than there is.
    pub waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    None,
    Connecting,
    Streaming,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimarySaid {
    pub timeline: Timeline,
    pub flushed: Lsn,
    pub senders: BTreeMap<InstanceName, Sender>,
}

/// Prepared once per connection: planning would cost more than the answer.
pub const PREPARE: &str = "
    PREPARE pgherd_stands AS SELECT
        pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
            ELSE pg_current_wal_flush_lsn() END,
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END,
        CASE WHEN NOT pg_is_in_recovery()
            THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
        CASE WHEN pg_is_in_recovery() THEN (SELECT status FROM pg_stat_get_wal_receiver()) END,
        CASE WHEN pg_is_in_recovery()
                AND (SELECT pid IS NULL FROM pg_stat_get_wal_receiver())
            THEN (SELECT wait_event FROM pg_stat_get_activity(NULL)
                WHERE backend_type = 'startup') END;
    PREPARE pgherd_senders AS SELECT a.application_name, s.state, s.flush_lsn
        FROM pg_stat_get_wal_senders() s JOIN pg_stat_get_activity(NULL) a USING (pid)";

const ASK: &str = "EXECUTE pgherd_stands; EXECUTE pgherd_senders";

/// What the startup process waits for when it has replayed all there is.
const WAITS: [&str; 2] = ["RecoveryRetrieveRetryInterval", "RecoveryWalStream"];

/// Asks over a session that was prepared with [`PREPARE`].
pub async fn ask(session: &mut Session, within: Duration) -> Result<Said, SessionError> {
    let sets = session.ask(ASK, within).await?;
    let [stands, senders] = sets.as_slice() else { return Err(not_understood("two answers")) };
    let row = stands.first().ok_or_else(|| not_understood("a row"))?;
    if text(row, 0) == Some("t") { standby(row) } else { primary(row, senders) }
}

fn standby(row: &SimpleQueryRow) -> Result<Said, SessionError> {
    let receiver = match text(row, 4) {
        None => Receiver::None,
        Some("streaming") => Receiver::Streaming,
        Some(_) => Receiver::Connecting,
    };
    let replayed = lsn(row, 2).ok_or_else(|| not_understood("the replayed position"))?;
    let waits = text(row, 5).is_some_and(|event| WAITS.contains(&event));
    Ok(Said::Standby(StandbySaid { received: lsn(row, 1), replayed, receiver, waits }))
}

fn primary(row: &SimpleQueryRow, senders: &Rows) -> Result<Said, SessionError> {
    let timeline = text(row, 3).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let timeline = timeline.ok_or_else(|| not_understood("the timeline"))?;
    let flushed = lsn(row, 1).ok_or_else(|| not_understood("the flushed position"))?;
    let mut found: BTreeMap<InstanceName, Sender> = BTreeMap::new();
    for row in senders {
        let name = text(row, 0).and_then(|name| InstanceName::parse(name).ok());
        let (Some(name), Some(flushed)) = (name, lsn(row, 2)) else { continue };
        let sender = Sender { flushed, streaming: text(row, 1) == Some("streaming") };
        // A sender whose standby has come back over another connection lingers for a while.
        let better = found.get(&name).is_none_or(|other| rank(other) < rank(&sender));
        if better {
            found.insert(name, sender);
        }
    }
    Ok(Said::Primary(PrimarySaid { timeline: Timeline(timeline), flushed, senders: found }))
}

fn rank(sender: &Sender) -> (bool, Lsn) {
    (sender.streaming, sender.flushed)
}

fn text(row: &SimpleQueryRow, column: usize) -> Option<&str> {
    row.try_get(column).ok().flatten()
}

fn lsn(row: &SimpleQueryRow, column: usize) -> Option<Lsn> {
    Lsn::parse(text(row, column)?).ok()
}

fn not_understood(what: &'static str) -> SessionError {
    SessionError::Understand { what }
}
