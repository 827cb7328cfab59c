//! The mutation gate: without any one of its rules the protocol breaks, and something notices.
//!
//! Never takes another broken invariant for the one that a rule is there for.

#[cfg(test)]
mod mutants {
    use pgherd_core::rules::Rule;
    use pgherd_simulator::explore::{Limits, explore};
    use pgherd_simulator::mutation::{ALL, Notices, notices};
    use pgherd_simulator::run::{Play, Setup};
    use pgherd_simulator::scenarios;
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// Why the absence of the rule is not noticed as the table says; none if it is.
    fn survives(rule: Rule) -> Option<String> {
        match notices(rule) {
            Notices::Seeds(runs) => {
                let limits = Limits { from: 1, runs, lasts: None, keep_going: false };
                let play =
                    |seed| Play { mutant: Some(rule), ..Play::drawn(seed, Setup::of_seed(seed)) };
                let explored = explore(limits, || Duration::ZERO, play);
                explored.failures.is_empty().then(|| format!("{rule:?}: no seed of {runs}"))
            }
            Notices::Scenario(name, invariant) => {
                let scenario = scenarios::named(name);
                let Some(scenario) = scenario else {
                    return Some(format!("{rule:?}: there is no scenario {name}"));
                };
                match scenario.first_violation(Some(rule)) {
                    Some((_, violation)) if violation.invariant == invariant => None,
                    other => Some(format!("{rule:?}: {name} gives {other:?}, not {invariant}")),
                }
            }
        }
    }

    #[test]
    fn the_absence_of_every_rule_is_noticed() {
        let survivors: Vec<String> = ALL.iter().copied().filter_map(survives).collect();
        assert!(survivors.is_empty(), "{}", survivors.join("\n"));
    }

    #[test]
    fn the_table_lists_every_rule_once() {
        assert_eq!(ALL.iter().collect::<BTreeSet<_>>().len(), ALL.len());
    }

    #[test]
    fn the_docs_tell_the_same() {
        let page = include_str!("../../../docs/simulator.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let wanted: Vec<String> =
            ALL.iter().map(|rule| format!("| `{rule:?}` | {} |", notices(*rule))).collect();
        assert_eq!(rows, wanted, "docs/simulator.md should have:\n{}", wanted.join("\n"));
    }
}
