//! Checks that packages use only what the arrows table of ARCHITECTURE.md allows.
//!
//! Never holds a rule of its own: the table people read is the table that is enforced.

use crate::metadata::{self, Package};
use crate::repository;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What one package may use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    ours: Allowed,
    others: Allowed,
    /// Crates that may not be in it, not even through others.
    never: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    All,
    Only(BTreeSet<String>),
}

impl Allowed {
    fn allows(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// Fails with one line per forbidden arrow.
pub(crate) fn check() -> Result<()> {
    let path = repository::root().join("ARCHITECTURE.md");
    let architecture =
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let rules = rules(&architecture)?;
    let problems = violations(&rules, &metadata::packages()?);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}\nA new arrow needs an ADR and a row in ARCHITECTURE.md.", problems.join("\n"))
}

/// The packages that have a row in the table.
pub(crate) fn packages_with_a_row(architecture: &str) -> Result<BTreeSet<String>> {
    Ok(rules(architecture)?.into_keys().collect())
}

fn rules(architecture: &str) -> Result<BTreeMap<String, Rule>> {
    let mut lines = architecture.lines();
    lines
        .find(|line| line.starts_with("| Package | Of ours |"))
        .context("ARCHITECTURE.md has no table that starts with `| Package | Of ours |`")?;
    let mut rules = BTreeMap::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [package, ours, others, never, ..] = cells.as_slice() else {
            bail!("the arrows table has a row with too few cells: {line}");
        };
        let name = quoted(package).pop_first().context("a row of the arrows table has no name")?;
        let rule = Rule { ours: allowed(ours)?, others: allowed(others)?, never: quoted(never) };
        if rules.insert(name.clone(), rule).is_some() {
            bail!("the arrows table has two rows for {name}");
        }
    }
    Ok(rules)
}

fn allowed(cell: &str) -> Result<Allowed> {
    if cell == "all" {
        return Ok(Allowed::All);
    }
    let names = quoted(cell);
    // A cell that says nothing we understand must not silently forbid or allow.
    if names.is_empty() && cell != "-" {
        bail!("a cell of the arrows table says {cell:?}: write `all`, `-` or names in backticks");
    }
    Ok(Allowed::Only(names))
}

/// The names in backticks.
fn quoted(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn violations(rules: &BTreeMap<String, Rule>, packages: &[Package]) -> Vec<String> {
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut problems = Vec::new();
    for package in packages {
        let name = &package.name;
        let Some(rule) = rules.get(name) else {
            problems.push(format!("{name} has no row in the arrows table"));
            continue;
        };
        for target in &package.direct {
            let (allowed, whose) = if ours.contains(target.as_str()) {
                (&rule.ours, "ours")
            } else {
                (&rule.others, "others")
            };
            if !allowed.allows(target) {
                problems.push(format!("{name} may not use {target} (column of {whose})"));
            }
        }
        for target in package.reaches.intersection(&rule.never) {
            let why = format!("cargo tree --package {name} --edges normal --invert {target}");
            problems.push(format!("{name} may never contain {target}; see how: {why}"));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
text
| Package | Of ours | Of others, directly | Never, not even through others | Never does |
|---|---|---|---|---|
| `core` | - | `serde` | `tokio` | I/O |
| `apps` | all | all | - | decide |

| other | table |
";

    fn package(name: &str, direct: &[&str], reaches: &[&str]) -> Package {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Package {
            name: name.to_owned(),
            folder: String::new(),
            direct: names(direct),
            reaches: names(reaches),
        }
    }

    fn problems(packages: &[Package]) -> Vec<String> {
        violations(&rules(TABLE).unwrap(), packages)
    }

    #[test]
    fn allowed_arrows_pass() {
        let core = package("core", &["serde"], &["serde", "itoa"]);
        let apps = package("apps", &["core", "tokio"], &["core", "serde", "tokio"]);
        assert_eq!(problems(&[core, apps]), [] as [&str; 0]);
    }

    #[test]
    fn forbidden_arrows_are_named() {
        let core = package("core", &["apps", "rand"], &["apps", "rand", "tokio"]);
        let apps = package("apps", &[], &[]);
        let stranger = package("stranger", &[], &[]);
        let found = problems(&[core, apps, stranger]);
        assert_eq!(
            found,
            [
                "core may not use apps (column of ours)",
                "core may not use rand (column of others)",
                "core may never contain tokio; see how: \
                 cargo tree --package core --edges normal --invert tokio",
                "stranger has no row in the arrows table",
            ]
        );
    }

    #[test]
    fn a_cell_that_says_nothing_clear_is_refused() {
        let table = TABLE.replace("| all | all |", "| everything | all |");
        assert!(rules(&table).unwrap_err().to_string().contains("everything"));
    }
}
