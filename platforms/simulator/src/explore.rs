//! Runs many seeds on all cores and collects what failed.
//!
//! Never lets real time into a run: only the number of runs depends on it.

use crate::checker::Violation;
use crate::figures::Figures;
use crate::run::{Play, Played};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub from: u64,
    pub runs: u64,
    /// Instead of a number of runs.
    pub lasts: Option<Duration>,
    /// Otherwise the first failure ends it.
    pub keep_going: bool,
}

#[derive(Debug, Default)]
pub struct Explored {
    pub runs: u64,
    pub cores: usize,
    pub elapsed: Duration,
    /// Virtual time, all in all.
    pub simulated: u64,
    pub figures: Figures,
    /// In the order of their seeds.
    pub failures: Vec<(Play, Violation)>,
}

impl Explored {
    #[expect(clippy::cast_precision_loss, reason = "for reading only")]
    pub fn per_second(&self) -> f64 {
        let spent = self.elapsed.as_secs_f64() * self.cores as f64;
        self.runs as f64 / spent.max(1e-9)
    }

    fn add(&mut self, play: Play, played: Played) {
        self.runs += 1;
        self.simulated += play.config.ends_at;
        self.figures.add(&played.figures);
        if let Some(violation) = played.violation {
            self.failures.push((play, violation));
        }
    }
}

/// Runs `play` of seed after seed until a limit is reached; `spent` is a stopwatch.
pub fn explore(
    limits: Limits,
    spent: impl Fn() -> Duration + Sync,
    play: impl Fn(u64) -> Play + Sync,
) -> Explored {
    let next = AtomicU64::new(limits.from);
    let explored = Mutex::new(Explored::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let over = |seed: u64| match limits.lasts {
        Some(lasts) => spent() >= lasts,
        None => seed >= limits.from + limits.runs,
    };
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let failed = |explored: &Explored| !explored.failures.is_empty() && !limits.keep_going;
        if over(seed) || failed(&explored.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let play = play(seed);
        if let Ok(played) = play.run() {
            explored.lock().unwrap_or_else(PoisonError::into_inner).add(play, played);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut explored = explored.into_inner().unwrap_or_else(PoisonError::into_inner);
    explored.cores = cores;
    explored.elapsed = spent();
    explored.failures.sort_by_key(|(play, _)| play.config.seed);
    explored
}
