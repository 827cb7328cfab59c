//! Measures base backups, restores and the archiving of log, beside other products and beside what
//! the machine itself can do, all in one run.
//!
//! Never measures two programs at once.

mod bases;
mod cost;
pub mod engine;
mod log;
mod peers;
mod subject;
mod table;

use crate::object_store::ObjectStore;
use crate::rig::{Site, pgherd};
use crate::run;
use anyhow::Result;
use cost::{Cost, Meter};
use engine::{Asked, Packing};
use log::{Archived, Archiver, Waiting};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use subject::Subject;

pub use table::Table;

const PROVED_WITHIN: Duration = Duration::from_hours(1);

/// What shall be measured.
pub struct Plan {
    pub gigabytes: u64,
    /// Also what takes a minute for each gigabyte.
    pub slow: Slow,
    pub site: Site,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    LeftOut,
    Measured,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    Backup,
    /// Of a few pages that have changed.
    Increment,
    Restore,
    /// Over what is there, and has not changed.
    RestoreAgain,
    Archive,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    Pgherd,
    /// With a look at every page.
    PgherdByScan,
    PgBackRest,
    BarmanCloud,
    /// What no program can do without.
    Floor,
}

/// What one act cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    pub act: Act,
    /// How it was packed and where to: figures of one kind can be compared.
    pub kind: String,
    pub who: Who,
    pub seconds: f64,
    pub processor_seconds: f64,
    /// Of the object store meanwhile.
    pub store_seconds: f64,
    /// What all its processes had at once, without what the kernel keeps of files.
    pub memory: u64,
    /// What was read or written of the cluster.
    pub bytes: u64,
    /// What the repository holds of it.
    pub stored: u64,
    /// For each file of the log.
    pub wait: Option<Wait>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    pub p50_milliseconds: f64,
    pub p95_milliseconds: f64,
}

/// Measures all of it; `tell` hears of each figure as it is known.
pub fn run(plan: &Plan, tell: impl FnMut(&Figure)) -> Result<Vec<Figure>> {
    let subject = Subject::make(plan.gigabytes, &plan.site)?;
    let bytes = size(&subject.data())?;
    let store = ObjectStore::start()?;
    let mut bench = Bench { subject, store, bytes, figures: Vec::new(), tell };
    for packing in [Packing::Zstd, Packing::Lz4] {
        bench.beside_backrest(packing)?;
    }
    bench.plain_copies()?;
    bench.increments()?;
    for packing in [Packing::Plain, Packing::Gzip] {
        bench.ours_on_s3(packing)?;
    }
    bench.barman(Packing::Plain)?;
    if plan.slow == Slow::Measured {
        bench.barman(Packing::Gzip)?;
    }
    Ok(bench.figures)
}

struct Bench<Tell> {
    subject: Subject,
    store: ObjectStore,
    bytes: u64,
    figures: Vec<Figure>,
    tell: Tell,
}

impl<Tell: FnMut(&Figure)> Bench<Tell> {
    /// Through an agent's archiver, by the command that PostgreSQL runs.
    fn archive_ours(&mut self, asked: Asked, kind: &str, files: &Path) -> Result<()> {
        let waiting = self.waiting(usize::MAX)?;
        let program = pgherd::program()?;
        let before = (self.store_time()?, size(files)?);
        let meter = self.meter()?;
        let socket = engine::socket(&waiting.data);
        let asked = Asked { data: waiting.data.clone(), ..asked };
        let archiver = Archiver::start(asked.command()?, &socket)?;
        let command = |name: &str| {
            let mut command = Command::new(&program);
            command.args(["wal-archive", "--socket"]).arg(&socket).arg(format!("pg_wal/{name}"));
            command
        };
        let archived = waiting.archive(meter, command, || archiver.end())?;
        let store = self.store_time()?.saturating_sub(before.0);
        self.note_archived((kind, Who::Pgherd), (archived, store), files)
    }

    /// PostgreSQL's own tool compares every file with the manifest of the backup.
    fn prove(&self, restored: &Path) -> Result<()> {
        let mut verify = Command::new("chown");
        verify.args(["-R", "--reference"]).arg(self.subject.data()).arg(restored);
        run::succeed(verify, PROVED_WITHIN)?;
        let mut verify = self.subject.program("pg_verifybackup");
        verify.arg("-n").arg(restored);
        run::succeed(verify, PROVED_WITHIN).map(drop)
    }

    fn target(&self) -> PathBuf {
        self.subject.root().join("restored")
    }

    fn waiting(&self, most: usize) -> Result<Waiting> {
        let segments = &self.subject.segments;
        let some = segments.get(..most.min(segments.len())).unwrap_or_default();
        Waiting::prepare(self.subject.root(), &self.subject.data(), some)
    }

    fn shell(&self, script: &str, words: &[&Path]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).args(words).current_dir(self.subject.root());
        command
    }

    fn meter(&self) -> Result<Meter> {
        // What was written before is not what is measured.
        rustix::fs::sync();
        Meter::begin(&self.spared())
    }

    fn spared(&self) -> Vec<u32> {
        let server = self.subject.server().ok();
        self.store.process().into_iter().chain(server).collect()
    }

    fn store_time(&self) -> Result<Duration> {
        self.store.process().map_or(Ok(Duration::ZERO), cost::processor)
    }

    fn measure(&mut self, what: (Act, &str, Who), command: Command, stored: &Path) -> Result<()> {
        rustix::fs::sync();
        let before = self.store_time()?;
        let cost = cost::of(command, &self.spared())?;
        let store = self.store_time()?.saturating_sub(before);
        self.note(what, (cost, store), stored, None)
    }

    fn note_archived(
        &mut self,
        (kind, who): (&str, Who),
        (archived, store): (Archived, Duration),
        stored: &Path,
    ) -> Result<()> {
        let at = |percent: usize| {
            let rank = (archived.waits.len() * percent).div_ceil(100).max(1);
            archived.waits.get(rank - 1).map_or(0.0, |wait| wait.as_secs_f64() * 1000.0)
        };
        let wait = Wait { p50_milliseconds: at(50), p95_milliseconds: at(95) };
        let bytes = archived.waits.len() as u64 * SEGMENT;
        self.note((Act::Archive, kind, who), (archived.cost, store), stored, Some((wait, bytes)))
    }

    fn note(
        &mut self,
        (act, kind, who): (Act, &str, Who),
        (cost, store): (Cost, Duration),
        stored: &Path,
        archived: Option<(Wait, u64)>,
    ) -> Result<()> {
        let figure = Figure {
            act,
            kind: kind.to_owned(),
            who,
            seconds: cost.wall.as_secs_f64(),
            processor_seconds: cost.processor.as_secs_f64(),
            store_seconds: store.as_secs_f64(),
            memory: cost.memory,
            bytes: archived.map_or(self.bytes, |(_, bytes)| bytes),
            stored: size(stored)?,
            wait: archived.map(|(wait, _)| wait),
        };
        (self.tell)(&figure);
        self.figures.push(figure);
        Ok(())
    }
}

const SEGMENT: u64 = 16 << 20;

/// Of all files below; nothing is as large as nothing.
fn size(path: &Path) -> Result<u64> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(0) };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let entries = fs::read_dir(path)?.map(|entry| size(&entry?.path()));
    entries.sum()
}
