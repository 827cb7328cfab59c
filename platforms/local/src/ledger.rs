//! A client that writes numbered rows and keeps its own book of what it was promised.
//!
//! Never believes the cluster about itself: what counts is what a client was told and later finds.

mod address;
mod book;
mod judge;
mod rhythm;
mod session;
mod tls;
mod watch;
mod writer;

pub use address::{Address, AddressError, Host, Transport};
pub use book::{BookError, Entry, Outcome, Witness, read as read_book};
pub use judge::{Findings, Numbers};
pub use rhythm::{Gap, Rhythm};
pub use session::DialError;
pub use tls::TlsError;
pub use watch::{Overlap, Reign, Watch, overlaps, reigns_on_shared_timelines};

use book::Book;
use futures_core::Stream;
use pgherd_agent::tasks::Tasks;
use session::{Dialer, Session};
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(10);
const WRITER_SHIFT: u32 = 40;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("preparing to dial")]
    Prepare(#[source] DialError),
    #[error("keeping the book")]
    Keep(#[source] BookError),
    #[error("finding a server that accepts writes within {within:?}: is the cluster up?")]
    Find { within: Duration },
    #[error("creating the table of the ledger")]
    CreateTable(#[source] tokio_postgres::Error),
    #[error("reading the rows of the ledger")]
    ReadRows(#[source] tokio_postgres::Error),
    #[error("the rows of the ledger could not be read within {within:?}")]
    ReadSlow { within: Duration },
    #[error(
        "writes did not flow for {quiet:?} within {within:?}; the last one was acknowledged {last:?} ago"
    )]
    Settle { quiet: Duration, within: Duration, last: Duration },
}

/// What one write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// A row of a table, which can be counted afterwards.
    Rows,
    /// A message in the log that leaves nothing behind: only the rhythm is of interest.
    Messages,
}

/// How a ledger writes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub address: Address,
    pub trace: Trace,
    /// Where the book is kept: a new file outside the cluster.
    pub book: PathBuf,
    /// How many connections write at once.
    pub writers: u32,
    /// What each waits between two rows.
    pub pause: Duration,
    /// How long one host may take from dialling to being ready.
    pub dial_within: Duration,
    /// How long one row may take. Nothing is cancelled then: a cancelled wait for standbys is
    /// answered like a commit.
    pub answer_within: Duration,
}

impl Settings {
    /// Fast enough to see a pause of ten milliseconds, slow enough to leave a laptop usable.
    pub fn new(address: Address, book: PathBuf) -> Self {
        Self {
            address,
            trace: Trace::Rows,
            book,
            writers: 4,
            pause: Duration::from_millis(4),
            dial_within: Duration::from_secs(1),
            answer_within: Duration::from_secs(2),
        }
    }
}

/// A running ledger. Dropping it ends its writers; only a stopped one can be judged.
pub struct Ledger {
    shared: Arc<Shared>,
    tasks: Tasks,
    book: PathBuf,
}

/// A ledger that writes no more.
pub struct Stopped {
    shared: Arc<Shared>,
    book: PathBuf,
}

/// What the ledger has seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub acknowledged: u64,
    pub unknown: u64,
    pub refused: u64,
}

impl Ledger {
    /// Makes the table, then starts to write.
    pub async fn start(settings: Settings, within: Duration) -> Result<Self, LedgerError> {
        let dialer = Dialer::new(settings.address, settings.dial_within, "pgherd-ledger");
        let dialer = dialer.map_err(LedgerError::Prepare)?;
        let book = Book::create(&settings.book).map_err(LedgerError::Keep)?;
        let shared = Arc::new(Shared {
            dialer,
            run: new_run(),
            trace: settings.trace,
            pause: settings.pause,
            answer_within: settings.answer_within,
            good: Good::default(),
            search: Semaphore::new(1),
            stopping: AtomicBool::new(false),
            state: Mutex::new(State::new(book, settings.writers, Instant::now())),
        });
        let create = async {
            let mut session = find(&shared, within).await?;
            if shared.trace == Trace::Messages {
                return Ok(());
            }
            let table = "create table if not exists pgherd_ledger \
                (run bigint not null, number bigint not null)";
            let created = session.with(|client| client.batch_execute(table)).await;
            created.map_err(LedgerError::CreateTable)
        };
        timeout(within, create).await.map_err(|_| LedgerError::Find { within })??;
        let mut tasks = Tasks::default();
        for writer in 0..settings.writers {
            let writing = writer::run(Arc::clone(&shared), writer);
            let _running = tasks.spawn(format!("writer {writer}"), writing);
        }
        Ok(Self { shared, tasks, book: settings.book })
    }

    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// When acknowledgements came, to any writer.
    pub fn rhythm(&self) -> Rhythm {
        self.shared.state().whole.clone()
    }

    /// The longest time after `since` in which no writer had a row acknowledged.
    pub fn longest_gap(&self, since: Instant) -> Gap {
        self.shared.state().whole.longest(since, Instant::now())
    }

    /// The longest time after `since` in which some writer had no row acknowledged.
    pub fn unluckiest_gap(&self, since: Instant) -> Gap {
        let now = Instant::now();
        let state = self.shared.state();
        let each = state.writers.iter().map(|writer| writer.rhythm.longest(since, now));
        each.max_by_key(Gap::length).unwrap_or(Gap { from: now, to: now })
    }

    /// Waits until writes have flowed for `quiet` after `since`: no pause of a third of it.
    pub async fn settle(
        &self,
        since: Instant,
        quiet: Duration,
        within: Duration,
    ) -> Result<(), LedgerError> {
        let until = Instant::now() + within;
        loop {
            let now = Instant::now();
            let (flows_since, last) = {
                let whole = &self.shared.state().whole;
                (whole.flows_since(quiet / 3, now), whole.last())
            };
            if flows_since.is_some_and(|flows| now >= flows.max(since) + quiet) {
                return Ok(());
            }
            if now >= until {
                let last = last.map_or(within, |last| now.saturating_duration_since(last));
                return Err(LedgerError::Settle { quiet, within, last });
            }
            sleep(LOOK).await;
        }
    }

    /// Ends the writers; what is not answered then is unknown.
    pub async fn stop(self) -> Result<Stopped, LedgerError> {
        let Self { shared, tasks, book } = self;
        shared.stopping.store(true, Ordering::Release);
        let until = Instant::now() + shared.answer_within;
        while shared.state().has_open() && Instant::now() < until {
            sleep(LOOK).await;
        }
        drop(tasks);
        shared.state().close().map_err(LedgerError::Keep)?;
        Ok(Stopped { shared, book })
    }
}

impl Stopped {
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    pub fn rhythm(&self) -> Rhythm {
        self.shared.state().whole.clone()
    }

    /// Reads the rows from whoever accepts writes now, and compares them with the book.
    pub async fn verify(&self, within: Duration) -> Result<Findings, LedgerError> {
        let reading = async {
            let mut session = find(&self.shared, within).await?;
            let rows = session.with(|client| rows(client, self.shared.run)).await;
            rows.map_err(LedgerError::ReadRows)
        };
        let rows = timeout(within, reading).await;
        let rows = rows.map_err(|_| LedgerError::ReadSlow { within })??;
        let book = book::read(&self.book).map_err(LedgerError::Keep)?;
        Ok(judge::judge(&book, rows))
    }
}

async fn find(shared: &Shared, within: Duration) -> Result<Session, LedgerError> {
    let until = Instant::now() + within;
    loop {
        if let Some(session) = writer::search(shared).await {
            return Ok(session);
        }
        if Instant::now() >= until {
            return Err(LedgerError::Find { within });
        }
        sleep(LOOK).await;
    }
}

async fn rows(
    client: &tokio_postgres::Client,
    run: i64,
) -> Result<Vec<u64>, tokio_postgres::Error> {
    let query = "select number from pgherd_ledger where run = $1";
    let parameter: (&(dyn ToSql + Sync), Type) = (&run, Type::INT8);
    let mut rows = pin!(client.query_typed_raw(query, [parameter]).await?);
    let mut numbers = Vec::new();
    while let Some(row) = poll_fn(|context| rows.as_mut().poll_next(context)).await {
        numbers.push(row?.try_get::<_, i64>(0)?.cast_unsigned());
    }
    Ok(numbers)
}

/// Distinguishes runs that share a table.
fn new_run() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or_default()
}

struct Shared {
    dialer: Dialer,
    run: i64,
    trace: Trace,
    pause: Duration,
    answer_within: Duration,
    good: Good,
    search: Semaphore,
    stopping: AtomicBool,
    state: Mutex<State>,
}

/// The host that accepted writes last.
#[derive(Default)]
struct Good(AtomicUsize);

impl Good {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, index: usize) {
        self.0.store(index, Ordering::Relaxed);
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, writer: u32) -> u64 {
        self.state().begin(writer)
    }

    fn end(&self, writer: u32, entry: Entry) {
        if !self.state().end(writer, entry) {
            self.stopping.store(true, Ordering::Release);
        }
    }
}

struct State {
    book: Book,
    // A book that cannot be written ends the ledger; nothing is counted any more.
    broken: Option<BookError>,
    counts: Counts,
    whole: Rhythm,
    writers: Vec<WriterState>,
}

struct WriterState {
    next: u64,
    open: Option<u64>,
    rhythm: Rhythm,
}

impl State {
    fn new(book: Book, writers: u32, now: Instant) -> Self {
        let first = |writer| u64::from(writer) << WRITER_SHIFT;
        let writers = (0..writers).map(|writer| WriterState {
            next: first(writer),
            open: None,
            rhythm: Rhythm::new(now),
        });
        let counts = Counts::default();
        Self { book, broken: None, counts, whole: Rhythm::new(now), writers: writers.collect() }
    }

    fn writer(&mut self, writer: u32) -> Option<&mut WriterState> {
        self.writers.get_mut(usize::try_from(writer).ok()?)
    }

    fn begin(&mut self, writer: u32) -> u64 {
        let Some(state) = self.writer(writer) else { return u64::MAX };
        let number = state.next;
        state.next += 1;
        state.open = Some(number);
        number
    }

    /// Whether it could be written down.
    fn end(&mut self, writer: u32, entry: Entry) -> bool {
        if self.broken.is_none() {
            self.broken = self.book.add(entry).err();
        }
        if self.broken.is_some() {
            return false;
        }
        let now = Instant::now();
        match entry.outcome {
            Outcome::Acknowledged(_) => self.counts.acknowledged += 1,
            Outcome::Unknown => self.counts.unknown += 1,
            Outcome::Refused => self.counts.refused += 1,
        }
        let is_acknowledged = matches!(entry.outcome, Outcome::Acknowledged(_));
        if is_acknowledged {
            self.whole.beat(now);
        }
        let Some(state) = self.writer(writer) else { return true };
        state.open = None;
        if is_acknowledged {
            state.rhythm.beat(now);
        }
        true
    }

    fn has_open(&self) -> bool {
        self.writers.iter().any(|writer| writer.open.is_some())
    }

    fn close(&mut self) -> Result<(), BookError> {
        let open: Vec<u64> = self.writers.iter_mut().filter_map(|one| one.open.take()).collect();
        for number in open {
            self.book.add(Entry { number, outcome: Outcome::Unknown })?;
            self.counts.unknown += 1;
        }
        self.book.sync()?;
        self.broken.take().map_or(Ok(()), Err)
    }
}
