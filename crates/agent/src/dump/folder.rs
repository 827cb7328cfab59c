//! Stores a database in the directory format: each file as soon as PostgreSQL's program is done with it.
//!
//! Never keeps a file that is stored, and lets the program stand still while too much waits to be.

use super::course::{Course, WorkError};
use super::spool::{Spool, SpoolError};
use super::stream;
use crate::process::flow::{Flow, Pace};
use crate::process::tool::{Tool, ToolError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pgherd_backup::dump::{DumpFile, DumpedFile, DumpedFiles, Oid, Taking};
use rustix::fd::OwnedFd;
use rustix::fs::inotify;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// So much may wait to be stored.
const WAITING: u64 = 4 << 30;
/// So many are stored at once.
const AT_ONCE: usize = 4;
const PIECE: usize = 1 << 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Which database, and where its files pass through.
pub(super) struct Passage<'a> {
    pub(super) taking: &'a Taking,
    pub(super) spool: &'a Spool,
    pub(super) folder: PathBuf,
    pub(super) oid: Oid,
    pub(super) database: &'a str,
}

/// Runs it until all is stored, or there is a hindrance.
pub(super) async fn store(
    course: &Course,
    passage: &Passage<'_>,
    tool: &Tool,
    hindrance: impl Future<Output = WorkError>,
) -> Result<DumpedFiles, WorkError> {
    let failed = |source: ToolError| WorkError::run("pg_dump", passage.database, source);
    let mut carrier = Carrier::new(course, passage);
    let mut flow = Flow::start(tool).map_err(failed)?;
    let mut hindrance = std::pin::pin!(hindrance);
    let produced = loop {
        let look = tokio::time::sleep(BETWEEN_LOOKS);
        let stood = tokio::select! {
            biased;
            hindered = &mut hindrance => Err(hindered),
            stored = carrier.stored(), if carrier.is_storing() => stored,
            said = flow.read() => match said {
                Ok(Some(_)) => Ok(()),
                Ok(None) => break Ok(()),
                Err(error) => Err(failed(error)),
            },
            () = look => Ok(()),
        };
        let taken = stood.and_then(|()| carrier.take_finished().map_err(WorkError::Spool));
        match taken {
            Ok(pace) => flow.set_pace(pace),
            Err(error) => break Err(error),
        }
    };
    let ended = match produced {
        Ok(()) => stream::end(flow).await.map_err(failed),
        Err(error) => {
            // The first error counts.
            let _second = flow.kill().await;
            Err(error)
        }
    };
    let rest = if ended.is_ok() {
        carrier.take_rest().map_err(WorkError::Spool)
    } else {
        carrier.forget();
        Ok(())
    };
    // What is under way is stored or taken back before anything else is done.
    let mut settled = Ok(());
    while carrier.is_storing() {
        settled = settled.and(carrier.stored().await);
    }
    ended.and(rest).and(settled)?;
    Ok(DumpedFiles { files: carrier.files.into_values().collect() })
}

/// Brings files from the folder to the archive.
struct Carrier<'a> {
    course: &'a Course,
    passage: &'a Passage<'a>,
    closed: Option<OwnedFd>,
    /// Files the program is done with, and their sizes.
    waiting: BTreeMap<String, u64>,
    known: BTreeSet<String>,
    under_way: FuturesUnordered<BoxFuture<'a, Result<DumpedFile, WorkError>>>,
    files: BTreeMap<DumpFile, DumpedFile>,
}

impl<'a> Carrier<'a> {
    fn new(course: &'a Course, passage: &'a Passage<'a>) -> Self {
        Self {
            course,
            passage,
            closed: None,
            waiting: BTreeMap::new(),
            known: BTreeSet::new(),
            under_way: FuturesUnordered::new(),
            files: BTreeMap::new(),
        }
    }

    fn is_storing(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Takes in what has been stored, and goes on with what waits.
    async fn stored(&mut self) -> Result<(), WorkError> {
        if let Some(stored) = self.under_way.next().await {
            let stored = stored?;
            self.files.insert(stored.name.clone(), stored);
        }
        self.begin();
        Ok(())
    }

    fn begin(&mut self) {
        while self.under_way.len() < AT_ONCE {
            let Some((name, _)) = self.waiting.pop_first() else { return };
            self.under_way.push(Box::pin(carry(self.course, self.passage, name)));
        }
    }

    /// Nothing more of it is wanted.
    fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Looks which files the program is done with, and whether it may go on.
    fn take_finished(&mut self) -> Result<Pace, SpoolError> {
        for name in self.finished()? {
            self.add(name)?;
        }
        self.begin();
        let waiting: u64 = self.waiting.values().sum();
        if self.is_storing() && (waiting > WAITING || self.passage.spool.check_reserve().is_err()) {
            return Ok(Pace::StandsStill);
        }
        self.passage.spool.check_reserve()?;
        Ok(Pace::Runs)
    }

    /// Whatever is there once the program has ended.
    fn take_rest(&mut self) -> Result<(), SpoolError> {
        let folder = &self.passage.folder;
        let failed = |source| SpoolError::Use { path: folder.clone(), source };
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let strange = |name: &std::ffi::OsStr| SpoolError::Strange {
                program: "pg_dump",
                path: folder.clone(),
                name: name.to_string_lossy().into_owned(),
            };
            let name = name.to_str().ok_or_else(|| strange(&name))?.to_owned();
            if DumpFile::of_folder(self.passage.oid, &name).is_err() {
                return Err(strange(std::ffi::OsStr::new(&name)));
            }
            self.add(name)?;
        }
        self.begin();
        Ok(())
    }

    fn add(&mut self, name: String) -> Result<(), SpoolError> {
        let path = self.passage.folder.join(&name);
        if DumpFile::of_folder(self.passage.oid, &name).is_err() || !self.known.insert(name.clone())
        {
            return Ok(());
        }
        let size = std::fs::metadata(&path).map_err(|source| SpoolError::Use { path, source })?;
        self.waiting.insert(name, size.len());
        Ok(())
    }

    /// Files that were closed after writing: each is written once. Some that are missed here are found
    /// at the end.
    fn finished(&mut self) -> Result<Vec<String>, SpoolError> {
        let folder = &self.passage.folder;
        let failed = |errno: Errno| SpoolError::Use { path: folder.clone(), source: errno.into() };
        let Some(closed) = &self.closed else {
            // The program makes the folder.
            if folder.is_dir() {
                self.closed = Some(listen(folder).map_err(failed)?);
            }
            return Ok(Vec::new());
        };
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = inotify::Reader::new(closed, &mut buffer);
        let mut names = Vec::new();
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok());
                    names.extend(name.map(str::to_owned));
                }
                Err(Errno::AGAIN) => return Ok(names),
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
}

fn listen(folder: &Path) -> Result<OwnedFd, Errno> {
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    let closed = inotify::init(flags)?;
    inotify::add_watch(&closed, folder, inotify::WatchFlags::CLOSE_WRITE)?;
    Ok(closed)
}

/// Stores one file, and removes it here.
async fn carry(
    course: &Course,
    passage: &Passage<'_>,
    name: String,
) -> Result<DumpedFile, WorkError> {
    let path = passage.folder.join(&name);
    let failed =
        |source: io::Error| WorkError::Spool(SpoolError::Use { path: path.clone(), source });
    let file = DumpFile::of_folder(passage.oid, &name);
    let file = file.map_err(|error| failed(io::Error::other(error)))?;
    let mut from = File::open(&path).await.map_err(failed)?;
    let mut upload = passage.taking.upload(file).await?;
    let carried = async {
        loop {
            let mut piece = vec![0; PIECE];
            let length = from.read(&mut piece).await.map_err(failed)?;
            if length == 0 {
                return Ok(());
            }
            piece.truncate(length);
            upload.write(Bytes::from(piece)).await?;
            course.moved(length);
        }
    };
    if let Err(error) = carried.await {
        upload.abort().await;
        return Err(error);
    }
    let stored = upload.finish().await?;
    tokio::fs::remove_file(&path).await.map_err(failed)?;
    Ok(stored)
}
