//! Says how this instance is doing.
//!
//! Never older than the last turn, and never a guess: what is not known is left out.

use super::Agent;
use crate::process::clock;
use crate::process::fence::State;
use jiff::Timestamp;
use pgherd_api::agent::{Failure, Role, RunningTask, ServerStatus, Status, StoppedAt};
use pgherd_core::seen::{End, Primary, Seen, Server, Standby};
use pgherd_core::units::Bytes;
use std::time::Duration;

impl Agent {
    pub(super) fn status(&self) -> Status {
        let (seen, now) = (&self.seen, clock::now());
        Status {
            cluster: self.me.cluster().clone(),
            me: seen.me.clone(),
            at: Timestamp::now(),
            started: self.started,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            executable: {
                let program = self.outside.replaceable.as_ref();
                program.and_then(|program| program.digest()).map(str::to_owned)
            },
            role: role(&seen.server),
            verdict: self.events.present().clone(),
            known: seen.durable.known,
            holds: seen.my_office().map(|record| record.epoch),
            permission_milliseconds: match self.fence.state() {
                State::Armed { until, .. } => Some(milliseconds(until.since(now))),
                State::Disarmed | State::Killing { .. } | State::Fenced(_) => None,
            },
            server: self.server_status(),
            task: seen.task.as_ref().map(|running| RunningTask {
                name: running.task.kind().to_owned(),
                task: serde_json::to_value(&running.task).unwrap_or_default(),
                running_milliseconds: milliseconds(now.since(running.since)),
            }),
            failure: seen.failed.as_ref().map(|failed| Failure {
                name: failed.task.kind().to_owned(),
                times: failed.times,
                why: failed.why.clone(),
            }),
            record: seen.record.value.clone(),
            record_age_milliseconds: seen.record.read.map(|read| milliseconds(now.since(read))),
            specification: self.specification.as_ref().map_or(0, |told| told.number),
            switchover_done: seen.record.value.as_ref().map_or(0, |record| record.switchover),
            restart_done: seen.durable.restarted,
            configuration_done: seen.health.configuration,
            refused_settings: self.accepted.refused(),
            pending_restart: self.upkeep.pending_restart.clone(),
            pending_restart_of: self.upkeep.looked_at(),
            kept_up: self.is_kept_up(),
            archive: self.archiving.status(),
            backup: self.backups.report(None),
            dump: self.dumps.report(None).map(Box::new),
            recovery: self.recovery.borrow().clone(),
            happenings: self.events.past().cloned().collect(),
        }
    }

    fn server_status(&self) -> ServerStatus {
        let seen = &self.seen;
        let postmaster = self.hands.postmaster.as_ref();
        let version = self.site.installation.version;
        let mut status = ServerStatus {
            version: Some(format!("{}.{}", version.major, version.minor)),
            pid: postmaster.and_then(|it| u32::try_from(it.pid().as_raw_pid()).ok()),
            port: postmaster.map(|_| self.site.port),
            position: seen.position(),
            timeline: seen.position().map(|position| position.timeline),
            misses: seen.health.misses,
            disk_full: seen.health.disk_full,
            full_volumes: self.full.clone(),
            ..ServerStatus::default()
        };
        match &seen.server {
            Server::Unknown | Server::Absent | Server::Starting => {}
            Server::Down { system_id, end } => {
                status.system_id = Some(*system_id);
                status.stopped = Some(match end {
                    End::Clean { .. } => StoppedAt::Clean,
                    End::CleanStandby { .. } => StoppedAt::CleanStandby,
                    End::Crashed { .. } => StoppedAt::Crashed,
                });
            }
            Server::Standby(standby) => tell_standby(&mut status, seen, standby),
            Server::Primary(primary) => tell_primary(&mut status, primary),
        }
        status
    }
}

fn tell_standby(status: &mut ServerStatus, seen: &Seen, standby: &Standby) {
    status.system_id = Some(standby.system_id);
    status.replayed = Some(standby.replayed);
    status.follows.clone_from(&standby.follows);
    status.streaming = Some(standby.streaming);
    status.lag = lag(seen, standby);
}

/// How far replay is behind what the primary last told; nothing if it speaks of another timeline.
fn lag(seen: &Seen, standby: &Standby) -> Option<Bytes> {
    let told = seen.grant.heard.as_ref()?.position?;
    let same = told.timeline == standby.position.timeline;
    same.then(|| told.lsn.ahead_of(standby.replayed))
}

fn tell_primary(status: &mut ServerStatus, primary: &Primary) {
    status.system_id = Some(primary.system_id);
    status.gate = Some(primary.gate);
    status.obeys.clone_from(&primary.obeys);
    status.senders.clone_from(&primary.senders);
}

fn role(server: &Server) -> Role {
    match server {
        Server::Unknown => Role::Unknown,
        Server::Absent => Role::Absent,
        Server::Down { .. } => Role::Stopped,
        Server::Starting => Role::Starting,
        Server::Standby(_) => Role::Standby,
        Server::Primary(_) => Role::Primary,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
