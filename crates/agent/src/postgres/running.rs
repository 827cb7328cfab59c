//! A running server with what it takes to act on it: its process, its place, a connection.
//!
//! Never lets an answer of an earlier server stand for the present one.

use crate::postgres::config::{self, ConfigError, Settings};
use crate::postgres::server::{Postmaster, ServerError};
use crate::postgres::session::{SUPERUSER, Session, SessionError};
use crate::postgres::site::Site;
use std::time::Duration;
use tokio::time::Instant;

/// Between two questions while something is waited for.
pub(crate) const ASK_EVERY: Duration = Duration::from_millis(2);

/// What the performers act on.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    pub site: &'a Site,
    pub postmaster: &'a Postmaster,
}

#[derive(Debug, thiserror::Error)]
pub enum RunningError {
    #[error("writing the configuration")]
    Configure { source: ConfigError },
    #[error("telling the server to reload")]
    Reload { source: ServerError },
    #[error("asking the server")]
    Ask { source: SessionError },
    #[error("the server did not come to {what} in time")]
    Await { what: &'static str },
}

/// The end of the time that a whole step has.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn after(within: Duration) -> Self {
        Self(Instant::now() + within)
    }

    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

impl Running<'_> {
    pub(crate) async fn connect(&self, deadline: Deadline) -> Result<Session, RunningError> {
        Session::open(self.site, SUPERUSER, deadline.left())
            .await
            .map_err(|source| RunningError::Ask { source })
    }

    /// Writes the configuration and tells the server to read it. It takes effect a moment later,
    /// in each process at its own time.
    pub async fn configure(&self, settings: &Settings) -> Result<(), RunningError> {
        config::apply_aside(self.site, settings)
            .await
            .map_err(|source| RunningError::Configure { source })?;
        self.postmaster.reload().map_err(|source| RunningError::Reload { source })
    }
}

/// Asks until the answer is `true`.
pub(crate) async fn until(
    session: &mut Session,
    deadline: Deadline,
    what: &'static str,
    sql: &str,
) -> Result<(), RunningError> {
    loop {
        let said = session
            .value(sql, deadline.left())
            .await
            .map_err(|source| RunningError::Ask { source })?;
        if said == "t" {
            return Ok(());
        }
        if deadline.left().is_zero() {
            return Err(RunningError::Await { what });
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
