//! Takes one backup from start to end, on a thread of its own, and tells how far it is.
//!
//! Never leaves half of one in the archive.

use super::log::{self, Awaited};
use super::report::{ended, tell_begun, tell_taken};
use super::session::{BackupSession, Checkpoint};
use super::{Place, Stop, Subject, WorkError, after};
use crate::archive::{Around, Opened, repository};
use crate::aside::{self, StartError};
use crate::chain::chain;
use crate::naming;
use crate::order;
use crate::postgres::session::Session;
use crate::wake::{Wake, Waker};
use jiff::Timestamp;
use pgherd_api::agent::{ArchiveSpec, BackupOrder, BackupPhase, BackupReport, ReadRate};
use pgherd_api::cluster::object_store::Compression;
use pgherd_backup::base::{self, BackupError, Left, Options, Packing, Progress, Request, Taken};
use pgherd_backup::catalogue::Repository;
use pgherd_backup::layout::Layout;
use pgherd_backup::store::{Patience, Store};
use pgherd_core::backup::{BackupId, Extent};
use pgherd_core::units::Bytes;
use pgherd_core::wal::Segment;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info, warn};

const CONNECT: Duration = Duration::from_secs(30);
/// A part that is on its way to the store.
const PART: Bytes = Bytes(64 << 20);
/// How many ids are tried: others may take backups at the same moment.
const IDS: u32 = 5;

/// Of what, where to, and whom to ask for help.
pub(super) struct Job {
    pub(super) place: Place,
    pub(super) archive: ArchiveSpec,
    pub(super) waker: Waker,
}

/// How a backup is followed, and broken off.
pub(super) struct Handles {
    pub(super) report: watch::Receiver<BackupReport>,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) stop: watch::Sender<Option<Stop>>,
}

pub(super) fn start(
    job: Job,
    order: BackupOrder,
    subject: Subject,
    report: BackupReport,
) -> Result<Handles, StartError> {
    let (tell, told) = watch::channel(report);
    let (progress, shown) = watch::channel(Progress::default());
    let (stop, stopped) = watch::channel(None);
    let course = Course { job, tell, progress, stopped };
    aside::on_a_thread("backup", move || course.run(order, subject))?;
    Ok(Handles { report: told, progress: shown, stop })
}

/// Waits for the log of a backup that an earlier agent has stored.
pub(super) fn resume(job: Job, report: BackupReport) -> Result<Handles, StartError> {
    let (tell, told) = watch::channel(report);
    let (progress, shown) = watch::channel(Progress::default());
    let (stop, stopped) = watch::channel(None);
    let course = Course { job, tell, progress, stopped };
    aside::on_a_thread("backup", move || course.resume())?;
    Ok(Handles { report: told, progress: shown, stop })
}

/// Ends what an earlier agent began: removes half a backup, and lets a whole one be.
pub(super) fn clear(job: Job, report: BackupReport) -> Result<(), StartError> {
    aside::on_a_thread("backup", async move || match cleared(&job, &report).await {
        Ok(left) => info!(backup = report.name, ?left, "an interrupted backup is dealt with"),
        Err(why) => warn!(backup = report.name, why, "what an interrupted backup left stays"),
    })
}

async fn cleared(job: &Job, report: &BackupReport) -> Result<Left, String> {
    let Some(Ok(id)) = report.id.as_deref().map(BackupId::parse) else { return Ok(Left::Nothing) };
    let (store, layout) = open(job).map_err(|error| chain(&error).to_string())?;
    let cleared = base::clear(&store, &layout, &id, &job.place.by).await;
    cleared.map_err(|error| chain(&error).to_string())
}

/// The archive as data goes there.
fn open(job: &Job) -> Result<(Store, Layout), WorkError> {
    let Job { place, archive, .. } = job;
    let encryption = archive.data.encryption;
    let keys = repository::in_folder(&place.keys);
    repository::open(archive, encryption, &keys, Patience::carrying(PART)).map_err(WorkError::Open)
}

/// One backup on its way.
struct Course {
    job: Job,
    tell: watch::Sender<BackupReport>,
    progress: watch::Sender<Progress>,
    stopped: watch::Receiver<Option<Stop>>,
}

/// What a stored backup waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    ForLog,
    ForNothing,
}

/// What is stored, and where.
struct Stored {
    id: BackupId,
    extent: Extent,
    store: Store,
    layout: Layout,
}

impl Course {
    async fn run(self, order: BackupOrder, subject: Subject) {
        info!(backup = order.name, "a base backup begins");
        let ended = match self.take(&order, subject).await {
            Ok(stored) => {
                let waits = if order.wait_for_archive { Waits::ForLog } else { Waits::ForNothing };
                self.finish(waits, &stored).await
            }
            Err(error) => self.failed(&error),
        };
        self.end(ended).await;
    }

    async fn resume(self) {
        let ended = match self.found().await {
            Ok(stored) => self.finish(Waits::ForLog, &stored).await,
            Err(error) => self.failed(&error),
        };
        self.end(ended).await;
    }

    /// What an earlier agent has stored.
    async fn found(&self) -> Result<Stored, WorkError> {
        let (store, layout) = open(&self.job)?;
        let wanted = self.tell.borrow().id.clone().unwrap_or_default();
        let repository = Repository::new(store.clone(), layout.clone());
        let catalogue = repository.list().await.map_err(WorkError::List)?;
        let entry = catalogue.entries.into_iter().find(|entry| entry.id.as_str() == wanted);
        let id = entry.as_ref().map(|entry| entry.id.clone());
        let extent = entry.and_then(|entry| entry.backup.ok()?.done());
        let (id, extent) = id.zip(extent).ok_or(WorkError::Gone)?;
        let by = &self.job.place.by;
        base::clear(&store, &layout, &id, by).await.map_err(WorkError::Clear)?;
        Ok(Stored { id, extent, store, layout })
    }

    async fn end(&self, (phase, failure): (BackupPhase, Option<String>)) {
        let backup = self.tell.borrow().name.clone();
        if phase == BackupPhase::Completed {
            info!(backup, "a base backup is completed");
        } else {
            error!(backup, why = failure, "there is no base backup");
        }
        self.tell.send_modify(|report| *report = ended(report.clone(), phase, failure));
        self.job.waker.wake(Wake::Deadline).await;
    }

    fn failed(&self, error: &WorkError) -> (BackupPhase, Option<String>) {
        match &*self.stopped.borrow() {
            Some(Stop::Cancelled) => {
                (BackupPhase::Cancelled, Some("somebody asked for that".to_owned()))
            }
            Some(Stop::Hindered(why)) => {
                (BackupPhase::Failed, Some(format!("{why}: take another one")))
            }
            None => {
                let passing = order::passes(error);
                self.tell.send_modify(|report| report.passing = passing);
                (BackupPhase::Failed, Some(chain(error).to_string()))
            }
        }
    }

    fn phase(&self, phase: BackupPhase, change: impl FnOnce(&mut BackupReport)) {
        self.tell.send_modify(|report| {
            report.phase = phase;
            report.since = Timestamp::now();
            change(report);
        });
    }

    async fn take(&self, order: &BackupOrder, subject: Subject) -> Result<Stored, WorkError> {
        let Job { place, archive, .. } = &self.job;
        let (store, layout) = open(&self.job)?;
        self.claim(subject).await?;
        let repository = Repository::new(store.clone(), layout.clone());
        let mut newest = repository.newest().await.map_err(WorkError::LookForNewest)?;
        let ordered = self.tell.borrow().id.clone().unwrap_or_default();
        let mut next = BackupId::parse(&ordered).ok().filter(|id| Some(id) > newest.as_ref());
        let mut base = self.base(order, subject, (&store, &layout)).await?;
        for _ in 0..IDS {
            let id = match next.take() {
                Some(id) => id,
                None => naming::next(newest.as_ref(), Timestamp::now()).ok_or(WorkError::NoId)?,
            };
            let mut session = self.session(order, subject).await?;
            self.phase(BackupPhase::Checkpoint, |report| report.id = Some(id.to_string()));
            let request = Request {
                store: &store,
                layout: &layout,
                id: &id,
                name: Some(&order.name),
                by: &place.by,
                base: base.as_ref(),
                options: options(archive, order.rate),
            };
            let progress = self.progress.clone();
            match base::take(&request, &mut session, progress, self.stop()).await {
                Ok(taken) => {
                    let extent = extent(&taken);
                    self.phase(BackupPhase::Wal, |report| tell_taken(report, &taken, extent));
                    return Ok(Stored { id, extent, store, layout });
                }
                Err(BackupError::AlreadyThere(id)) => newest = Some(id),
                Err(error @ BackupError::Base { .. }) => {
                    let why = chain(&error).to_string();
                    warn!(backup = order.name, why, "a full backup is taken");
                    self.tell.send_modify(|report| report.full_because = Some(why));
                    base = None;
                }
                Err(error) => return Err(WorkError::Take(error)),
            }
        }
        Err(WorkError::NoId)
    }

    /// What it builds on, if it is to be incremental and that can be.
    async fn base(
        &self,
        order: &BackupOrder,
        subject: Subject,
        (store, layout): (&Store, &Layout),
    ) -> Result<Option<BackupId>, WorkError> {
        let Some(wanted) = order.incremental else { return Ok(None) };
        let repository = Repository::new(store.clone(), layout.clone());
        let found = super::base::find(&repository, wanted, subject.timeline).await;
        match found.map_err(WorkError::LookForBase)? {
            Ok(base) => Ok(Some(base)),
            Err(why) => {
                info!(backup = order.name, %why, "a full backup is taken");
                self.tell.send_modify(|report| report.full_because = Some(why.to_string()));
                Ok(None)
            }
        }
    }

    async fn claim(&self, subject: Subject) -> Result<(), WorkError> {
        let Job { place, archive, .. } = &self.job;
        std::fs::create_dir_all(&place.scratch).map_err(WorkError::Scratch)?;
        let Place { keys, scratch, remembered, .. } = place;
        let opened = Opened::open(archive, subject.system, Around { keys, scratch, remembered });
        opened.map_err(WorkError::Open)?.claim().await.map_err(WorkError::Claim)
    }

    async fn session(
        &self,
        order: &BackupOrder,
        subject: Subject,
    ) -> Result<BackupSession, WorkError> {
        let Job { place, archive, .. } = &self.job;
        let session = Session::open(&place.site, "postgres", CONNECT).await;
        let immediate = order.immediate_checkpoint.unwrap_or(archive.data.immediate_checkpoint);
        let tell = self.tell.clone();
        Ok(BackupSession {
            session: session.map_err(WorkError::Connect)?,
            major: place.site.installation.version.major,
            role: subject.role,
            checkpoint: if immediate { Checkpoint::Immediate } else { Checkpoint::Spread },
            tell: Box::new(move |started| {
                tell.send_modify(|report| tell_begun(report, started));
            }),
            timeline: None,
        })
    }

    /// Ends when somebody does not want the backup any more, or it cannot be had.
    async fn stop(&self) {
        let mut stopped = self.stopped.clone();
        if stopped.wait_for(Option::is_some).await.is_err() {
            // Nobody is left who could say so; the process ends.
            std::future::pending::<()>().await;
        }
    }

    /// Ends when somebody does not want it any more. What happens to the server does not matter to
    /// what is stored, also if it happened at the same moment.
    async fn cancelled(&self) {
        let mut stopped = self.stopped.clone();
        if stopped.wait_for(|stop| *stop == Some(Stop::Cancelled)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn finish(&self, waits: Waits, stored: &Stored) -> (BackupPhase, Option<String>) {
        if waits == Waits::ForLog {
            let waited = tokio::select! {
                biased;
                () = self.cancelled() => return self.taken_back(stored).await,
                waited = self.wait_for_log(stored) => waited,
            };
            if let Err(error) = waited {
                return (BackupPhase::Failed, Some(chain(&error).to_string()));
            }
        }
        let repository = Repository::new(stored.store.clone(), stored.layout.clone());
        after::retain(&repository, self.job.archive.retention.as_deref(), &self.tell).await;
        after::clear_away(&repository, &self.tell).await;
        after::look_back(&repository, &self.tell).await;
        (BackupPhase::Completed, None)
    }

    async fn wait_for_log(&self, stored: &Stored) -> Result<(), log::LogError> {
        let Stored { id, extent, store, layout } = stored;
        let awaited = Awaited { store, layout, id, extent: *extent };
        let ask = || self.job.waker.wake(Wake::LogWanted);
        let tell = |missing: Option<Segment>| {
            self.tell.send_if_modified(|report| {
                let missing = missing.map(|missing| missing.to_string());
                let changed = report.waits_for != missing;
                report.waits_for = missing;
                changed
            });
        };
        log::wait(&awaited, ask, tell).await
    }

    async fn taken_back(&self, stored: &Stored) -> (BackupPhase, Option<String>) {
        match base::sweep(&stored.store, &stored.layout, &stored.id).await {
            Ok(()) => (BackupPhase::Cancelled, Some("somebody asked for that".to_owned())),
            Err(error) => {
                let why = format!("removing what was stored: {}", chain(&error));
                (BackupPhase::Failed, Some(why))
            }
        }
    }
}

fn options(archive: &ArchiveSpec, rate: Option<ReadRate>) -> Options {
    let packing = match archive.data.compression {
        None => Packing::Plain,
        Some(Compression::Lz4) => Packing::Lz4,
        // Those that cannot be unpacked in parallel are not written; see the manifest's warning.
        Some(Compression::Gzip | Compression::Bzip2 | Compression::Snappy) => Packing::Gzip,
    };
    let streams = usize::try_from(archive.data.at_once).unwrap_or(1).clamp(1, 64);
    let rate = match rate.unwrap_or(archive.data.rate) {
        ReadRate::Unlimited => None,
        ReadRate::AtMost(bytes) => Some(bytes),
    };
    Options { packing, streams, rate, ..Options::default() }
}

fn extent(taken: &Taken) -> Extent {
    Extent {
        timeline: taken.started.timeline,
        begin: taken.started.begin,
        end: taken.stopped.end,
        began: taken.started.at,
        ended: taken.stopped.at,
        segment_size: taken.started.segment_size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_api::agent::{ArchiveIdentity, DataSpec};

    #[test]
    fn backups_are_packed_and_read_as_the_manifest_says() {
        let of = |compression, rates: (ReadRate, Option<ReadRate>)| {
            let data = DataSpec { compression, at_once: 3, rate: rates.0, ..DataSpec::default() };
            let archive = ArchiveSpec {
                destination: "/b".to_owned(),
                endpoint: None,
                server: "db".to_owned(),
                identity: ArchiveIdentity::User,
                files: [].into(),
                compression: None,
                encryption: None,
                at_once: 1,
                stream: None,
                data,
                retention: None,
            };
            let options = options(&archive, rates.1);
            (options.packing, options.streams, options.rate)
        };
        let usual = (ReadRate::Unlimited, None);
        assert_eq!(of(None, usual), (Packing::Plain, 3, None));
        assert_eq!(of(Some(Compression::Lz4), usual), (Packing::Lz4, 3, None));
        assert_eq!(of(Some(Compression::Snappy), usual), (Packing::Gzip, 3, None));
        let (slow, fast) = (Bytes(1 << 20), Bytes(9 << 20));
        let declared = ReadRate::AtMost(slow);
        assert_eq!(of(None, (declared, None)).2, Some(slow));
        assert_eq!(of(None, (declared, Some(ReadRate::AtMost(fast)))).2, Some(fast));
        assert_eq!(of(None, (declared, Some(ReadRate::Unlimited))).2, None);
    }
}
