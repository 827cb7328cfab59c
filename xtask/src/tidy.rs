//! Reads every text of the repository and reports what breaks a house rule no compiler checks.
//!
//! Never changes a file, and never judges what clippy or rustfmt judge.

mod documents;
mod everywhere;
mod sources;

use crate::repository::{self, Text};
use anyhow::{Result, bail};
use std::fmt;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    weight: Weight,
    path: String,
    what: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Shown, and lived with for a while.
    Warns,
    Fails,
}

impl Finding {
    fn fails(path: &str, what: impl Into<String>) -> Self {
        Self { weight: Weight::Fails, path: path.to_owned(), what: what.into() }
    }

    fn warns(path: &str, what: impl Into<String>) -> Self {
        Self { weight: Weight::Warns, path: path.to_owned(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Warns => "warning: ",
            Weight::Fails => "",
        };
        write!(f, "{weight}{}: {}", self.path, self.what)
    }
}

/// A rule looks at all texts, because many rules compare one with another.
type Rule = fn(&[Text]) -> Vec<Finding>;

const RULES: &[Rule] = &[
    sources::have_a_module_doc,
    sources::are_short,
    sources::have_telling_names,
    sources::run_every_test,
    documents::name_only_paths_that_exist,
    documents::list_every_package,
    documents::number_decisions_once,
    documents::cite_decisions_that_exist,
    documents::link_every_page,
    documents::name_every_mutant,
    everywhere::open_work_has_an_issue,
    everywhere::no_place_of_one_machine,
    everywhere::exceptions_have_a_reason,
    everywhere::limits_are_kept_by_clippy,
    everywhere::automation_calls_what_people_call,
];

/// Prints what is found and fails when any of it must not stay.
pub(crate) fn check() -> Result<()> {
    let texts = repository::texts()?;
    let findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(&texts)).collect();
    for finding in &findings {
        println!("{finding}");
    }
    let failures = findings.iter().filter(|one| one.weight == Weight::Fails).count();
    if failures == 0 {
        return Ok(());
    }
    bail!("{failures} house rules are broken, see the lines above (rules: CONTRIBUTING.md)")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        super::check().unwrap();
    }
}
