//! Says what was done to a cluster, what a client felt, and whether any promise was broken.
//!
//! Never counts as well what could not be verified.

use super::Asked;
use super::schedule::{Act, Planned};
use crate::rig::pgherd::Mode;
use pgherd_local::ledger::{Findings, Overlap, Reign, overlaps, reigns_on_shared_timelines};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A process that was frozen may still be seen writing for so long after it was thawed.
const THAWING: Duration = Duration::from_secs(2);

/// One fault as it happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    pub number: u64,
    /// After the first of all.
    pub at_milliseconds: u64,
    pub act: Act,
    pub instance: String,
    /// What the instance was when it was hit.
    pub role: String,
    pub lasts_milliseconds: u64,
    /// Why it did not happen as planned.
    pub note: Option<String>,
    /// Of this one and those before it that had not settled: the longest time without an
    /// acknowledgement, and how long after their end the cluster was in order.
    pub outage_milliseconds: Option<u64>,
    pub in_order_milliseconds: Option<u64>,
}

/// All that happened.
#[derive(Debug)]
pub(super) struct Trail {
    pub(super) began: Instant,
    pub(super) told: Vec<Told>,
    pub(super) frozen: Vec<Frozen>,
}

/// When processes of an instance were frozen.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) instance: String,
    pub(super) from: Instant,
    pub(super) to: Option<Instant>,
}

/// What a torture found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub seed: u64,
    pub mode: Mode,
    pub seconds: f64,
    pub faults: Vec<Told>,
    pub acknowledged: u64,
    pub lost: u64,
    pub unknown: u64,
    /// What the ledger found, in words.
    pub found: String,
    /// How many epochs there were, by the instances' own logs.
    pub epochs: usize,
    /// Two servers open for writing at once, in different epochs: how often while one of them had
    /// been frozen, how often else, and the longest time of each.
    pub overlaps_frozen: Overlaps,
    pub overlaps_awake: Overlaps,
    /// Every broken promise; empty when there is none.
    pub problems: Vec<String>,
    /// Where logs were kept, when there are problems.
    pub logs: Option<PathBuf>,
    #[serde(skip)]
    frozen: Vec<Frozen>,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overlaps {
    pub count: u64,
    pub longest_milliseconds: u64,
}

impl Overlaps {
    fn add(&mut self, overlap: &Overlap) {
        self.count += 1;
        self.longest_milliseconds = self.longest_milliseconds.max(milliseconds(overlap.length));
    }
}

impl Told {
    pub(super) fn new(
        (number, after): (u64, Duration),
        planned: Planned,
        (instance, role): (&str, &str),
        note: Option<String>,
    ) -> Self {
        Self {
            number,
            at_milliseconds: milliseconds(after),
            act: planned.act,
            instance: instance.to_owned(),
            role: role.to_owned(),
            lasts_milliseconds: milliseconds(planned.lasts),
            note,
            outage_milliseconds: None,
            in_order_milliseconds: None,
        }
    }

    pub(super) fn in_order(&mut self, outage: Duration, after: Duration) {
        self.outage_milliseconds = Some(milliseconds(outage));
        self.in_order_milliseconds = Some(milliseconds(after));
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = format!("{} {}", self.instance, self.role);
        let act = self.act.to_string();
        write!(f, "{:>4}  {act:<16}{:<18}", self.number, whom.trim_end())?;
        write!(f, "{:>7}", format!("{:.1}s", seconds(self.lasts_milliseconds)))?;
        match (self.outage_milliseconds, self.in_order_milliseconds) {
            (Some(outage), Some(after)) => {
                let (outage, after) = (seconds(outage), seconds(after));
                write!(f, "   outage {outage:.2}s, in order {after:.1}s after")?;
            }
            _ => write!(f, "   ...")?,
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}

impl Trail {
    pub(super) fn begin(now: Instant) -> Self {
        Self { began: now, told: Vec::new(), frozen: Vec::new() }
    }
}

impl Report {
    pub(super) fn begin(asked: &Asked, trail: Trail, began: Instant) -> Self {
        Self {
            seed: asked.seed,
            mode: asked.mode,
            seconds: began.elapsed().as_secs_f64(),
            faults: trail.told,
            acknowledged: 0,
            lost: 0,
            unknown: 0,
            found: String::new(),
            epochs: 0,
            overlaps_frozen: Overlaps::default(),
            overlaps_awake: Overlaps::default(),
            problems: Vec::new(),
            logs: None,
            frozen: trail.frozen,
        }
    }

    pub(super) fn problem(&mut self, what: String) {
        self.problems.push(what);
    }

    /// What the client was promised against what is there.
    pub(super) fn judge(&mut self, mode: Mode, findings: &Findings) {
        self.acknowledged = findings.acknowledged;
        self.lost = findings.lost.count;
        self.unknown = findings.unknown;
        self.found = findings.to_string();
        // Asynchronous replication promises no more than to lose little.
        let may_lose = mode == Mode::Async;
        let is_kept = if may_lose { findings.is_consistent() } else { findings.is_flawless() };
        if !is_kept {
            self.problem(format!("promises were broken: {findings}"));
        }
    }

    /// What the servers were seen to be.
    pub(super) fn see(&mut self, reigns: &[Reign]) {
        for (timeline, hosts) in reigns_on_shared_timelines(reigns) {
            self.problem(format!("servers {hosts:?} were open for writing on timeline {timeline}"));
        }
        for overlap in overlaps(reigns) {
            if self.was_frozen(&overlap) {
                self.overlaps_frozen.add(&overlap);
            } else {
                self.overlaps_awake.add(&overlap);
            }
        }
    }

    fn was_frozen(&self, overlap: &Overlap) -> bool {
        // Hosts stand in the order of the instances' numbers.
        let number = format!("-{}", overlap.older.host + 1);
        let end = overlap.from + overlap.length;
        self.frozen.iter().filter(|frozen| frozen.instance.ends_with(&number)).any(|frozen| {
            frozen.from <= end && frozen.to.is_none_or(|to| overlap.from <= to + THAWING)
        })
    }

    /// What the instances themselves wrote into their logs.
    pub(super) fn read(&mut self, epochs: &BTreeMap<u64, BTreeSet<String>>) {
        self.epochs = epochs.len();
        for (epoch, instances) in epochs.iter().filter(|(_, instances)| instances.len() > 1) {
            self.problem(format!("epoch {epoch} was served by {instances:?}"));
        }
        if epochs.is_empty() {
            self.problem("no instance's log tells of an epoch".to_owned());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, mode) = (self.faults.len(), self.mode.words());
        writeln!(f, "seed {}, {mode}: {count} faults in {:.0}s", self.seed, self.seconds)?;
        writeln!(f, "{}", self.found)?;
        let mut worst: Vec<&Told> = self.faults.iter().collect();
        worst.sort_by_key(|one| std::cmp::Reverse(one.outage_milliseconds));
        for one in worst.iter().take(3).filter(|one| one.outage_milliseconds.is_some()) {
            writeln!(f, "among the longest outages: {one}")?;
        }
        let Overlaps { count, longest_milliseconds } = self.overlaps_frozen;
        writeln!(f, "{} epochs, each of one instance unless said below", self.epochs)?;
        writeln!(
            f,
            "two open for writing at once, in different epochs: {count} after a freeze \
             (longest {longest_milliseconds} ms), {} else (longest {} ms)",
            self.overlaps_awake.count, self.overlaps_awake.longest_milliseconds
        )?;
        for problem in &self.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        match &self.logs {
            Some(logs) => writeln!(f, "logs are in {}", logs.display()),
            None => writeln!(f, "every promise was kept"),
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}
