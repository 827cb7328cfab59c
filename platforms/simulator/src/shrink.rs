//! Makes a failing schedule small: what is left is what it takes.
//!
//! Never changes the seed, and never trades one broken invariant for another.

use crate::faults::Fault;
use crate::run::Play;

/// How many runs a search may cost.
const RUNS: u32 = 600;

/// The smallest schedule found that breaks the same invariant.
pub fn shrink(play: &Play) -> Play {
    let Some(invariant) = broken_by(play) else { return play.clone() };
    let mut search = Search { best: play.clone(), invariant, left: RUNS };
    search.drop_faults();
    search.shorten();
    search.best
}

struct Search {
    best: Play,
    invariant: &'static str,
    left: u32,
}

impl Search {
    /// Leaves out chunks, then smaller ones, until no single fault can go.
    fn drop_faults(&mut self) {
        let mut chunk = self.best.faults.len().div_ceil(2).max(1);
        loop {
            let mut from = 0;
            let mut dropped = false;
            while from < self.best.faults.len() {
                let mut faults = self.best.faults.clone();
                let to = (from + chunk).min(faults.len());
                faults.drain(from..to);
                if self.accept(faults) {
                    dropped = true;
                } else {
                    from = to;
                }
            }
            if chunk == 1 && !dropped {
                return;
            }
            chunk = if dropped { chunk } else { chunk.div_ceil(2) };
            if self.left == 0 {
                return;
            }
        }
    }

    /// Halves how long each fault lasts, as long as that is enough.
    fn shorten(&mut self) {
        for index in 0..self.best.faults.len() {
            for _ in 0..4 {
                let mut faults = self.best.faults.clone();
                let Some(fault) = faults.get_mut(index) else { return };
                fault.lasts /= 2;
                if !self.accept(faults) {
                    break;
                }
            }
        }
    }

    fn accept(&mut self, faults: Vec<Fault>) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let candidate = Play { faults, ..self.best.clone() };
        let same = broken_by(&candidate) == Some(self.invariant);
        if same {
            self.best = candidate;
        }
        same
    }
}

fn broken_by(play: &Play) -> Option<&'static str> {
    let played = play.run().ok()?;
    played.violation.map(|violation| violation.invariant)
}
