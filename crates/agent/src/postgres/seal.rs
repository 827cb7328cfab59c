//! Seals a standby: it receives nothing more, and its position is final.
//!
//! Never reports a position while a receiver may still be at work.

use crate::postgres::config::{Receive, Settings};
use crate::postgres::running::{Deadline, Running, RunningError, until};
use crate::postgres::session::{Session, SessionError};
use crate::postgres::wal::{self, WalError};
use pgherd_core::units::{Lsn, WalPosition};
use std::time::Duration;

/// Where a sealed standby's log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub position: WalPosition,
    pub replayed: Lsn,
    /// Something was received since the server started, or replay has come to the end: otherwise
    /// there may be more log here than the position says.
    pub settled: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the settings still name somebody to receive from")]
    AcceptSettings,
    #[error("cutting the standby off")]
    CutOff { source: RunningError },
    #[error("reading the standby's position")]
    ReadPosition { source: SessionError },
    #[error("finding the newest timeline of the log")]
    FindTimeline { source: WalError },
}

/// A receiver that PostgreSQL is about to start is in no view yet, but [`config`] has taken its
/// key away before. So one that is not seen here now gets no byte.
///
/// [`config`]: crate::postgres::config
const NO_RECEIVER: &str =
    "select count(*) = 0 from pg_stat_activity where backend_type = 'walreceiver'";

pub async fn seal(
    running: Running<'_>,
    settings: &Settings,
    within: Duration,
) -> Result<Sealed, SealError> {
    if settings.receive != Receive::FromNobody {
        return Err(SealError::AcceptSettings);
    }
    let deadline = Deadline::after(within);
    let cut_off = |source| SealError::CutOff { source };
    running.configure(settings).await.map_err(cut_off)?;
    let mut session = running.connect(deadline).await.map_err(cut_off)?;
    until(&mut session, deadline, "the end of its receiver", NO_RECEIVER).await.map_err(cut_off)?;
    position(running, &mut session, deadline).await
}

const POSITION: &str = "select pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), \
    coalesce((select wait_event in ('RecoveryRetrieveRetryInterval', 'RecoveryWalStream') \
    from pg_stat_activity where backend_type = 'startup'), false)";

async fn position(
    running: Running<'_>,
    session: &mut Session,
    deadline: Deadline,
) -> Result<Sealed, SealError> {
    let read = |source| SealError::ReadPosition { source };
    let answer = session.ask(POSITION, deadline.left()).await.map_err(read)?;
    let row = answer.first().and_then(|rows| rows.first());
    let row = row.ok_or(SessionError::Understand { what: "its position" }).map_err(read)?;
    let text = |column| row.try_get(column).ok().flatten();
    let lsn = |column| text(column).and_then(|text| Lsn::parse(text).ok());
    let (received, replayed) = (lsn(0), lsn(1).unwrap_or_default());
    let timeline = wal::highest_timeline(&running.site.data)
        .map_err(|source| SealError::FindTimeline { source })?;
    Ok(Sealed {
        position: WalPosition { timeline, lsn: received.unwrap_or_default().max(replayed) },
        replayed,
        settled: received.is_some() || text(2) == Some("t"),
    })
}
