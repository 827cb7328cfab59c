//! Gives PostgreSQL the log of its source's archive, some ahead of what it asks for.
//!
//! Never tells a file as absent that could not be looked for: PostgreSQL would take that for the
//! end of the log, and open.

use super::source::archive;
use crate::archive::exchange::{LONGEST, Reply, Request};
use crate::chain::chain;
use crate::durable::Access;
use crate::http::socket::{self, Socket};
use crate::process::clock;
use pgherd_backup::catalogue::Repository;
use pgherd_backup::layout::{Key, Layout};
use pgherd_backup::store::{Retry, Store};
use pgherd_backup::wal::{Archive, Fetched, Partials, WalError};
use pgherd_core::units::{Bytes, SystemId, Time, Timeline};
use pgherd_core::wal::prefetch::{Pace, Sight, plan};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// For the one line of a request, and for that of a reply.
const EXCHANGE: Duration = Duration::from_secs(5);
/// Before connections are accepted again when that failed.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a store that does not answer is waited for.
const STUBBORN: Duration = Duration::from_mins(10);
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
const BUDGET: Bytes = Bytes(256 << 20);
const AT_ONCE: usize = 4;

/// The log on its way to one server.
pub struct Feed {
    archive: Archive,
    repository: Repository,
    size: SegmentSize,
    /// The timeline to go along whatever came after it, if one was named.
    only: Option<Timeline>,
    /// PostgreSQL's data folder.
    data: PathBuf,
    /// What was fetched and not asked for yet.
    spool: PathBuf,
}

/// What was fetched, and what is on its way.
#[derive(Default)]
struct Ahead {
    fetched: BTreeSet<Segment>,
    under_way: BTreeMap<Segment, (Time, AbortHandle)>,
    absent: Option<Segment>,
    replayed: Option<Time>,
    pace: Option<Pace>,
    tasks: JoinSet<(Segment, Result<Found, WalError>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    It,
    Nothing,
}

impl Feed {
    /// Log of `system` out of a repository, for the server of a data folder; the spool is on the
    /// same file system as that, and is emptied.
    pub fn new(
        (store, layout): (Store, Layout),
        system: Option<SystemId>,
        size: SegmentSize,
        (data, spool): (&Path, &Path),
    ) -> io::Result<Self> {
        empty(spool)?;
        let repository = Repository::new(store.clone(), layout.clone());
        let archive = archive(store, layout, system);
        let (data, spool) = (data.to_owned(), spool.to_owned());
        Ok(Self { archive, repository, size, only: None, data, spool })
    }

    /// The same for one who goes along this timeline alone, if one is named.
    pub fn along(self, only: Option<Timeline>) -> Self {
        Self { only, ..self }
    }

    /// That a file is not there is believed only while one of these is.
    pub(super) fn witnessed_by(self, witnesses: impl IntoIterator<Item = Key>) -> Self {
        Self { archive: self.archive.witnessed_by(witnesses), ..self }
    }

    /// Answers at this path, to the same user only, as long as it is polled: for a recovery that
    /// somebody else runs.
    pub async fn answer_at(&self, path: &Path) -> io::Result<()> {
        let socket = socket::listen(path, Access::PRIVATE)?;
        self.serve(socket, |_| {}).await;
        Ok(())
    }

    /// Answers as long as it is polled; `tell` is told of each file that was handed over.
    pub(super) async fn serve(&self, socket: Socket, mut tell: impl FnMut(WalFile)) {
        let mut ahead = Ahead::default();
        loop {
            match socket.listener.accept().await {
                // PostgreSQL asks for one file at a time.
                Ok((stream, _)) => match self.answer(stream, &mut ahead).await {
                    Ok(Some(file)) => tell(file),
                    Ok(None) => {}
                    Err(error) => warn!(%error, "a command of PostgreSQL has gone"),
                },
                Err(error) => {
                    warn!(%error, "a command of PostgreSQL was not accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The file that was handed over, if one was.
    async fn answer(&self, stream: UnixStream, ahead: &mut Ahead) -> io::Result<Option<WalFile>> {
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        let mut reader = BufReader::new(reader.take(LONGEST as u64));
        timeout(EXCHANGE, reader.read_line(&mut line)).await??;
        let (reply, file) = match Request::parse(&line) {
            Some(Request::Recover { file, target }) => {
                let reply = self.give(file, &target, ahead).await;
                let given = (reply == Reply::Done).then_some(file);
                (reply, given)
            }
            Some(Request::Archive { .. } | Request::Fetch { .. }) | None => {
                (Reply::Stop("the request was not understood".to_owned()), None)
            }
        };
        timeout(EXCHANGE, writer.write_all(reply.to_string().as_bytes())).await??;
        Ok(file)
    }

    async fn give(&self, file: WalFile, target: &str, ahead: &mut Ahead) -> Reply {
        let found = match file {
            WalFile::Segment(segment) => self.segment(segment, ahead).await,
            WalFile::History(_) | WalFile::Partial(_) | WalFile::Label { .. } => {
                self.fetch(file).await
            }
        };
        match found {
            Ok(Found::It) => {
                let target = self.data.join("pg_wal").join(target);
                match std::fs::rename(self.path(file), target) {
                    Ok(()) => Reply::Done,
                    Err(error) => Reply::Stop(format!("handing over {file}: {error}")),
                }
            }
            Ok(Found::Nothing) => Reply::Absent,
            Err(error) => Reply::Stop(chain(&error).to_string()),
        }
    }

    /// Takes it from what was fetched, waits for it, or fetches it; then begins with what follows.
    async fn segment(&self, segment: Segment, ahead: &mut Ahead) -> Result<Found, WalError> {
        let now = clock::now();
        let replay = ahead.replayed.map(|before| now.since(before));
        while ahead.under_way.contains_key(&segment) {
            ahead.next().await;
        }
        let found = if ahead.fetched.remove(&segment) {
            Found::It
        } else {
            match self.fetch(WalFile::Segment(segment)).await? {
                Found::It => Found::It,
                Found::Nothing => self.put_together(segment).await?,
            }
        };
        let replay_of_one = replay.unwrap_or_default();
        let fetch_of_one = ahead.pace.map_or(Duration::ZERO, |pace| pace.fetch_of_one);
        ahead.pace = Some(Pace { replay_of_one, fetch_of_one });
        self.begin(segment, ahead);
        ahead.replayed = Some(clock::now());
        Ok(found)
    }

    fn begin(&self, asked: Segment, ahead: &mut Ahead) {
        ahead.take_in();
        let under_way = ahead.under_way.keys().copied().collect();
        let plan = plan(&Sight {
            asked,
            size: self.size,
            fetched: &ahead.fetched,
            under_way: &under_way,
            absent: ahead.absent,
            pace: ahead
                .pace
                .unwrap_or(Pace { replay_of_one: Duration::ZERO, fetch_of_one: Duration::ZERO }),
            budget: BUDGET,
            at_once: AT_ONCE,
        });
        for useless in plan.discard {
            ahead.fetched.remove(&useless);
            if let Err(error) = std::fs::remove_file(self.path(WalFile::Segment(useless))) {
                warn!(segment = %useless, %error, "what was fetched in vain stays");
            }
        }
        for segment in plan.fetch {
            let (archive, path) = (self.archive.clone(), self.path(WalFile::Segment(segment)));
            let handle = ahead.tasks.spawn(async move {
                let fetched = archive.fetch(WalFile::Segment(segment), Partials::Never, &path);
                (segment, fetched.await.map(|fetched| found(&fetched)))
            });
            ahead.under_way.insert(segment, (clock::now(), handle));
        }
    }

    async fn fetch(&self, file: WalFile) -> Result<Found, WalError> {
        let attempt = async || {
            let fetched = self.archive.fetch(file, Partials::Never, &self.path(file)).await;
            fetched.map(|fetched| found(&fetched))
        };
        stubbornly(file, attempt).await
    }

    /// The log may end in a segment that was never finished.
    async fn put_together(&self, segment: Segment) -> Result<Found, WalError> {
        let file = WalFile::Segment(segment);
        let path = self.path(file);
        let attempt = async || {
            let end = self.repository.end_in((segment, self.only), self.size).await;
            let end = end.map_err(|source| WalError::Fetch { file, source })?;
            if let Some(end) = end {
                let put = self.archive.put_together(segment, (self.size, end), &path);
                if let Some(end) = put.await? {
                    info!(%segment, %end, "put together from what was streamed");
                    return Ok(Found::It);
                }
            }
            // It may have been finished meanwhile, and its pieces have gone.
            let fetched = self.archive.fetch(file, Partials::Never, &path).await;
            fetched.map(|fetched| found(&fetched))
        };
        stubbornly(file, attempt).await
    }

    fn path(&self, file: WalFile) -> PathBuf {
        self.spool.join(file.to_string())
    }
}

/// Tries as long as there is hope.
async fn stubbornly(
    file: WalFile,
    attempt: impl AsyncFn() -> Result<Found, WalError>,
) -> Result<Found, WalError> {
    let until = Instant::now() + STUBBORN;
    loop {
        match attempt().await {
            Err(error) if error.retry() == Retry::Soon && Instant::now() < until => {
                info!(%file, error = %chain(&error), "trying once more");
                sleep(BETWEEN_TRIES).await;
            }
            done => return done,
        }
    }
}

impl Ahead {
    /// Takes in what has come without waiting for more.
    fn take_in(&mut self) {
        while let Some(finished) = self.tasks.try_join_next() {
            self.note(finished.ok());
        }
    }

    /// Waits for the next that comes.
    async fn next(&mut self) {
        let finished = self.tasks.join_next().await.and_then(Result::ok);
        if finished.is_none() {
            // Whatever broke is fetched anew when it is asked for.
            self.under_way.clear();
        }
        self.note(finished);
    }

    fn note(&mut self, finished: Option<(Segment, Result<Found, WalError>)>) {
        let Some((segment, fetched)) = finished else { return };
        let began = self.under_way.remove(&segment).map(|(began, _)| began);
        match fetched {
            Ok(Found::It) => {
                self.fetched.insert(segment);
                let fetch_of_one = began.map_or(Duration::ZERO, |began| clock::now().since(began));
                let replay_of_one = self.pace.map_or(Duration::ZERO, |pace| pace.replay_of_one);
                self.pace = Some(Pace { replay_of_one, fetch_of_one });
            }
            Ok(Found::Nothing) => {
                self.absent = Some(self.absent.map_or(segment, |absent| absent.min(segment)));
            }
            // It is tried again, with patience, when it is asked for.
            Err(error) => info!(%segment, error = %chain(&error), "not fetched ahead"),
        }
    }
}

fn found(fetched: &Fetched) -> Found {
    match fetched {
        Fetched::Whole { .. } | Fetched::Partial { .. } => Found::It,
        Fetched::Absent => Found::Nothing,
    }
}

/// Begins with an empty folder.
fn empty(spool: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(spool) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir(spool)
}
