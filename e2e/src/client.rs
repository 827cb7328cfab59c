//! The client of the proofs on Kubernetes: writes numbered rows from a pod of its own and says how
//! long it had to wait.
//!
//! Never believes the cluster: at its end it compares what it was told with what it finds.

use anyhow::{Context, Result};
use pgherd_local::ledger::{Address, Ledger, Settings};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// It ends when a file of this name appears in its folder: see [`ask_to_stop`].
const STOP: &str = "stop";
const EVERY: Duration = Duration::from_millis(100);
/// Until the first row, while a cluster comes up.
const FIRST: Duration = Duration::from_mins(3);
const VERIFY: Duration = Duration::from_mins(1);
/// A server that does not answer a dial this soon is not waited for.
const DIAL: Duration = Duration::from_millis(250);
/// A session waits for its answer longer than any fault lasts.
const SESSION_WAITS: Duration = Duration::from_mins(10);

/// As whom it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Manner {
    /// An application: four connections, none of which waits long for an answer.
    Application,
    /// One open session, which stays as long as its server lets it.
    Session,
}

/// One line of its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// How it goes.
    Beat {
        /// Milliseconds since 1970, on the client's clock.
        at: u64,
        acknowledged: u64,
        /// Refused, or never answered.
        failed: u64,
        /// When the last row was acknowledged, on the same clock.
        last: u64,
        /// The longest time without an acknowledged row that ended since the last beat, or goes on.
        gap_milliseconds: u64,
        /// When that time ended.
        gap_until: u64,
    },
    /// What it found at the end.
    Verdict { acknowledged: u64, unknown: u64, lost: u64, wrong: bool },
}

/// Writes until it is asked to stop, then judges; its book lies in the folder.
pub async fn write(uri: &str, manner: Manner, folder: &Path) -> Result<()> {
    let address = Address::parse(uri).context("reading the address in URI")?;
    let mut settings = Settings::new(address, folder.join("book"));
    settings.dial_within = DIAL;
    if manner == Manner::Session {
        settings.writers = 1;
        settings.answer_within = SESSION_WAITS;
    }
    let ledger = Ledger::start(settings, FIRST).await.context("beginning to write")?;
    let mut since = Instant::now();
    while !folder.join(STOP).exists() {
        tokio::time::sleep(EVERY).await;
        let gap = ledger.longest_gap(since);
        since = Instant::now();
        let at = now_milliseconds();
        let before = |moment: Instant| at.saturating_sub(milliseconds(since - moment.min(since)));
        let counts = ledger.counts();
        say(&Line::Beat {
            at,
            acknowledged: counts.acknowledged,
            failed: counts.refused + counts.unknown,
            last: ledger.rhythm().last().map_or(0, before),
            gap_milliseconds: milliseconds(gap.length()),
            gap_until: before(gap.to),
        })?;
    }
    let found = ledger.stop().await?.verify(VERIFY).await.context("comparing")?;
    say(&Line::Verdict {
        acknowledged: found.acknowledged,
        unknown: found.unknown,
        lost: found.lost.count,
        wrong: !found.is_consistent(),
    })
}

/// Lets the client whose folder this is come to its end.
pub fn ask_to_stop(folder: &Path) -> Result<()> {
    std::fs::write(folder.join(STOP), "").context("asking the client to stop")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub fn now_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::print_stdout, reason = "its lines are read as the log of its pod")]
fn say(line: &Line) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}
