//! One writer: inserts its numbers one by one, wherever the address leads.
//!
//! Never sends a number twice, and counts nothing that is not in the book.

use super::book::{Entry, Outcome, Witness};
use super::session::{DialError, Dialer, Session, Target};
use super::{Shared, Trace};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::Severity;
use tokio_postgres::types::Type;
use tracing::debug;

/// How long nobody is dialled after no host would do.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(20);

// Who answered is part of the answer, so that nobody has to be asked afterwards.
const INSERT: &str = "insert into pgherd_ledger (run, number) values ($1, $2) returning \
    coalesce(inet_server_port(), 0), ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int";

// A transaction of its own that writes to the log, and so waits for standbys like any other.
const MESSAGE: &str = "select coalesce(inet_server_port(), 0), \
    ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int \
    from pg_logical_emit_message(true, 'pgherd.probe', $1::int8::text || ' ' || $2::int8::text)";

pub(super) async fn run(shared: std::sync::Arc<Shared>, writer: u32) {
    let mut session: Option<Session> = None;
    while !shared.is_stopping() {
        match session.as_mut().filter(|session| !session.is_closed()) {
            None => {
                session = search(&shared).await;
                if session.is_none() {
                    sleep(BETWEEN_ROUNDS).await;
                }
            }
            Some(open) => {
                let number = shared.begin(writer);
                let outcome = insert(open, &shared, number).await;
                shared.end(writer, Entry { number, outcome });
                if outcome == Outcome::Unknown {
                    // Its server may be frozen or gone: the next one is found by dialling.
                    session = None;
                }
                sleep(shared.pause).await;
            }
        }
    }
}

/// Dials the hosts in order, first the one that was good last time.
pub(super) async fn search(shared: &Shared) -> Option<Session> {
    // One at a time: an outage must not become a storm of handshakes that prolongs it.
    let Ok(_turn) = shared.search.acquire().await else { return None };
    round(&shared.dialer, &shared.good).await.ok()
}

/// One round over all hosts; the error is the last host's.
async fn round(dialer: &Dialer, good: &super::Good) -> Result<Session, Option<DialError>> {
    let hosts = dialer.hosts();
    let first = good.get();
    let mut last = None;
    for (index, host) in hosts.iter().enumerate().cycle().skip(first).take(hosts.len()) {
        match dialer.dial(host, Target::ReadWrite).await {
            Ok(session) => {
                good.set(index);
                return Ok(session);
            }
            Err(error) => {
                debug!(%host, error = %pgherd_agent::chain::chain(&error), "not here");
                last = Some(error);
            }
        }
    }
    Err(last)
}

async fn insert(session: &mut Session, shared: &Shared, number: u64) -> Outcome {
    session.take_warned();
    let number = number.cast_signed();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&shared.run, Type::INT8), (&number, Type::INT8)];
    let statement = match shared.trace {
        Trace::Rows => INSERT,
        Trace::Messages => MESSAGE,
    };
    let answer = session.with(|client| client.query_typed_one(statement, &parameters));
    let Ok(answer) = timeout(shared.answer_within, answer).await else { return Outcome::Unknown };
    match answer {
        // A commit whose wait for standbys was cut short is answered like any other, after a
        // warning.
        Ok(_) if session.take_warned() => Outcome::Unknown,
        Ok(row) => {
            let (port, timeline) = (row.try_get::<_, i32>(0), row.try_get::<_, i32>(1));
            let port = port.ok().and_then(|port| u16::try_from(port).ok());
            let timeline = timeline.ok().map(i32::cast_unsigned);
            let witness = port.zip(timeline).map(|(port, timeline)| Witness { timeline, port });
            // Committed all the same; a server that will not say who it is counts as none.
            Outcome::Acknowledged(witness.unwrap_or(Witness { timeline: 0, port: 0 }))
        }
        Err(error) => outcome_of(&error),
    }
}

/// Only a plain error proves that a single statement left nothing behind.
fn outcome_of(error: &tokio_postgres::Error) -> Outcome {
    let severity = error.as_db_error().and_then(tokio_postgres::error::DbError::parsed_severity);
    if severity == Some(Severity::Error) { Outcome::Refused } else { Outcome::Unknown }
}
