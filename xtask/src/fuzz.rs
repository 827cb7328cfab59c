//! Runs the tests called `fuzzed` for as long as wanted.
//!
//! Never feeds anything itself: the tests do, also in short runs.

use crate::steps;
use anyhow::Result;

/// All of them at once, as many as there are processors.
pub(crate) fn run(minutes: u64, only: Option<&str>) -> Result<()> {
    let environment = [("PGHERD_FUZZ_MINUTES", minutes.to_string().into())];
    let name = only.map_or_else(|| "fuzzed".to_owned(), |word| format!("{word}::fuzzed"));
    let tests = ["test", "--package", "pgherd-backup", "--lib", "--", &name, "--nocapture"];
    steps::cargo(&tests, &environment)
}
