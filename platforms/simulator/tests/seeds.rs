//! Seeds: no invariant is broken by any of them, and the same seed is the same run.
//!
//! Never depends on how fast the machine is.

#[cfg(test)]
mod seeds {
    use pgherd_simulator::explore::{Explored, Limits, explore};
    use pgherd_simulator::run::{Play, Setup};
    use std::time::Duration;

    fn run(from: u64, runs: u64) -> Explored {
        let limits = Limits { from, runs, lasts: None, keep_going: false };
        explore(limits, || Duration::ZERO, |seed| Play::drawn(seed, Setup::of_seed(seed)))
    }

    #[test]
    fn a_thousand_seeds_break_nothing() {
        let explored = run(1, 1_000);
        let first = explored.failures.first();
        assert!(first.is_none(), "seed {:?}", first.map(|(play, why)| (play.config.seed, why)));
        assert!(explored.figures.promotions > 1_000, "the seeds hardly did anything");
    }

    #[test]
    fn the_same_seed_is_the_same_run() {
        for seed in 1..=20 {
            let play = || Play::drawn(seed, Setup::of_seed(seed)).run().unwrap();
            assert_eq!(play(), play(), "seed {seed}");
        }
    }
}
