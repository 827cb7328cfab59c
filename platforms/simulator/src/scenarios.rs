//! Every directed schedule, one file for each feature.
//!
//! Never one without a name: a bug that was found stays here under what it taught.

use crate::scenario::Scenario;

pub mod durability;
pub mod failover;
pub mod members;
pub mod rejoin;
pub mod switchover;
pub mod votes;

/// Lists the scenarios of a file, each under the name of its function.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        /// Every scenario of this feature.
        pub fn all() -> Vec<crate::scenario::Scenario> {
            vec![$($name().named(stringify!($name))),*]
        }
    };
}
pub(crate) use scenarios;

pub fn all() -> Vec<Scenario> {
    let features = [
        failover::all(),
        switchover::all(),
        durability::all(),
        members::all(),
        rejoin::all(),
        votes::all(),
    ];
    features.into_iter().flatten().collect()
}

/// The scenario of this name.
pub fn named(name: &str) -> Option<Scenario> {
    all().into_iter().find(|scenario| scenario.name == name)
}
