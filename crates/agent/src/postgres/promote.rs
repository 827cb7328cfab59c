//! Opens a standby for writing on a timeline that was chosen for it.
//!
//! Never lets PostgreSQL choose the timeline, and never reports success on another one.

use crate::durable::{self, DurableError};
use crate::postgres::commits::{self, CommitsError};
use crate::postgres::config::Settings;
use crate::postgres::running::{Deadline, Running, RunningError, until};
use crate::postgres::server::ServerError;
use crate::postgres::session::{Session, SessionError};
use crate::postgres::wal::fork::{self, ForkError};
use crate::postgres::wal::history::{self, HistoryError};
use crate::process::clock;
use pgherd_core::units::{Lsn, Time, Timeline};
use std::time::Duration;

/// What a standby is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub timeline: Timeline,
    /// It is not begun from then on, on the clock of deadlines.
    pub before: Time,
}

/// A standby that became a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promoted {
    pub timeline: Timeline,
    /// The first position of its timeline.
    pub began: Lsn,
}

#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    #[error(
        "timeline {wanted} cannot be had: this folder knows of timeline {highest} already, and PostgreSQL would go beyond it"
    )]
    TakeTimeline { wanted: Timeline, highest: Timeline },
    #[error("reserving the timelines in between")]
    Reserve { source: HistoryError },
    #[error("making the log whole where its newest timeline began")]
    CompleteFork { source: ForkError },
    #[error("setting the rule for commits before the first one")]
    SetRule { source: CommitsError },
    #[error("the right to open timeline {timeline} ended while that was prepared")]
    KeepTime { timeline: Timeline },
    #[error("writing the promote file")]
    WriteSignal { source: DurableError },
    #[error("telling the server to promote")]
    Tell { source: ServerError },
    #[error("waiting for the server to open")]
    Open { source: RunningError },
    #[error("reading the timeline it opened on")]
    ReadTimeline { source: SessionError },
    #[error(
        "the server opened on timeline {found} and not on {wanted}: it must be stopped at once"
    )]
    OpenOn { wanted: Timeline, found: Timeline },
    #[error("reading where the timeline began")]
    ReadHistory { source: HistoryError },
    #[error("timeline {timeline} has no history although it was just begun")]
    FindHistory { timeline: Timeline },
}

/// `settings` are those of the primary to be: its rule for commits, its gate, nobody to receive
/// from. The checkpoint that should follow is a step of its own.
pub async fn promote(
    running: Running<'_>,
    settings: &Settings,
    opening: Opening,
    within: Duration,
) -> Result<Promoted, PromoteError> {
    let timeline = opening.timeline;
    let deadline = Deadline::after(within);
    reserve(running, timeline)?;
    // PostgreSQL reads its last record once more, and panics when it cannot.
    fork::complete(running.site, deadline.left())
        .await
        .map_err(|source| PromoteError::CompleteFork { source })?;
    // Its session is used on: connecting takes its time in a server that is opening.
    let mut session = commits::set_rule(running, settings, deadline.left())
        .await
        .map_err(|source| PromoteError::SetRule { source })?;
    let open = |source| PromoteError::Open { source };
    // The agent may have stood still meanwhile, and others have taken over.
    if clock::now() >= opening.before {
        return Err(PromoteError::KeepTime { timeline });
    }
    durable::replace(&running.site.data.join("promote"), b"", running.site.private())
        .map_err(|source| PromoteError::WriteSignal { source })?;
    running.postmaster.look_for_promotion().map_err(|source| PromoteError::Tell { source })?;
    let is_open = "select not pg_is_in_recovery()";
    until(&mut session, deadline, "the end of its recovery", is_open).await.map_err(open)?;
    let found = present_timeline(&mut session, deadline)
        .await
        .map_err(|source| PromoteError::ReadTimeline { source })?;
    if found != timeline {
        return Err(PromoteError::OpenOn { wanted: timeline, found });
    }
    let history = history::read(&running.site.data, timeline)
        .map_err(|source| PromoteError::ReadHistory { source })?;
    let began = history.and_then(|history| history.begins());
    Ok(Promoted { timeline, began: began.ok_or(PromoteError::FindHistory { timeline })? })
}

fn reserve(running: Running<'_>, timeline: Timeline) -> Result<(), PromoteError> {
    let reserve = |source| PromoteError::Reserve { source };
    let data = &running.site.data;
    let highest = history::highest(data).map_err(reserve)?;
    if let Some(highest) = highest.filter(|highest| *highest >= timeline) {
        return Err(PromoteError::TakeTimeline { wanted: timeline, highest });
    }
    history::reserve_below(data, timeline, running.site.private()).map_err(reserve)
}

async fn present_timeline(
    session: &mut Session,
    deadline: Deadline,
) -> Result<Timeline, SessionError> {
    let name =
        session.value("select pg_walfile_name(pg_current_wal_lsn())", deadline.left()).await?;
    let digits = name.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    digits.map(Timeline).ok_or(SessionError::Understand { what: "the name of a segment" })
}

/// Writes a checkpoint on the new timeline: rewinds read from it, and the next crash recovers from
/// it. Takes as long as the dirty pages take.
pub async fn checkpoint(running: Running<'_>, within: Duration) -> Result<(), RunningError> {
    let deadline = Deadline::after(within);
    let mut session = running.connect(deadline).await?;
    session.run("checkpoint", deadline.left()).await.map_err(|source| RunningError::Ask { source })
}
