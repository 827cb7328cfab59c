//! The questions of one look, in one round trip, and their answers.
//!
//! Never asks for what takes locks.

use crate::postgres::probe::{Depth, Receiver, Sender, ServerTime, Slot};
use crate::postgres::session::{Rows, Session, SessionError};
use pgherd_core::units::{Lsn, Timeline};
use std::time::Duration;
use tokio_postgres::SimpleQueryRow;

/// What the server said.
pub(super) struct Said {
    pub(super) server_time: ServerTime,
    pub(super) synchronous_standby_names: String,
    pub(super) primary_conninfo: String,
    /// Set when it is a primary.
    pub(super) writes_at: Option<(Timeline, Lsn)>,
    pub(super) received: Option<Lsn>,
    pub(super) replayed: Option<Lsn>,
    pub(super) replay_waits_for: Option<String>,
    pub(super) receiver: Option<Receiver>,
    pub(super) senders: Vec<Sender>,
    pub(super) slots: Vec<Slot>,
    pub(super) pending_restart: Vec<String>,
    pub(super) mistakes: Vec<String>,
}

const SELF: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint, \
    current_setting('synchronous_standby_names'), current_setting('primary_conninfo'), \
    case when pg_is_in_recovery() then null else pg_walfile_name(pg_current_wal_lsn()) end, \
    case when pg_is_in_recovery() then null else pg_current_wal_flush_lsn() end, \
    pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
    (select coalesce(wait_event, '') from pg_stat_activity where backend_type = 'startup')";

const RECEIVER: &str =
    "select status, sender_host, received_tli from pg_stat_wal_receiver where pid is not null";

const SENDERS: &str = "select application_name, pid, state, sent_lsn, write_lsn, flush_lsn, \
    replay_lsn, (extract(epoch from reply_time) * 1000000)::bigint, \
    (extract(epoch from backend_start) * 1000000)::bigint from pg_stat_replication \
    order by application_name, pid";

const SLOTS: &str = "select slot_name, active, restart_lsn, wal_status from pg_replication_slots \
    where slot_type = 'physical' order by slot_name";

const PENDING: &str = "select name from pg_settings where pending_restart order by name";

// A parameter that is only waiting for its restart is in this view too, and is no mistake.
const MISTAKES: &str = "select coalesce(name || ': ', '') || error from pg_file_settings \
    where error is not null and not coalesce(name = any \
    (array(select name from pg_settings where pending_restart)), false) \
    union all select 'line ' || line_number || ' of pg_hba.conf: ' || error \
    from pg_hba_file_rules where error is not null";

pub(super) async fn ask(
    session: &mut Session,
    depth: Depth,
    within: Duration,
) -> Result<Said, SessionError> {
    let mut questions = vec![SELF, RECEIVER, SENDERS, SLOTS];
    match depth {
        Depth::Brief => {}
        Depth::WithParameters => questions.extend([PENDING, MISTAKES]),
    }
    let answers = session.ask(&questions.join(";"), within).await?;
    understand(&answers).ok_or(SessionError::Understand { what: "what was asked for" })
}

fn understand(answers: &[Rows]) -> Option<Said> {
    let [own, receiver, senders, slots, parameters @ ..] = answers else { return None };
    let list = |at: usize| -> Vec<String> {
        parameters.get(at).into_iter().flatten().filter_map(|row| text(row, 0)).collect()
    };
    let own = own.first()?;
    Some(Said {
        server_time: time(own, 0)?,
        synchronous_standby_names: text(own, 1)?,
        primary_conninfo: text(own, 2)?,
        writes_at: text(own, 3).and_then(|name| timeline(&name)).zip(lsn(own, 4)),
        received: lsn(own, 5),
        replayed: lsn(own, 6),
        replay_waits_for: text(own, 7).filter(|event| !event.is_empty()),
        receiver: receiver.first().and_then(read_receiver),
        senders: senders.iter().filter_map(read_sender).collect(),
        slots: slots.iter().filter_map(read_slot).collect(),
        pending_restart: list(0),
        mistakes: list(1),
    })
}

impl Said {
    /// Replay waits for log, and not for anything else.
    pub(super) fn is_replay_idle(&self) -> bool {
        let event = self.replay_waits_for.as_deref();
        matches!(event, Some("RecoveryRetrieveRetryInterval" | "RecoveryWalStream"))
    }
}

fn read_receiver(row: &SimpleQueryRow) -> Option<Receiver> {
    Some(Receiver {
        status: text(row, 0)?,
        from: text(row, 1),
        timeline: number(row, 2).map(Timeline),
    })
}

fn read_sender(row: &SimpleQueryRow) -> Option<Sender> {
    Some(Sender {
        application_name: text(row, 0)?,
        process: number(row, 1)?,
        state: text(row, 2)?,
        sent: lsn(row, 3),
        written: lsn(row, 4),
        flushed: lsn(row, 5),
        replayed: lsn(row, 6),
        replied: time(row, 7),
        began: time(row, 8),
    })
}

fn read_slot(row: &SimpleQueryRow) -> Option<Slot> {
    Some(Slot {
        name: text(row, 0)?,
        is_active: text(row, 1)? == "t",
        restart: lsn(row, 2),
        wal_status: text(row, 3),
    })
}

fn text(row: &SimpleQueryRow, column: usize) -> Option<String> {
    row.try_get(column).ok().flatten().map(str::to_owned)
}

fn lsn(row: &SimpleQueryRow, column: usize) -> Option<Lsn> {
    text(row, column).and_then(|text| Lsn::parse(&text).ok())
}

fn number<T: std::str::FromStr>(row: &SimpleQueryRow, column: usize) -> Option<T> {
    text(row, column)?.parse().ok()
}

fn time(row: &SimpleQueryRow, column: usize) -> Option<ServerTime> {
    number(row, column).map(ServerTime)
}

/// The first eight digits of a segment's name.
fn timeline(name: &str) -> Option<Timeline> {
    u32::from_str_radix(name.get(..8)?, 16).ok().map(Timeline)
}
