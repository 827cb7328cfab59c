//! What one act cost, and all that is known of acts so far.
//!
//! Never measures.

use super::cost::Cost;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Takes a full base backup.
    Backup,
    /// Takes what has changed since, a few pages.
    Increment,
    /// Restores into an empty folder.
    Restore,
    /// Restores over what is there, and has not changed.
    RestoreAgain,
    /// Stores finished segments of the log.
    Archive,
    /// Tells PostgreSQL of segments that are stored already.
    Answer,
    /// Recovers: PostgreSQL replays segments that it fetches.
    Replay,
    /// Stores log while it is written: how long after the flush.
    Lag,
    /// Writes while log is stored: how fast.
    Write,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    Pgherd,
    /// With a look at every page.
    PgherdByScan,
    /// Only segments that are finished.
    PgherdUnstreamed,
    PgBackRest,
    BarmanCloud,
    /// `cp`, where the floor is less than that.
    Copy,
    /// What no program can do without.
    Floor,
}

/// Beside whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Peer {
    #[value(name = "pgbackrest")]
    PgBackRest,
    BarmanCloud,
}

/// What one act cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    pub act: Act,
    /// How it was packed, where to, and under which load: figures of one kind can be compared.
    pub kind: String,
    pub who: Who,
    pub seconds: f64,
    /// Of all that was started; of the whole machine while something is written.
    pub processor_seconds: f64,
    /// Of the object store meanwhile.
    pub store_seconds: f64,
    /// What all its processes had at once, without what the kernel keeps of files; not known while
    /// something is written.
    pub memory: Option<u64>,
    /// What was read or written of the cluster.
    pub bytes: u64,
    /// What the repository holds of it.
    pub stored: u64,
    /// For each file of the log, or for each look at what is flushed.
    pub wait: Option<Wait>,
    /// Of clients.
    pub transactions_per_second: Option<f64>,
}

/// How waits are spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    pub count: usize,
    pub mean_milliseconds: f64,
    pub p50_milliseconds: f64,
    pub p95_milliseconds: f64,
    pub p99_milliseconds: f64,
    pub max_milliseconds: f64,
}

impl Wait {
    /// None of nothing.
    pub(super) fn of(mut waits: Vec<Duration>) -> Option<Self> {
        waits.sort_unstable();
        let milliseconds = |wait: Duration| wait.as_secs_f64() * 1000.0;
        let at = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            waits.get(rank - 1).copied().map(milliseconds)
        };
        let count = u32::try_from(waits.len()).ok().filter(|count| *count > 0)?;
        Some(Self {
            count: waits.len(),
            mean_milliseconds: milliseconds(waits.iter().sum::<Duration>() / count),
            p50_milliseconds: at(50)?,
            p95_milliseconds: at(95)?,
            p99_milliseconds: at(99)?,
            max_milliseconds: at(100)?,
        })
    }
}

impl Figure {
    /// Of programs that a meter watched.
    pub(super) fn of((act, kind, who): (Act, &str, Who), cost: Cost, store: Duration) -> Self {
        Self {
            act,
            kind: kind.to_owned(),
            who,
            seconds: cost.wall.as_secs_f64(),
            processor_seconds: cost.processor.as_secs_f64(),
            store_seconds: store.as_secs_f64(),
            memory: Some(cost.memory),
            bytes: 0,
            stored: 0,
            wait: None,
            transactions_per_second: None,
        }
    }
}

/// What is to be measured and beside whom, and who is told.
pub(super) struct Figures<Tell> {
    pub(super) wanted: BTreeSet<Act>,
    pub(super) peers: BTreeSet<Peer>,
    pub(super) tell: Tell,
}

impl<Tell: FnMut(Figure)> Figures<Tell> {
    pub(super) fn want(&self, any: &[Act]) -> bool {
        any.iter().any(|act| self.wanted.contains(act))
    }

    pub(super) fn beside(&self, peer: Peer) -> bool {
        self.peers.contains(&peer)
    }

    pub(super) fn add(&mut self, figure: Figure) {
        (self.tell)(figure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_told_by_rank() {
        let waits = (1..=200).rev().map(Duration::from_millis).collect();
        let wait = Wait::of(waits).unwrap();
        let told = (wait.p50_milliseconds, wait.p95_milliseconds, wait.p99_milliseconds);
        assert_eq!(told, (100.0, 190.0, 198.0));
        assert_eq!(
            (wait.count, wait.mean_milliseconds, wait.max_milliseconds),
            (200, 100.5, 200.0)
        );
        assert_eq!(Wait::of(Vec::new()), None);
    }
}
