//! The two lists of steps that decide whether a change is good: the quick one and the whole one.
//!
//! Never hides a step: what is run is what stands in the tables.

use crate::setup::{self, Major};
use crate::steps::{self, Act, Step};
use crate::{arrows, generate, kubernetes, tidy};
use anyhow::Result;

/// Needs nothing but Rust; under three minutes when the build is warm.
const CHECK: &[Step] = &[
    Step { name: "format", act: Act::Cargo(&["fmt", "--all", "--check"]) },
    Step { name: "arrows", act: Act::Here(arrows::check) },
    Step { name: "tidy", act: Act::Here(tidy::check) },
    Step { name: "generated files", act: Act::Here(generate::check) },
    Step { name: "lints", act: Act::Cargo(LINTS) },
    Step { name: "unit tests", act: Act::CargoFor { packages: PURE, arguments: UNIT_TESTS } },
    Step { name: "tests of the house rules", act: Act::Cargo(&["test", "--package", "xtask"]) },
];

/// Everything else; needs a PostgreSQL.
const TEST: &[Step] = &[
    Step { name: "all tests", act: Act::Cargo(&["test", "--workspace", "--exclude", "xtask"]) },
    Step { name: "kubernetes", act: Act::Here(kubernetes::prove) },
    // The proof finds the program it proves beside itself.
    Step { name: "program", act: Act::Cargo(&["build", "--quiet", "--package", "pgherd"]) },
    Step { name: "torture", act: Act::Cargo(TORTURE) },
    Step { name: "torture of backups", act: Act::Cargo(TORTURE_OF_BACKUPS) },
];

const LINTS: &[&str] = &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
const TORTURE: &[&str] =
    &["run", "--quiet", "--package", "pgherd-e2e", "--", "torture", "--faults", "12"];
const TORTURE_OF_BACKUPS: &[&str] =
    &["run", "--quiet", "--package", "pgherd-e2e", "--", "torture", "--backup", "--rounds", "4"];
const UNIT_TESTS: &[&str] = &["test", "--lib"];
const PURE: &[&str] = &["pgherd-core", "pgherd-api", "pgherd-backup", "pgherd-simulator"];

/// Runs the quick list.
pub(crate) fn check() -> Result<()> {
    steps::run(CHECK, &[])
}

/// Installs what is missing, then runs both lists.
pub(crate) fn test(asked: Option<Major>) -> Result<()> {
    let environment = setup::environment(asked)?;
    setup::stores()?;
    setup::kubernetes_if_root()?;
    steps::run(&[CHECK, TEST].concat(), &environment)
}
