//! Takes a new cluster from a backup to its target, and leaves it stopped cleanly.
//!
//! Never takes the end of the log for the target.

use super::failure::RecoveryError;
use super::feed::Feed;
use super::plan::{Plan, plan};
use super::source::{Source, refuse_occupied};
use super::target::{replayed, words};
use crate::chain::chain;
use crate::durable;
use crate::http::socket::{self, Socket};
use crate::postgres::config::{self, Opens, Receive, Settings};
use crate::postgres::control::{self, Control};
use crate::postgres::folder;
use crate::postgres::initdb::{Application, alone};
use crate::postgres::roles;
use crate::postgres::scram::Verifier;
use crate::postgres::server::{self, Mode, Postmaster, Stop};
use crate::postgres::session::{SUPERUSER, Session};
use crate::postgres::site::Site;
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveSpec, RecoveryPhase, RecoveryReport, RecoverySpec, RecoveryTarget};
use pgherd_backup::base::Progress;
use pgherd_backup::restore::{self, Into, recovery};
use pgherd_core::units::{Bytes, Lsn, Timeline};
use pgherd_core::wal::WalFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// What PostgreSQL says when the log ends before the target.
const NOT_REACHED: &str = "recovery ended before configured recovery target was reached";
/// What it says of a target that was passed before the files were consistent.
const BEFORE_END: &str = "recovery stop point is before consistent recovery point";
const LAST_SEEN: &str = "last completed transaction was at log time ";

/// A new cluster that begins with a backup.
#[derive(Debug, Clone)]
pub struct NewFromBackup {
    pub spec: RecoverySpec,
    /// What opens the source's archive.
    pub keys: PathBuf,
    /// Where the cluster's own log will go, and what opens that.
    pub own: Option<(ArchiveSpec, PathBuf)>,
    /// How PostgreSQL's command is called: with the socket, before the names of the file.
    pub command: String,
    pub socket: PathBuf,
    pub spool: PathBuf,
    pub replication_password: Verifier,
    pub application: Application,
}

/// How long the parts may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub ask: Duration,
    /// Restores and replays.
    pub recover: Duration,
    pub stop: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            ask: Duration::from_secs(30),
            recover: Duration::from_hours(24 * 7),
            stop: Duration::from_mins(5),
        }
    }
}

/// Where how far it is gets told.
pub type Told = watch::Sender<Option<RecoveryReport>>;

/// Makes the cluster and stops it cleanly. Begins anew whatever an interrupted attempt left.
pub async fn recover(
    site: &Site,
    new: &NewFromBackup,
    settings: &Settings,
    patience: Patience,
    told: &Told,
) -> Result<Control, RecoveryError> {
    let staged = site.staged();
    let prepare = |source| RecoveryError::PrepareFolder { source };
    let before = told.borrow().clone().filter(|before| before.target == words(&new.spec));
    begin(new, told);
    server::sweep(&staged, patience.stop)
        .await
        .map_err(|source| RecoveryError::EndEarlier { source })?;
    refuse_occupied(new).await?;
    let source = Source::open(new)?;
    let looked_into = Source::to_look_into(new)?;
    let planned = plan(&looked_into, &new.spec, Some(staged.installation.version.major)).await;
    let planned = planned.map_err(RecoveryError::Plan)?;
    if let Some(last) = before.and_then(|before| futile(before, &planned, told)) {
        return Err(short(&new.spec, last));
    }
    info!(choice = planned.because(), "recovery");
    folder::begin_staging(site).map_err(prepare)?;
    let work = Work { staged: &staged, new, settings, patience, told, source, plan: planned };
    let made = work.make().await;
    // A folder of log that nobody asks for any more.
    let _stays = std::fs::remove_dir_all(&new.spool).is_err();
    if made.is_err() {
        // A server that nobody knows of must not stay; and what was restored may have filled the disk.
        let _first_error_counts = server::sweep(&staged, patience.stop).await;
        if let Err(error) = folder::remove_tree(&staged.data) {
            // The next attempt removes it; why this one failed is what counts.
            warn!(error = %chain(&error), "what was restored in vain stays for now");
        }
    }
    let control = made?;
    folder::publish(site).map_err(|source| RecoveryError::Publish { source })?;
    Ok(control)
}

/// What is told before anything is known.
fn begin(new: &NewFromBackup, told: &Told) {
    let now = Timestamp::now();
    let RecoverySpec { name, source, .. } = &new.spec;
    told.send_replace(Some(RecoveryReport {
        source: name.clone(),
        destination: source.destination.clone(),
        server: source.server.clone(),
        target: words(&new.spec),
        phase: RecoveryPhase::Planning,
        since: now,
        began: now,
        ended: None,
        backup: None,
        because: None,
        done: Bytes(0),
        total: Bytes(0),
        rate: None,
        left_milliseconds: None,
        log: None,
        log_files: 0,
        last_commit: None,
        lsn: None,
        timeline: None,
        log_ends: None,
        fell_short: None,
    }));
}

/// What an attempt before this one has found at the end of the log, if nothing has come since: to restore
/// all of it once more would end in the same.
fn futile(before: RecoveryReport, planned: &Plan, told: &Told) -> Option<String> {
    let same = (Some(planned.choice.backup.to_string()), Some(planned.choice.to));
    let is_same = (&before.backup, before.log_ends) == (&same.0, same.1);
    let last = before.fell_short.filter(|_| is_same)?;
    told.send_modify(|report| {
        if let Some(report) = report {
            (report.backup, report.log_ends) = same;
            report.fell_short = Some(last.clone());
        }
    });
    Some(last)
}

/// The replay ended, and the target was not there.
fn short(spec: &RecoverySpec, last: String) -> RecoveryError {
    let target = words(spec);
    match &spec.target {
        RecoveryTarget::Name(_) | RecoveryTarget::Transaction(_) => {
            RecoveryError::NotFound { target, last }
        }
        RecoveryTarget::Latest
        | RecoveryTarget::Immediate
        | RecoveryTarget::Time(_)
        | RecoveryTarget::Lsn(_) => RecoveryError::NotReached { target, last },
    }
}

struct Work<'a> {
    staged: &'a Site,
    new: &'a NewFromBackup,
    settings: &'a Settings,
    patience: Patience,
    told: &'a Told,
    source: Source,
    plan: Plan,
}

impl Work<'_> {
    async fn make(&self) -> Result<Control, RecoveryError> {
        self.restore().await?;
        give_away(self.staged)?;
        let configure = |settings: &Settings| {
            let applied =
                config::apply(self.staged, &self.staged.data, (settings, Opens::ByItself));
            applied.map(drop).map_err(|source| RecoveryError::Configure { source })
        };
        let receive = Receive::FromArchive(recovery::settings(&recovery::Recovery {
            restore_command: format!("{} %f %p", self.new.command),
            target: replayed(&self.new.spec),
            along: self.plan.along(),
            then: recovery::Then::Promote,
        }));
        configure(&Settings { receive, ..alone(self.settings) })?;
        let signal = self.staged.data.join(recovery::SIGNAL);
        durable::write(&signal, b"", self.staged.private())
            .map_err(|source| RecoveryError::SetMode { source })?;
        let postmaster = self.replay().await?;
        self.fill(&postmaster).await?;
        configure(self.settings)?;
        control::read_file(&self.staged.data)
            .map_err(|source| RecoveryError::ReadControl { source })
    }

    fn tell(&self, change: impl FnOnce(&mut RecoveryReport)) {
        self.told.send_modify(|told| {
            if let Some(report) = told {
                change(report);
            }
        });
    }

    fn phase(&self, phase: RecoveryPhase) {
        self.tell(|report| {
            report.phase = phase;
            report.since = Timestamp::now();
        });
    }

    async fn restore(&self) -> Result<(), RecoveryError> {
        let id = &self.plan.choice.backup;
        self.tell(|report| {
            report.backup = Some(id.to_string());
            report.because = Some(self.plan.because());
            report.total = self.plan.bytes.unwrap_or_default();
            report.log_ends = Some(self.plan.choice.to);
        });
        self.phase(RecoveryPhase::Restoring);
        let request = restore::Request {
            store: &self.source.store,
            layout: &self.source.layout,
            id,
            folder: &self.staged.data,
            tablespaces: &BTreeMap::new(),
            into: Into::Empty,
            options: restore::Options::default(),
        };
        let (progress, shown) = watch::channel(Progress::default());
        let mut restoring = std::pin::pin!(restore::restore(&request, progress));
        let restored = loop {
            tokio::select! {
                restored = &mut restoring => break restored,
                () = tokio::time::sleep(BETWEEN_LOOKS) => self.tell_restored(*shown.borrow()),
            }
        };
        self.tell_restored(*shown.borrow());
        restored.map(drop).map_err(|source| RecoveryError::Restore {
            backup: id.to_string(),
            source: Box::new(source),
        })
    }

    fn tell_restored(&self, now: Progress) {
        self.tell(|report| {
            report.done = now.done;
            report.total = if now.total.0 > 0 { now.total } else { report.total };
            report.rate = now.rate();
            let left = Progress { total: report.total, ..now }.left();
            report.left_milliseconds = left.and_then(|left| u64::try_from(left.as_millis()).ok());
        });
    }

    /// Until it has opened on a timeline of its own.
    async fn replay(&self) -> Result<Postmaster, RecoveryError> {
        self.phase(RecoveryPhase::Replaying);
        self.tell(|report| report.left_milliseconds = None);
        let spool = &self.new.spool;
        let from = (self.source.store.clone(), self.source.layout.clone());
        let size = self.plan.extent.segment_size;
        let feed = Feed::new(from, self.plan.backup.system, size, (&self.staged.data, spool))
            .map_err(|source| RecoveryError::Spool { path: spool.clone(), source })?;
        let feed = feed.witnessed_by(self.source.layout.witnesses(&self.plan.choice.backup));
        let feed = feed.along(self.new.spec.timeline);
        let socket = self.listen()?;
        let tell = |file: WalFile| {
            self.tell(|report| {
                report.log = Some(file.to_string());
                report.log_files += u64::from(matches!(file, WalFile::Segment(_)));
            });
        };
        let within = self.patience.recover;
        let opened = tokio::select! {
            opened = self.open(within) => opened,
            () = feed.serve(socket, tell) => Err(RecoveryError::Late { within }),
        };
        opened.map_err(|error| self.explained(error))
    }

    fn listen(&self) -> Result<Socket, RecoveryError> {
        let path = &self.new.socket;
        let listening = socket::listen(path, self.staged.private());
        listening.map_err(|source| RecoveryError::Listen { path: path.clone(), source })
    }

    async fn open(&self, within: Duration) -> Result<Postmaster, RecoveryError> {
        let replay = |source| RecoveryError::Replay { source };
        let postmaster = server::start(self.staged, Mode::ReadWrite).await.map_err(replay)?;
        postmaster.ready(self.staged, within).await.map_err(replay)?;
        Ok(postmaster)
    }

    /// PostgreSQL ends when its log ends too early: that is told in our words.
    fn explained(&self, error: RecoveryError) -> RecoveryError {
        let RecoveryError::Replay { source } = &error else { return error };
        let said = chain(source).to_string();
        if said.contains(BEFORE_END) {
            let (target, backup) = (words(&self.new.spec), self.plan.choice.backup.to_string());
            return RecoveryError::BeforeEnd { target, backup };
        }
        if !said.contains(NOT_REACHED) {
            return error;
        }
        let last = last_seen(&said);
        self.tell(|report| report.fell_short = Some(last.clone()));
        short(&self.new.spec, last)
    }

    async fn fill(&self, postmaster: &Postmaster) -> Result<(), RecoveryError> {
        self.phase(RecoveryPhase::Opening);
        let within = self.patience.ask;
        let opened = roles::connect(self.staged, SUPERUSER, within).await;
        let mut session = opened.map_err(|source| RecoveryError::Connect { source })?;
        self.check(&mut session).await?;
        let roles = |source| RecoveryError::MakeRoles { source };
        roles::forget_superuser(&mut session).await.map_err(roles)?;
        let NewFromBackup { replication_password, application, .. } = self.new;
        let made = roles::make(&mut session, replication_password, application);
        made.await.map_err(roles)?;
        roles::make_database(&mut session, application).await.map_err(roles)?;
        let stopped = postmaster.stop(self.staged, Stop::Fast, self.patience.stop).await;
        stopped.map(drop).map_err(|source| RecoveryError::Stop { source })
    }

    /// Tells how far it came, and makes sure that this is far enough.
    async fn check(&self, session: &mut Session) -> Result<(), RecoveryError> {
        const REACHED: &str = "select coalesce(pg_last_wal_replay_lsn()::text, ''), \
            coalesce((extract(epoch from pg_last_xact_replay_timestamp()) * 1000000)::int8::text, ''), \
            substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
        let asked = session.ask(REACHED, self.patience.ask).await;
        let sets = asked.map_err(|source| RecoveryError::Ask { source })?;
        let row = sets.first().and_then(|rows| rows.first());
        let text = |at| row.and_then(|row| row.try_get(at).ok().flatten()).unwrap_or_default();
        let lsn = Lsn::parse(text(0)).ok();
        let micros: Option<i64> = text(1).parse().ok();
        let last_commit = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let timeline = u32::from_str_radix(text(2), 16).ok().map(Timeline);
        self.tell(|report| {
            (report.lsn, report.last_commit, report.timeline) = (lsn, last_commit, timeline);
        });
        info!(?lsn, ?last_commit, ?timeline, "recovered");
        let RecoveryTarget::Lsn(target) = self.new.spec.target else { return Ok(()) };
        match lsn {
            // The record that begins before an exclusive target ends short of it.
            Some(reached) if reached < target && !self.new.spec.exclusive => {
                let (target, reached) = (target.to_string(), reached.to_string());
                Err(RecoveryError::Short { target, reached })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What the last transaction was, from what PostgreSQL said.
fn last_seen(said: &str) -> String {
    let last = said.lines().rev().find_map(|line| line.split_once(LAST_SEEN));
    match last {
        Some((_, at)) => format!("the last transaction in it was committed at {}", at.trim()),
        None => "no transaction was committed in it".to_owned(),
    }
}

/// What was restored belongs to the agent's user; PostgreSQL may run as another one.
fn give_away(site: &Site) -> Result<(), RecoveryError> {
    let Some(owner) = site.owner else { return Ok(()) };
    give(&site.data, (owner.user, owner.group))
}

fn give(path: &Path, to: (u32, u32)) -> Result<(), RecoveryError> {
    let failed = |source| RecoveryError::GiveAway { path: path.to_owned(), source };
    std::os::unix::fs::lchown(path, Some(to.0), Some(to.1)).map_err(failed)?;
    if path.symlink_metadata().map_err(failed)?.is_dir() {
        for entry in std::fs::read_dir(path).map_err(failed)? {
            give(&entry.map_err(failed)?.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::plan::Plan;
    use pgherd_backup::backup_info::BackupInfo;
    use pgherd_core::backup::choice::{Because, Choice};
    use pgherd_core::backup::{BackupId, Extent};
    use pgherd_core::units::Moment;
    use pgherd_core::wal::{Segment, SegmentSize};

    fn planned(to: u64) -> Plan {
        let size = SegmentSize::DEFAULT;
        let segment = Segment::holding(Timeline(1), Lsn(0x300_0000), size);
        Plan {
            choice: Choice {
                backup: BackupId::parse("20261122T112233").unwrap(),
                timeline: Timeline(1),
                to: Lsn(to),
                because: Because::Newest,
                concern: None,
            },
            backup: BackupInfo::default(),
            extent: Extent {
                timeline: Timeline(1),
                begin: Lsn(0x300_0028),
                end: Lsn(0x300_0100),
                began: Moment(0),
                ended: Moment(0),
                segment_size: size,
            },
            bytes: None,
            builds_on: Vec::new(),
            stored: Bytes(0),
            took: Duration::ZERO,
            log: (segment, segment),
            segments: 1,
        }
    }

    #[test]
    fn what_fell_short_is_not_restored_again_before_there_is_more_log() {
        let report: RecoveryReport = serde_json::from_value(serde_json::json!({
            "source": "a", "destination": "/b", "server": "a", "target": "x", "phase": "planning",
            "since": "2026-11-22T11:22:33Z", "began": "2026-11-22T11:22:33Z", "done": 0, "total": 0,
            "logFiles": 0, "backup": "20261122T112233", "logEnds": "0/5000000",
            "fellShort": "nothing",
        }))
        .unwrap();
        let told = Told::new(None);
        let again = |to| futile(report.clone(), &planned(to), &told);
        assert_eq!(again(0x500_0000).as_deref(), Some("nothing"));
        assert_eq!(again(0x600_0000), None);
    }

    #[test]
    fn the_last_transaction_is_taken_from_what_postgresql_says() {
        let said = "LOG:  redo done at 0/5000060\nLOG:  last completed transaction was at log time \
                    2026-11-22 11:22:34.5+00\nFATAL:  recovery ended before configured recovery \
                    target was reached";
        let told = last_seen(said);
        assert_eq!(told, "the last transaction in it was committed at 2026-11-22 11:22:34.5+00");
        assert_eq!(last_seen("FATAL:  x"), "no transaction was committed in it");
    }
}
