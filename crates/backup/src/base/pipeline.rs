//! Holds what the parts of a backup share: workers, memory, and who writes the archives.
//!
//! Never holds more bytes than the budget, and never waits for memory that only it could free:
//! what waits in an archive for its turn is less than the budget leaves.

use super::batch::{Batch, Bench, Content, Form};
use super::index::{Begin, End, FORMAT};
use super::ledger::{self, Entry, Whole};
use super::packing::{Packer, Packing};
use super::read::Verification;
use super::scan::Part;
use super::session::Pages;
use super::stream::{NAMED, Step, Stored, Stream};
use super::take::Request;
use super::throttle::Throttle;
use super::{BackupError, CHUNK, Options, Progress};
use crate::budget::Budget;
use crate::layout::{Key, Layout};
use crate::workers::{Workers, processors};
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The size of the parts that a store's writer sends.
const PART: usize = 16 << 20;
/// An archive is closed after so many bytes: an object has ten thousand parts at most.
const LARGEST: u64 = 96 << 30;
/// So many chunks of an archive may wait; the budget is the bound that counts.
const STEPS: usize = 256;

pub(super) struct Pipeline<'a> {
    request: &'a Request<'a>,
    form: Form,
    verification: Verification,
    workers: Workers<Bench>,
    budget: Budget,
    throttle: Throttle,
    under_way: JoinSet<Result<Done, BackupError>>,
    ledger: mpsc::Sender<Entry>,
    progress: watch::Sender<Progress>,
    began: Instant,
}

enum Done {
    Archive(Stored),
    Noted(End),
}

/// What was stored in the end.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) stored: Stored,
    pub(super) end: End,
}

/// An archive that chunks can be added to.
pub(super) struct Archive {
    key: Key,
    steps: mpsc::Sender<Step>,
    bytes: u64,
}

impl Archive {
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= LARGEST
    }

    /// Waits until all that was added has been read.
    pub(super) async fn wait(&self) -> Result<(), BackupError> {
        self.read().await?.wait().await
    }

    /// Nothing follows. The archive must not wait for that: it holds memory that others need.
    pub(super) async fn end(self) -> Result<Reading, BackupError> {
        let reading = self.read().await?;
        self.step(Step::End).await?;
        Ok(reading)
    }

    async fn read(&self) -> Result<Reading, BackupError> {
        let (done, reading) = oneshot::channel();
        self.step(Step::Wait(done)).await?;
        Ok(Reading(reading))
    }

    async fn step(&self, step: Step) -> Result<(), BackupError> {
        self.steps.send(step).await.map_err(|_| BackupError::Abandoned)
    }
}

/// What was added to an archive and may still have to be read.
pub(super) struct Reading(oneshot::Receiver<()>);

impl Reading {
    pub(super) async fn wait(self) -> Result<(), BackupError> {
        self.0.await.map_err(|_| BackupError::Abandoned)
    }
}

/// How many archives can be open at once without one waiting for another's memory: each holds a
/// part that is not full yet, and the workers need some for what they are at.
pub(super) fn archives_at_once(options: &Options, workers: usize) -> usize {
    let memory = usize::try_from(options.memory.0).unwrap_or(usize::MAX);
    let at_work = CHUNK.saturating_mul(workers + 1);
    let fit = memory.saturating_sub(at_work) / (PART + CHUNK);
    options.streams.min(fit).max(1)
}

/// Less memory than this would not be enough for one archive.
pub(super) fn memory(options: &Options) -> usize {
    usize::try_from(options.memory.0).unwrap_or(usize::MAX).max(PART + 3 * CHUNK)
}

pub(super) fn workers(options: &Options) -> usize {
    if options.workers == 0 { processors() } else { options.workers }
}

/// How what is stored is packed. What only pgherd reads is packed as suits it.
fn packing(form: Form, options: &Options) -> Packing {
    match form {
        Form::Tar => options.packing,
        Form::Pack => Packing::Zstd,
    }
}

/// The table of contents of a backup in this form.
pub(super) fn index(layout: &Layout, id: &BackupId, form: Form) -> Key {
    match form {
        Form::Tar => layout.index(id),
        Form::Pack => layout.increment_index(id),
    }
}

impl<'a> Pipeline<'a> {
    /// With a base it becomes a backup that is incremental to it.
    pub(super) fn start(
        request: &'a Request<'a>,
        base: Option<&BackupId>,
        verification: Verification,
        total: Bytes,
        progress: watch::Sender<Progress>,
    ) -> Result<Self, BackupError> {
        let options = &request.options;
        let form = if base.is_some() { Form::Pack } else { Form::Tar };
        let packing = packing(form, options);
        let benches = (0..workers(options)).map(|_| Packer::new(packing).map(Bench::new));
        let started = benches.collect::<Result<Vec<_>, _>>().and_then(Workers::start);
        let workers = started.map_err(|source| BackupError::Workers { source })?;
        let (ledger, entries) = mpsc::channel(STEPS);
        let backup = request.id.to_string();
        let base = base.map(ToString::to_string);
        let checksums = matches!(verification.pages, Pages::Checksums { .. });
        let begin = Begin { format: FORMAT, backup, bytes: total.0, pages: true, checksums, base };
        let (store, key) = (request.store.clone(), index(request.layout, request.id, form));
        let mut under_way = JoinSet::new();
        under_way
            .spawn(async move { ledger::run(store, key, begin, entries).await.map(Done::Noted) });
        progress.send_replace(Progress { total, ..Progress::default() });
        Ok(Self {
            request,
            form,
            verification,
            workers,
            budget: Budget::new(memory(options)),
            throttle: Throttle::new(options.rate),
            under_way,
            ledger,
            progress,
            began: Instant::now(),
        })
    }

    pub(super) fn request(&self) -> &'a Request<'a> {
        self.request
    }

    /// Opens the archive of a part with this number; the first one has none in its name. Packs are
    /// of all parts.
    pub(super) fn open(&mut self, part: Part, number: u32) -> Archive {
        let Request { layout, id, options, .. } = self.request;
        let packing = packing(self.form, options);
        let suffix = packing.compression().suffix();
        let key = match (self.form, number) {
            (Form::Tar, 0) => layout.archive(id, &format!("{}.tar{suffix}", part.name())),
            (Form::Tar, _) => {
                layout.archive(id, &format!("{}_{number:04}.tar{suffix}", part.name()))
            }
            (Form::Pack, _) => layout.increment_object(id, &format!("pack_{number:04}{suffix}")),
        };
        let (steps, taken) = mpsc::channel(STEPS);
        let stream = Stream {
            key: key.clone(),
            form: self.form,
            packing,
            ledger: self.ledger.clone(),
            progress: self.progress.clone(),
            began: self.began,
        };
        let store = self.request.store.clone();
        self.under_way.spawn(async move { stream.run(store, taken).await.map(Done::Archive) });
        Archive { key, steps, bytes: 0 }
    }

    /// Has a worker make the next chunk of an archive, when there is memory for it.
    pub(super) async fn add(
        &mut self,
        archive: &mut Archive,
        contents: Vec<Content>,
    ) -> Result<(), BackupError> {
        let size = contents.iter().map(Content::room).sum();
        self.throttle.take(size as u64).await;
        let taken = self.budget.take(size).await;
        let (key, form, verification) = (archive.key.clone(), self.form, self.verification);
        let batch = Batch { key, contents, size, form, verification };
        let answer = self.workers.run(move |bench| bench.make(batch, taken));
        archive.bytes += size as u64;
        archive.step(Step::Chunk(answer)).await
    }

    pub(super) async fn note_folder(&self, path: String) -> Result<(), BackupError> {
        self.note(Entry::Folder(path)).await
    }

    /// All files that are wholly read by now.
    pub(super) async fn files(&self) -> Result<Vec<Whole>, BackupError> {
        let (asked, answer) = oneshot::channel();
        self.note(Entry::Files(asked)).await?;
        answer.await.map_err(|_| BackupError::Abandoned)
    }

    /// Nothing follows: the table of contents is stored once the archives are.
    pub(super) async fn end(&self) -> Result<(), BackupError> {
        self.note(Entry::End).await
    }

    async fn note(&self, entry: Entry) -> Result<(), BackupError> {
        self.ledger.send(entry).await.map_err(|_| BackupError::Abandoned)
    }

    /// Waits for one of the archives to be stored or to fail, unless none is under way.
    async fn one_done(&mut self, settled: &mut Settled) -> Result<bool, BackupError> {
        match self.under_way.join_next().await {
            None => return Ok(false),
            Some(Ok(Ok(Done::Noted(end)))) => settled.end = end,
            Some(Ok(Ok(Done::Archive(stored)))) => {
                let all = &mut settled.stored;
                all.bytes += stored.bytes;
                all.bad_in_all += stored.bad_in_all;
                let room = NAMED.saturating_sub(all.bad.len());
                all.bad.extend(stored.bad.into_iter().take(room));
            }
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(_died)) => return Err(BackupError::WorkerLost(crate::workers::WorkerLost)),
        }
        Ok(true)
    }

    /// Waits until everything is stored, or taken back where it was not ended. Says the first
    /// cause of a failure and not what followed from it.
    pub(super) async fn settle(mut self) -> Result<Settled, BackupError> {
        let (nobody, _) = mpsc::channel(1);
        self.ledger = nobody;
        let mut settled = Settled::default();
        let mut failure = None;
        loop {
            match self.one_done(&mut settled).await {
                Ok(true) => {}
                Ok(false) => return failure.map_or(Ok(settled), Err),
                Err(error) => match failure {
                    None | Some(BackupError::Abandoned) => failure = Some(error),
                    Some(_) => {}
                },
            }
        }
    }
}
