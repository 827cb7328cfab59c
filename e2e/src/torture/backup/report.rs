//! Says what was done and whether a promise was broken.
//!
//! Never counts as well what could not be verified.

use super::plan::Planned;
use anyhow::Result;
use pgherd_local::ledger::Findings;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One round as it happened.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    pub number: usize,
    pub planned: Planned,
    pub seconds: f64,
    /// What became of what was going on.
    pub outcome: String,
    pub problem: Option<String>,
}

impl Told {
    pub(super) fn new(
        number: usize,
        planned: Planned,
        took: Duration,
        done: Result<String>,
    ) -> Self {
        let (outcome, problem) = match done {
            Ok(outcome) => (outcome, None),
            Err(error) => (String::new(), Some(format!("{error:#}"))),
        };
        Self { number, planned, seconds: took.as_secs_f64(), outcome, problem }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}  {}: {}", self.number, self.planned, self.outcome)?;
        if let Some(problem) = &self.problem {
            write!(f, "PROBLEM: {problem}")?;
        }
        write!(f, " ({:.1}s)", self.seconds)
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub seed: u64,
    pub seconds: f64,
    pub rounds: Vec<Told>,
    pub acknowledged: u64,
    pub lost: u64,
    /// Files of the log that PostgreSQL was told are archived, since backups were removed last.
    pub segments: usize,
    /// Restores whose rows were counted.
    pub restores: usize,
    pub problems: Vec<String>,
    pub logs: Option<PathBuf>,
}

impl Report {
    pub(super) fn begin(seed: u64) -> Self {
        Self {
            seed,
            seconds: 0.0,
            rounds: Vec::new(),
            acknowledged: 0,
            lost: 0,
            segments: 0,
            restores: 0,
            problems: Vec::new(),
            logs: None,
        }
    }

    pub(super) fn add(&mut self, told: Told) {
        let problem = told.problem.as_ref().map(|what| format!("round {}: {what}", told.number));
        self.problems.extend(problem);
        self.rounds.push(told);
    }

    pub(super) fn judge(&mut self, findings: &Findings) {
        self.acknowledged = findings.acknowledged;
        self.lost = findings.lost.count;
        if !findings.is_flawless() {
            self.problems.push(format!("promises were broken: {findings}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, seconds, acknowledged, lost, restores, .. } = self;
        writeln!(f, "seed {seed}: {} rounds in {seconds:.0}s", rounds.len())?;
        writeln!(f, "{acknowledged} rows acknowledged, {lost} lost; {restores} restores counted")?;
        for problem in &self.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        match &self.logs {
            Some(logs) => writeln!(f, "logs are in {}", logs.display()),
            None => writeln!(f, "every promise was kept"),
        }
    }
}
