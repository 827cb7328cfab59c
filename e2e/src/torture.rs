//! Attacks a real cluster while a client writes, then compares what it was promised with what is
//! there.
//!
//! Never excuses a lost commit by the fault that lost it.

pub mod backup;
mod evidence;
mod report;
mod schedule;
mod storm;

use crate::rig::Rig;
use crate::rig::Site;
use crate::rig::pgherd::{Mode, Pgherd};
use anyhow::Result;
use pgherd_local::ledger::{Ledger, Settings, Watch};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use storm::Storm;
use tokio::runtime::Handle;

pub use report::{Report, Told};
pub use schedule::{Act, Next, Planned, Target, schedule};

const WRITES_WITHIN: Duration = Duration::from_mins(1);
const VERIFIED_WITHIN: Duration = Duration::from_mins(5);
/// How often each server is asked whether it is open for writing.
const WATCH_EVERY: Duration = Duration::from_millis(100);

/// What shall be done.
#[derive(Debug, Clone)]
pub struct Asked {
    pub faults: usize,
    /// No fault begins later than this after the start.
    pub within: Option<Duration>,
    pub seed: u64,
    pub mode: Mode,
    pub site: Site,
}

/// Does it; `tell` hears of each fault when it is over. The report says whether all is well, and
/// where the logs are if not.
pub fn run(asked: &Asked, runtime: &Handle, tell: impl FnMut(&Told)) -> Result<Report> {
    let began = Instant::now();
    let pgherd = Pgherd::start(asked.mode, &asked.site)?;
    let outside = tempfile::tempdir()?;
    let book = outside.path().join("book");
    let address = pgherd.address()?;
    let watch = Watch::start(&address, WATCH_EVERY)?;
    let ledger = Ledger::start(Settings::new(address, book.clone()), WRITES_WITHIN);
    let ledger = runtime.block_on(ledger)?;
    let mut storm = Storm::new(&pgherd, &ledger, runtime, tell);
    let until = asked.within.map(|within| began + within);
    let ended = storm.rage(&schedule(asked.seed, asked.faults), asked.seed, until);
    let trail = storm.trail();
    crate::wait::go_on()?;
    let mut report = Report::begin(asked, trail, began);
    if let Err(error) = ended {
        report.problem(format!("{error:#}"));
    }
    let judged = runtime.block_on(async { ledger.stop().await?.verify(VERIFIED_WITHIN).await });
    match judged {
        Ok(findings) => report.judge(asked.mode, &findings),
        Err(error) => {
            report.problem(format!("not verified: {:#}", anyhow::Error::from(error)));
        }
    }
    report.see(&watch.reigns());
    report.read(&evidence::epochs(&pgherd)?);
    if !report.problems.is_empty() {
        report.logs = Some(keep(asked, &pgherd, &book, &report)?);
    }
    Ok(report)
}

fn keep(asked: &Asked, pgherd: &Pgherd, book: &Path, report: &Report) -> Result<PathBuf> {
    let name = format!("pgherd-torture-{}-{}", asked.seed, std::process::id());
    let folder = std::env::temp_dir().join(name);
    evidence::keep(&folder, pgherd, book)?;
    std::fs::write(folder.join("report.txt"), report.to_string())?;
    Ok(folder)
}
