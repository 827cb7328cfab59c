//! Seeds: no invariant is broken with the rules, and some is without one of them.
//!
//! Never depends on how fast the machine is.

#[cfg(test)]
mod seeds {
    use pgherd_core::rules::Rule;
    use pgherd_simulator::explore::{Explored, Limits, explore};
    use pgherd_simulator::run::{Play, Setup};
    use std::time::Duration;

    fn run(from: u64, runs: u64, mutant: Option<Rule>) -> Explored {
        let limits = Limits { from, runs, lasts: None, keep_going: false };
        explore(
            limits,
            || Duration::ZERO,
            |seed| Play { mutant, ..Play::drawn(seed, Setup::of_seed(seed)) },
        )
    }

    #[test]
    fn a_thousand_seeds_break_nothing() {
        let explored = run(1, 1_000, None);
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

    /// Those that seeds alone find; what the others need is in docs/simulator.md.
    #[test]
    fn the_absence_of_a_rule_is_noticed() {
        for rule in [
            Rule::ConfirmBeforeNarrow,
            Rule::OwnGrantBindsClaim,
            Rule::RecordBeforeObey,
            Rule::RewindWhenDiverged,
            Rule::GateUntilConfirmed,
            Rule::NotBehind,
            Rule::ResendOutstanding,
            Rule::FenceOnHigherEpoch,
        ] {
            let explored = run(1, 400, Some(rule));
            assert!(!explored.failures.is_empty(), "nobody noticed that {rule:?} was gone");
        }
    }
}
