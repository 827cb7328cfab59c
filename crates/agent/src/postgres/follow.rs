//! Makes a running server receive from a primary, or from another one than before.
//!
//! Never restarts it, and never waits for the primary: that it streams is seen by looking.

use crate::postgres::config::{Receive, Settings};
use crate::postgres::running::{Running, RunningError};
use crate::postgres::wal::history::{self, HistoryError};
use crate::postgres::wal::{self, WalError};

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("there is nobody to follow in the settings")]
    FindPrimary,
    #[error("finding the newest timeline of the log")]
    FindTimeline { source: WalError },
    #[error("giving up timelines that were reserved here")]
    GiveUpReservations { source: HistoryError },
    #[error("pointing the server at its primary")]
    Point { source: RunningError },
}

/// `settings` name the primary.
pub async fn follow(running: Running<'_>, settings: &Settings) -> Result<(), FollowError> {
    if settings.receive == Receive::FromNobody {
        return Err(FollowError::FindPrimary);
    }
    let data = &running.site.data;
    let newest =
        wal::highest_timeline(data).map_err(|source| FollowError::FindTimeline { source })?;
    // An election that came to nothing here may have been won there, on a timeline reserved here.
    history::give_up_above(data, newest)
        .map_err(|source| FollowError::GiveUpReservations { source })?;
    running.configure(settings).await.map_err(|source| FollowError::Point { source })
}
