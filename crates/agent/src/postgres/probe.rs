//! Looks at the local server once: its role, its position, who receives and who sends.
//!
//! Never waits beyond its deadline, and never takes an old answer for a new one.

mod read;

use crate::postgres::clone::free_space;
use crate::postgres::control::{self, Control, ControlError};
use crate::postgres::session::{SUPERUSER, Session, SessionError};
use crate::postgres::site::Site;
use crate::postgres::wal::history::{self, HistoryError};
use crate::postgres::wal::{self, WalError};
use pgherd_core::units::{Bytes, Lsn, Timeline, WalPosition};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// What was seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    pub control: Control,
    pub role: Role,
    /// The rule for commits as a new session of the server sees it.
    pub synchronous_standby_names: String,
    pub senders: Vec<Sender>,
    pub slots: Vec<Slot>,
    /// The server's time of day, to compare with [`Sender::replied`].
    pub server_time: ServerTime,
    pub disk_free: Option<Bytes>,
    /// Parameters that were changed and wait for a restart; empty unless they were asked for.
    pub pending_restart: Vec<String>,
    /// Lines of the configuration files that the server could not accept and ignores until it is
    /// restarted, which would fail; empty unless they were asked for.
    pub mistakes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Standby(Standby),
    Primary(Primary),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// Received and flushed, or replayed, whichever is further.
    pub position: WalPosition,
    pub replayed: Lsn,
    /// Something was received since the server started, or replay has come to the end.
    pub settled: bool,
    pub receiver: Option<Receiver>,
    /// What replay waits for, in PostgreSQL's words.
    pub replay_waits_for: Option<String>,
    /// Whom it is set to receive from; empty for nobody.
    pub primary_conninfo: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    /// Where its flushed log ends.
    pub position: WalPosition,
    /// The first position of its timeline; none on the very first one.
    pub began: Option<Lsn>,
}

/// The process that receives log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// `streaming` once it receives.
    pub status: String,
    /// The `host` it is connected to: the name of an instance.
    pub from: Option<String>,
    pub timeline: Option<Timeline>,
}

/// A process that sends log to a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub application_name: String,
    pub process: i32,
    /// `streaming` once the standby has caught up.
    pub state: String,
    pub sent: Option<Lsn>,
    pub written: Option<Lsn>,
    pub flushed: Option<Lsn>,
    pub replayed: Option<Lsn>,
    /// When the standby sent its last reply, by the standby's clock.
    pub replied: Option<ServerTime>,
    pub began: Option<ServerTime>,
}

/// What keeps log for a standby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub is_active: bool,
    pub restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: Option<String>,
}

/// Microseconds since 1970 by the clock of the server that said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerTime(pub u64);

/// How much to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    Brief,
    /// Also which parameters wait for a restart and which are wrong, which costs milliseconds.
    WithParameters,
}

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("the server accepts no connections yet")]
    BeReady,
    #[error("connecting to the server")]
    Connect { source: SessionError },
    #[error("asking the server what it does")]
    Ask { source: SessionError },
    #[error("reading the control file")]
    ReadControl { source: ControlError },
    #[error("finding the newest timeline of the log")]
    FindTimeline { source: WalError },
    #[error("reading where the timeline began")]
    ReadHistory { source: HistoryError },
}

/// Keeps a connection open between two looks.
pub struct Prober {
    site: Site,
    session: Option<Session>,
    began: Option<(Timeline, Option<Lsn>)>,
}

impl Prober {
    pub fn new(site: Site) -> Self {
        Self { site, session: None, began: None }
    }

    /// Forgets the connection, because another server is running now.
    pub fn forget(&mut self) {
        self.session = None;
    }

    pub async fn observe(
        &mut self,
        depth: Depth,
        within: Duration,
    ) -> Result<Observation, ProbeError> {
        let looked = tokio::time::timeout(within, self.look(depth, within)).await;
        looked.unwrap_or_else(|_| {
            self.session = None;
            Err(ProbeError::Ask { source: SessionError::Deadline { within } })
        })
    }

    async fn look(&mut self, depth: Depth, within: Duration) -> Result<Observation, ProbeError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => connect(&self.site, within).await?,
        };
        let said = read::ask(&mut session, depth, within)
            .await
            .map_err(|source| ProbeError::Ask { source })?;
        // Only a session whose answers were whole is used again.
        self.session = Some(session);
        let control = control::read_file(&self.site.data)
            .map_err(|source| ProbeError::ReadControl { source })?;
        let role = self.role(&said)?;
        Ok(Observation {
            control,
            role,
            synchronous_standby_names: said.synchronous_standby_names,
            senders: said.senders,
            slots: said.slots,
            server_time: said.server_time,
            disk_free: free_space(&self.site.data),
            pending_restart: said.pending_restart,
            mistakes: said.mistakes,
        })
    }

    fn role(&mut self, said: &read::Said) -> Result<Role, ProbeError> {
        if let Some((timeline, lsn)) = said.writes_at {
            let began = self.began(timeline)?;
            return Ok(Role::Primary(Primary { position: WalPosition { timeline, lsn }, began }));
        }
        let timeline = wal::highest_timeline(&self.site.data)
            .map_err(|source| ProbeError::FindTimeline { source })?;
        let replayed = said.replayed.unwrap_or_default();
        let lsn = said.received.unwrap_or_default().max(replayed);
        Ok(Role::Standby(Standby {
            position: WalPosition { timeline, lsn },
            replayed,
            settled: said.received.is_some() || said.is_replay_idle(),
            receiver: said.receiver.clone(),
            replay_waits_for: said.replay_waits_for.clone(),
            primary_conninfo: said.primary_conninfo.clone(),
        }))
    }

    fn began(&mut self, timeline: Timeline) -> Result<Option<Lsn>, ProbeError> {
        if let Some((known, began)) = self.began
            && known == timeline
        {
            return Ok(began);
        }
        let history = history::read(&self.site.data, timeline)
            .map_err(|source| ProbeError::ReadHistory { source })?;
        let began = history.and_then(|history| history.begins());
        self.began = Some((timeline, began));
        Ok(began)
    }
}

async fn connect(site: &Site, within: Duration) -> Result<Session, ProbeError> {
    Session::open(site, SUPERUSER, within).await.map_err(|source| {
        let code = source.server_error().map(tokio_postgres::error::DbError::code);
        if code == Some(&SqlState::CANNOT_CONNECT_NOW) {
            ProbeError::BeReady
        } else {
            ProbeError::Connect { source }
        }
    })
}
