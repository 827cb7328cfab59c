//! Watches how old a dump's snapshot becomes: as long as it is held, old row versions stay.
//!
//! Never decides when that is too long (`pgherd_core::dump` does).

use super::course::{Course, WorkError};
use super::programs::APPLICATION;
use super::server;
use crate::postgres::session::{SUPERUSER, Session};
use pgherd_core::dump::{Overdue, SnapshotAge, SnapshotLimits, overdue};
use std::time::{Duration, Instant};

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The limit is reached.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct Late(Overdue);

/// Ends when the snapshot, held since then, has to be let go, or somebody does not want the dump any
/// more.
pub(super) async fn hindrance(course: &Course, since: Instant, limit: Duration) -> WorkError {
    tokio::select! {
        biased;
        cancelled = course.cancelled() => cancelled,
        late = too_old(course, since, limit) => WorkError::Late(late),
    }
}

async fn too_old(course: &Course, since: Instant, limit: Duration) -> Late {
    let limits = SnapshotLimits { age: limit, transactions: SnapshotLimits::TRANSACTIONS };
    let mut session: Option<Session> = None;
    loop {
        let left = limit.saturating_sub(since.elapsed());
        tokio::time::sleep(BETWEEN_LOOKS.min(left)).await;
        // What cannot be asked now is asked later; the age alone is known anyway.
        let transactions = transactions(course, &mut session, left).await.unwrap_or_default();
        let age = SnapshotAge { held: since.elapsed(), transactions };
        course.tell(|report| {
            report.snapshot_seconds = age.held.as_secs();
            report.snapshot_transactions = age.transactions;
        });
        if let Some(overdue) = overdue(age, limits) {
            return Late(overdue);
        }
    }
}

async fn transactions(
    course: &Course,
    session: &mut Option<Session>,
    within: Duration,
) -> Option<u64> {
    if session.as_ref().is_none_or(|session| !session.is_usable()) {
        let connecting = server::connect(&course.job.place.site, SUPERUSER);
        *session = tokio::time::timeout(within, connecting).await.ok()?.ok();
    }
    let sql = format!(
        "select coalesce(max(age(backend_xmin)), 0) from pg_stat_activity \
         where application_name = '{APPLICATION}'"
    );
    session.as_mut()?.value(&sql, within).await.ok()?.parse().ok()
}
