//! Scenarios: each holds with all of its seeds and reaches what it is about.
//!
//! Never lets two of them have one name.

#[cfg(test)]
mod scenarios {
    use pgherd_simulator::scenarios::all;
    use std::collections::BTreeSet;

    #[test]
    fn every_scenario_holds() {
        let told = |(seed, why): (u64, _)| format!("seed {seed}: {why}");
        let broken: Vec<String> = all()
            .iter()
            .filter_map(|one| Some(format!("{}, {}", one.name, told(one.first_violation(None)?))))
            .collect();
        assert!(broken.is_empty(), "broken scenarios:\n{}", broken.join("\n"));
    }

    #[test]
    fn every_scenario_reaches_what_it_is_about() {
        let missed: Vec<String> = all()
            .iter()
            .flat_map(|one| one.never_reached().into_iter().map(|what| (one.name, what)))
            .map(|(name, what)| format!("{name}: never {what}"))
            .collect();
        assert!(missed.is_empty(), "{}", missed.join("\n"));
    }

    #[test]
    fn every_scenario_has_a_name_of_its_own_and_says_what_it_expects() {
        let scenarios = all();
        let names: BTreeSet<&str> = scenarios.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), scenarios.len());
        for one in &scenarios {
            assert!(one.is_complete(), "{} needs an eventually and a sometimes", one.name);
        }
    }
}
