//! Looks at the running server again and again, as closely as it matters.
//!
//! Never reports a server as answering that did not answer this time.

use super::complaints::Complaints;
use super::probe::{self, PrimarySaid, Receiver, Said, StandbySaid};
use super::recovery::Recovery;
use super::{Look, Overruled, disk, wal};
use crate::postgres::server::{Readiness, readiness};
use crate::postgres::session::{Session, SessionError};
use crate::postgres::site::Site;
use crate::postgres::wal::history;
use crate::postgres::{config, control};
use crate::process::clock;
use crate::wake::{Wake, Waker};
use pgherd_core::seen::{Gate, Health, Pending, Primary, Server, Standby, Upstream};
use pgherd_core::units::{Lsn, SystemId, Time, Timeline, WalPosition};
use rustix::process::Pid;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

/// A server that takes longer is counted as not answering.
const ANSWER: Duration = Duration::from_secs(1);

/// How long one session is used.
const RENEW_AFTER: Duration = Duration::from_secs(2);

/// Which server to look at, and how closely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// None: there is nothing to look at.
    pub postmaster: Option<Pid>,
    pub closeness: Closeness,
    /// A look that began at this time or later is waited for.
    pub at_once: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closeness {
    /// A standby that streams: nothing is decided from its looks until it is sealed.
    Following,
    /// Open for writing: a standby that goes must be noticed.
    Serving,
    /// Others wait for what is seen here.
    Electing,
}

impl Closeness {
    fn pause(self) -> Duration {
        match self {
            Self::Following => Duration::from_millis(500),
            Self::Serving => Duration::from_millis(100),
            Self::Electing => Duration::from_millis(25),
        }
    }
}

/// Looks as ordered, as long as the agent runs.
pub async fn watch(site: Site, mut orders: watch::Receiver<Order>, waker: Waker) {
    let mut watcher: Option<Watcher> = None;
    loop {
        let order = orders.borrow_and_update().clone();
        let pause = match order.postmaster {
            None => {
                watcher = None;
                Duration::from_mins(1)
            }
            Some(postmaster) => {
                let present = watcher.take().filter(|watcher| watcher.postmaster == postmaster);
                let mut present = present.unwrap_or_else(|| Watcher::new(&site, postmaster));
                let look = present.look(&site).await;
                watcher = Some(present);
                waker.wake(Wake::Looked(Box::new(look))).await;
                order.closeness.pause()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            changed = orders.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Silence {
    /// Nobody says anything: it hangs, or is not there.
    #[error("no answer: {0}")]
    Mute(SessionError),
    /// Somebody says that there is no answer: it lives, however busy it is.
    #[error("refused: {0}")]
    Refused(SessionError),
}

impl Silence {
    fn of(error: SessionError) -> Self {
        match error {
            SessionError::Deadline { .. } => Self::Mute(error),
            SessionError::Connect { .. } if error.server_error().is_none() => Self::Mute(error),
            SessionError::Connect { .. }
            | SessionError::Ask { .. }
            | SessionError::Closed
            | SessionError::Understand { .. } => Self::Refused(error),
        }
    }
}

async fn open(site: &Site) -> Result<Session, Silence> {
    let mut session = Session::open(site, "postgres", ANSWER).await.map_err(Silence::of)?;
    session.run(probe::PREPARE, ANSWER).await.map_err(Silence::of)?;
    Ok(session)
}

/// Remembers of one server what its next look is compared with.
struct Watcher {
    postmaster: Pid,
    session: Option<(Session, Instant)>,
    system_id: Option<SystemId>,
    last: Option<Server>,
    misses: u32,
    progress: Option<Time>,
    written: Option<SystemTime>,
    files: wal::Files,
    began: Option<(Timeline, Lsn)>,
    checkpointed: Option<Timeline>,
    complaints: Complaints,
    recovery: Option<Recovery>,
    /// Since this server started, it has received something or replayed all it has. Until then
    /// there may be more log here than its position says.
    position_known: bool,
    overruled: Overruled,
}

impl Watcher {
    fn new(site: &Site, postmaster: Pid) -> Self {
        Self {
            postmaster,
            session: None,
            system_id: control::read_file(&site.data).ok().map(|control| control.system_id),
            last: None,
            misses: 0,
            progress: None,
            written: None,
            files: wal::Files::default(),
            began: None,
            checkpointed: None,
            complaints: Complaints::from_now(site),
            recovery: Recovery::of(site, postmaster),
            position_known: false,
            overruled: Overruled::No,
        }
    }

    async fn look(&mut self, site: &Site) -> Look {
        let began = clock::now();
        let server = match self.ask(site).await {
            Ok(said) => {
                self.misses = 0;
                self.answered(site, said)
            }
            Err(silence) => {
                debug!(%silence, "PostgreSQL did not answer");
                self.session = None;
                self.unanswered(site, &silence)
            }
        };
        if position(&server) != self.last.as_ref().and_then(position) {
            self.progress = Some(clock::now());
        }
        let replayed_per_second = self.speed(&server, began);
        self.last = Some(server.clone());
        let health = Health {
            misses: self.misses,
            progress: self.progress,
            disk_full: disk::is_full(&site.data),
            configuration: 0,
            pending: Pending::Nothing,
            wal_gone: self.complaints.say_that_wal_is_gone(site, &server),
            upstream: Upstream::InPlace,
            redo_milliseconds: None,
        };
        Look {
            began,
            postmaster: self.postmaster,
            server,
            health,
            full: disk::full_volumes(&site.data),
            overruled: self.overruled(site),
            replayed_per_second,
        }
    }

    fn overruled(&mut self, site: &Site) -> Overruled {
        let before = self.overruled;
        self.overruled =
            if config::is_overruled(&site.data) { Overruled::ByAlterSystem } else { Overruled::No };
        if (before, self.overruled) == (Overruled::No, Overruled::ByAlterSystem) {
            warn!("ALTER SYSTEM is taken back: settings belong into the cluster's manifest");
        }
        self.overruled
    }

    /// Asks over the present session. It is renewed often: a server whose postmaster stands still
    /// answers its old sessions, and lets nobody in.
    async fn ask(&mut self, site: &Site) -> Result<Said, Silence> {
        let renewed = self.session.as_ref().is_none_or(|(_, since)| since.elapsed() > RENEW_AFTER);
        if renewed {
            self.renew(site).await?;
        }
        match self.ask_once().await {
            // It was closed, for example by a restart of the server's processes.
            Err(Silence::Refused(_)) if !renewed => {
                self.session = None;
                self.renew(site).await?;
                self.ask_once().await
            }
            said => said,
        }
    }

    async fn renew(&mut self, site: &Site) -> Result<(), Silence> {
        match open(site).await {
            Ok(session) => self.session = Some((session, Instant::now())),
            // It answers, only not with another session: the present one must do.
            Err(Silence::Refused(_)) if self.session.is_some() => {}
            Err(silence) => return Err(silence),
        }
        Ok(())
    }

    async fn ask_once(&mut self) -> Result<Said, Silence> {
        let Some((session, _)) = &mut self.session else {
            return Err(Silence::Refused(SessionError::Closed));
        };
        probe::ask(session, ANSWER).await.map_err(Silence::of)
    }

    /// It keeps its last state until it is known to be in another one; starting takes its time.
    fn unanswered(&mut self, site: &Site, silence: &Silence) -> Server {
        let written = wal::last_written(&site.data);
        if written != self.written {
            self.progress = self.written.and(Some(clock::now())).or(self.progress);
            self.written = written;
        }
        let ready = readiness(site, self.postmaster) == Readiness::Ready;
        self.misses = match (silence, &self.last) {
            (Silence::Mute(_), Some(Server::Primary(_) | Server::Standby(_))) => self.misses + 1,
            (Silence::Mute(_), _) if ready => self.misses + 1,
            (Silence::Mute(_) | Silence::Refused(_), _) => 0,
        };
        match &self.last {
            Some(last @ (Server::Primary(_) | Server::Standby(_))) => last.clone(),
            Some(_) | None => Server::Starting,
        }
    }

    fn answered(&mut self, site: &Site, said: Said) -> Server {
        let Some(system_id) = self.system_id else {
            self.system_id = control::read_file(&site.data).ok().map(|control| control.system_id);
            return Server::Starting;
        };
        match said {
            Said::Standby(said) => self.standby(site, system_id, &said),
            Said::Primary(said) => self.primary(site, system_id, said),
        }
    }

    fn standby(&mut self, site: &Site, system_id: SystemId, said: &StandbySaid) -> Server {
        self.position_known |= said.received.is_some() || said.waits;
        let timeline = self.files.highest_timeline(&site.data);
        // Without its beginning nobody could tell who has to rewind.
        let Some((timeline, began)) = timeline.zip(timeline.and_then(|it| self.began(site, it)))
        else {
            return Server::Starting;
        };
        let lsn = said.received.unwrap_or_default().max(said.replayed);
        Server::Standby(Standby {
            system_id,
            position: WalPosition { timeline, lsn },
            began,
            replayed: said.replayed,
            settled: self.position_known,
            follows: None,
            streaming: said.receiver == Receiver::Streaming,
        })
    }

    fn primary(&mut self, site: &Site, system_id: SystemId, said: PrimarySaid) -> Server {
        let timeline = said.timeline;
        let Some(began) = self.began(site, timeline) else { return Server::Starting };
        if self.checkpointed != Some(timeline) {
            let control = control::read_file(&site.data).ok();
            self.checkpointed = control.map(|control| control.checkpoint.timeline);
        }
        Server::Primary(Primary {
            system_id,
            position: WalPosition { timeline, lsn: said.flushed },
            began,
            gate: Gate::Open,
            obeys: None,
            senders: said.senders,
            checkpointed: self.checkpointed == Some(timeline),
        })
    }
}

impl Watcher {
    /// Told once: by the first answer of a server that did not answer before.
    fn speed(&mut self, server: &Server, now: Time) -> Option<u64> {
        match (server, &self.last) {
            (Server::Standby(standby), Some(Server::Starting)) => {
                self.recovery.take()?.speed(standby.replayed, now)
            }
            (Server::Standby(_) | Server::Primary(_), _) => {
                self.recovery = None;
                None
            }
            (Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting, _) => None,
        }
    }

    /// Where `timeline` left its parent; the first one has none.
    fn began(&mut self, site: &Site, timeline: Timeline) -> Option<Lsn> {
        if timeline <= Timeline(1) {
            return Some(Lsn(0));
        }
        if self.began.is_none_or(|(known, _)| known != timeline) {
            let history = history::read(&site.data, timeline).ok().flatten();
            self.began = history.and_then(|history| Some((timeline, history.begins()?)));
        }
        self.began.map(|(_, lsn)| lsn)
    }
}

fn position(server: &Server) -> Option<WalPosition> {
    match server {
        Server::Standby(standby) => Some(standby.position),
        Server::Primary(primary) => Some(primary.position),
        Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting => None,
    }
}
