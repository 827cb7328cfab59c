//! Lets backups know of what server they are, and gets them the log that they wait for.
//!
//! Never waits for one.

use super::Agent;
use crate::archive;
use crate::backup::{Asked, Role, Subject};
use crate::chain::chain;
use crate::http::client::Endpoint;
use crate::http::refusal::{Kind, Refusal};
use crate::postgres::session::{Session, SessionError};
use crate::postgres::site::Site;
use crate::tls::holder::Holder;
use pgherd_api::agent::{ArchiveSpec, BackupReport, names};
use pgherd_core::plan::Task;
use pgherd_core::seen::Server;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::warn;

/// A record of the log, on a busy disk.
const SWITCH: Duration = Duration::from_secs(10);
/// What is finished by now is stored a moment later, unless the store is slow; whoever asked can see
/// then that it waits.
const STORED: Duration = Duration::from_secs(2);

impl Agent {
    pub(super) fn tend_backups(&mut self) {
        let archive = self.archive_spec();
        self.backups.take_up(archive.as_ref(), &self.outside.waker);
        self.backups.observe(self.subject());
        self.backups.keep();
    }

    pub(super) fn backup_asked(
        &mut self,
        asked: Asked,
        answer: oneshot::Sender<Result<Option<BackupReport>, Refusal>>,
    ) {
        let (archive, subject) = (self.archive_spec(), self.subject());
        let waker = self.outside.waker.clone();
        let answered = self.backups.answer(asked, (archive.as_ref(), subject), &waker);
        // Who has gone asks again.
        let _gone = answer.send(answered).is_err();
    }

    pub(super) fn archive_spec(&self) -> Option<ArchiveSpec> {
        self.specification.as_ref()?.postgres.archive.clone()
    }

    /// The server that a backup can be taken of.
    pub(super) fn subject(&self) -> Option<Subject> {
        let task = self.seen.task.as_ref().map(|running| &running.task);
        if matches!(task, Some(Task::Stop { .. } | Task::Promote { .. })) {
            return None;
        }
        let (role, timeline, system) = match &self.seen.server {
            Server::Primary(primary) => {
                (Role::Primary, primary.position.timeline, primary.system_id)
            }
            Server::Standby(standby) => {
                (Role::Standby, standby.position.timeline, standby.system_id)
            }
            Server::Unknown | Server::Absent | Server::Down { .. } | Server::Starting => {
                return None;
            }
        };
        let postmaster = self.hands.postmaster.as_ref()?.pid().as_raw_pid();
        Some(Subject { role, timeline, system, postmaster })
    }

    /// A backup waits for log that the primary has not finished.
    pub(super) fn want_log(&mut self) {
        if let Server::Primary(_) = &self.seen.server {
            let site = self.site.clone();
            self.outside.tasks.spawn_at_most(1, "finishing a segment", async move {
                if let Err(error) = switch(&site).await {
                    warn!(error = %chain(&error), "the log a backup needs comes later");
                }
            });
            return;
        }
        let Some(record) = &self.seen.record.value else { return };
        let primary = record.holder.instance.clone();
        let config = Arc::clone(&self.outside.config.borrow());
        let Some(address) = config.peers.get(&primary).map(|peer| peer.agent) else { return };
        let endpoint = Endpoint::Certified { holder: Holder::Instance(primary), address };
        let client = Arc::clone(&self.outside.client);
        self.outside.tasks.spawn_at_most(1, "asking for log", async move {
            let asked = client.call(&endpoint, names::BACKUP_LOG, &(), SWITCH).await;
            if let Err(error) = asked.map(|(): ()| ()) {
                warn!(error = %chain(&error), "the log a backup needs comes later");
            }
        });
    }

    /// Somebody needs log that is not finished: a standby for its backup, or a restore.
    pub(super) fn log_asked(&mut self, answer: oneshot::Sender<Result<(), Refusal>>) {
        let Server::Primary(_) = &self.seen.server else {
            let refusal = Refusal::new(Kind::Conflict, "this is not the primary");
            let _gone = answer.send(Err(refusal)).is_err();
            return;
        };
        let site = self.site.clone();
        self.outside.tasks.spawn_at_most(8, "finishing a segment for another", async move {
            let switched = switch(&site).await;
            if switched.is_ok() {
                archive::settled(&site.data, STORED).await;
            }
            let switched =
                switched.map_err(|error| Refusal::new(Kind::Failed, chain(&error).to_string()));
            let _gone = answer.send(switched).is_err();
        });
    }
}

/// Does nothing if nothing was written since the last time.
async fn switch(site: &Site) -> Result<(), SessionError> {
    let mut session = Session::open(site, "postgres", SWITCH).await?;
    session.run("select pg_switch_wal()", SWITCH).await
}
