//! Keeps the archiver informed of what the server is, and lets it help a standby.
//!
//! Never waits for it: it has a thread of its own.

use super::Agent;
use crate::archive::{Archiver, Counts, Orders, Part, Permit, Place, Reign, Told};
use crate::chain::chain;
use crate::process::clock;
use pgherd_core::plan::Task;
use pgherd_core::seen::{Health, Server};
use pgherd_core::units::Time;
use std::time::Duration;
use tracing::warn;

/// Before an archiver that could not be started is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a standby whose primary has not kept its log is left to the archive, and for how long
/// after each file that comes from there. Then it is copied anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// The archiver, once one was needed.
#[derive(Debug, Default)]
pub(super) struct Archiving {
    archiver: Option<Archiver>,
    tried: Option<Time>,
    /// Since when the primary is known to have too little log for this standby.
    gone: Option<Time>,
}

impl Archiving {
    pub(super) fn counts(&self) -> Counts {
        self.archiver.as_ref().map(|archiver| archiver.told().counts).unwrap_or_default()
    }

    pub(super) fn status(&self) -> Option<pgherd_api::agent::ArchiveStatus> {
        let Told { status, behind, .. } = self.archiver.as_ref()?.told();
        let mut status = status?;
        if let (Some(stream), Some(behind)) = (&mut status.stream, behind) {
            // It grows while nothing else happens.
            let lag = clock::now().since(behind).as_millis();
            stream.lag_milliseconds = u64::try_from(lag).unwrap_or(u64::MAX);
        }
        Some(status)
    }
}

impl Agent {
    pub(super) fn archive(&mut self) {
        let wanted = self.specification.as_ref().and_then(|told| told.postgres.archive.clone());
        if wanted.is_some() {
            self.start_archiver();
        }
        let Some(archiver) = &self.archiving.archiver else { return };
        archiver.order(Orders {
            archive: wanted,
            system: self.seen.record.value.as_ref().map(|record| record.system_id),
            part: self.part(),
            reign: self.reign(),
        });
    }

    /// Only who holds the office may store what is not finished, and only of its own timeline.
    fn reign(&self) -> Option<Reign> {
        let task = self.seen.task.as_ref().map(|running| &running.task);
        if matches!(task, Some(Task::Stop { .. } | Task::Promote { .. })) {
            return None;
        }
        let epoch = self.serves()?;
        match &self.seen.server {
            Server::Primary(primary) => Some(Reign { epoch, position: primary.position }),
            Server::Standby(_)
            | Server::Unknown
            | Server::Absent
            | Server::Down { .. }
            | Server::Starting => None,
        }
    }

    fn start_archiver(&mut self) {
        let now = clock::now();
        let was_tried = self.archiving.tried.is_some_and(|tried| now.since(tried) < AGAIN);
        if self.archiving.archiver.is_some() || was_tried {
            return;
        }
        self.archiving.tried = Some(now);
        let place = Place {
            data: self.site.data.clone(),
            socket: self.folder.archive_socket(),
            access: self.site.private(),
            spool: self.folder.spool(),
            keys: self.folder.archive(),
            remembered: self.folder.archives(),
        };
        match Archiver::start(place) {
            Ok(archiver) => self.archiving.archiver = Some(archiver),
            Err(error) => warn!(error = %chain(&error), "nothing is archived until that works"),
        }
    }

    fn part(&self) -> Part {
        let task = self.seen.task.as_ref().map(|running| &running.task);
        if matches!(task, Some(Task::Stop { .. })) {
            return Part::Stopping;
        }
        match &self.seen.server {
            Server::Primary(primary) => Part::Primary { timeline: primary.position.timeline },
            Server::Standby(standby) if standby.follows.is_some() => {
                let heard = self.seen.grant.heard.as_ref();
                Part::Standby(heard.map_or_else(Permit::default, |it| Permit::of(&it.terms)))
            }
            Server::Standby(_)
            | Server::Unknown
            | Server::Absent
            | Server::Down { .. }
            | Server::Starting => Part::Idle,
        }
    }

    /// What its primary has not kept may come from the archive: then nothing is lost yet.
    pub(super) fn with_archive(&mut self, health: Health) -> Health {
        let wants = self.specification.as_ref().is_some_and(|it| it.postgres.archive.is_some());
        if !health.wal_gone || !wants {
            self.archiving.gone = None;
            return health;
        }
        let now = clock::now();
        let since = *self.archiving.gone.get_or_insert(now);
        let helped = self.archiving.archiver.as_ref().and_then(|archiver| archiver.told().helped);
        let last = helped.map_or(since, |helped| helped.max(since));
        Health { wal_gone: now.since(last) >= PATIENCE, ..health }
    }
}
