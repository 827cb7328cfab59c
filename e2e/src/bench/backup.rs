//! Measures base backups, restores and the archiving of log, beside other products and beside what
//! the machine itself can do, all in one run.
//!
//! Never measures two programs at once.

mod bases;
mod cost;
pub mod engine;
mod figure;
mod lag;
mod log;
mod peers;
mod primary;
mod replay;
mod subject;
mod table;
mod writing;

use crate::object_store::ObjectStore;
use crate::rig::{Site, pgherd};
use crate::run;
use anyhow::{Context, Result};
use cost::Meter;
use engine::{Asked, Packing};
use figure::Figures;
use log::{Agent, Archived, Waiting};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use subject::Subject;

pub use figure::{Act, Figure, Peer, Wait, Who};
pub use table::Table;

const PROVED_WITHIN: Duration = Duration::from_hours(1);
/// What is measured with a cluster that stands still, or recovers.
const AT_REST: [Act; 7] = [
    Act::Backup,
    Act::Increment,
    Act::Restore,
    Act::RestoreAgain,
    Act::Archive,
    Act::Answer,
    Act::Replay,
];

/// What shall be measured.
pub struct Plan {
    pub gigabytes: u64,
    /// Also what takes a minute for each gigabyte.
    pub slow: Slow,
    pub acts: BTreeSet<Act>,
    pub peers: BTreeSet<Peer>,
    /// How long clients write at full speed.
    pub writing: Duration,
    pub site: Site,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    LeftOut,
    Measured,
}

/// Measures all of it; `tell` is given each figure as it is known.
pub fn run(plan: &Plan, tell: impl FnMut(Figure)) -> Result<()> {
    for peer in &plan.peers {
        peers::look_for(*peer)?;
    }
    let (wanted, peers) = (plan.acts.clone(), plan.peers.clone());
    let mut figures = Figures { wanted, peers, tell };
    if figures.want(&[Act::Lag, Act::Write]) {
        writing::measure(plan, &mut figures)?;
    }
    if !figures.want(&AT_REST) {
        return Ok(());
    }
    let subject = Subject::make(plan.gigabytes, &plan.site)?;
    // No backup has its log, but for what is needed to begin.
    let data = subject.data();
    let bytes = size(&data)?.saturating_sub(size(&data.join("pg_wal"))?);
    let store = ObjectStore::start()?;
    let mut bench = Bench { subject, store, bytes, figures };
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
    bench.replay()
}

struct Bench<Tell> {
    subject: Subject,
    store: ObjectStore,
    bytes: u64,
    figures: Figures<Tell>,
}

impl<Tell: FnMut(Figure)> Bench<Tell> {
    /// An agent's archiver, and the command that PostgreSQL runs.
    fn archiver(asked: Asked, waiting: &Waiting) -> Result<(Agent, impl Fn(&str) -> Command)> {
        let program = pgherd::program()?;
        let socket = engine::socket(&waiting.data);
        let asked = Asked { data: waiting.data.clone(), ..asked };
        let agent = Agent::start(asked.command()?, &socket)?;
        let command = move |name: &str| {
            let mut command = Command::new(&program);
            command.args(["wal-archive", "--socket"]).arg(&socket).arg(format!("pg_wal/{name}"));
            command
        };
        Ok((agent, command))
    }

    /// All of it, by the command that PostgreSQL runs.
    fn archive_ours(&self, asked: Asked, waiting: &Waiting) -> Result<Archived> {
        let meter = self.meter()?;
        let (agent, push) = Self::archiver(asked, waiting)?;
        waiting.archive(meter, push, || agent.end())
    }

    /// PostgreSQL's own tool compares every file with the manifest of the backup.
    fn prove(&self, restored: &Path) -> Result<()> {
        self.subject.give_all_away(restored)?;
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

    /// What is not asked for is done all the same: something else needs what comes of it.
    fn measure(&mut self, what: (Act, &str, Who), command: Command, stored: &Path) -> Result<()> {
        if !self.figures.want(&[what.0]) {
            return run::succeed(command, PROVED_WITHIN).map(drop);
        }
        rustix::fs::sync();
        let before = self.store_time()?;
        let cost = cost::of(command, &self.spared())?;
        let store = self.store_time()?.saturating_sub(before);
        let figure = Figure::of(what, cost, store);
        self.figures.add(Figure { bytes: self.bytes, stored: size(stored)?, ..figure });
        Ok(())
    }

    fn note_archived(
        &mut self,
        (kind, who): (&str, Who),
        (archived, store): (Archived, Duration),
        stored: &Path,
    ) -> Result<()> {
        let figure = Figure::of((Act::Archive, kind, who), archived.cost, store);
        self.figures.add(Figure {
            bytes: archived.waits.len() as u64 * SEGMENT,
            stored: size(stored)?,
            wait: Wait::of(archived.waits),
            ..figure
        });
        Ok(())
    }

    fn note_answers(&mut self, (kind, who): (&str, Who), told: Archived) {
        let figure = Figure::of((Act::Answer, kind, who), told.cost, Duration::ZERO);
        self.figures.add(Figure { wait: Wait::of(told.waits), ..figure });
    }
}

const SEGMENT: u64 = 16 << 20;

/// A folder with all that is in it, if it is there.
fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The same for a file.
fn remove_file(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Of all files below; nothing is as large as nothing.
fn size(path: &Path) -> Result<u64> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(0) };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let entries = fs::read_dir(path)?.map(|entry| size(&entry?.path()));
    entries.sum()
}
