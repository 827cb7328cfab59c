//! House rules of documents: what they name exists, and what exists is named.
//!
//! Never judges wording.

use super::Finding;
use crate::arrows;
use crate::repository::Text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// A line with this mark may name a path that is still to come.
const PLANNED: &str = "(planned)";

const DECISIONS: &str = "docs/adr/";
const DECISION_LINES: usize = 60;

fn markdown(texts: &[Text]) -> impl Iterator<Item = &Text> {
    texts.iter().filter(|text| text.is("md"))
}

fn find<'a>(texts: &'a [Text], path: &str) -> Option<&'a Text> {
    texts.iter().find(|text| text.path == path)
}

/// Whether this is a file, or a folder that holds one.
fn exists(texts: &[Text], path: &str) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    texts.iter().any(|text| text.path == path || text.path.starts_with(&folder))
}

pub(super) fn name_only_paths_that_exist(texts: &[Text]) -> Vec<Finding> {
    let Some(map) = find(texts, "ARCHITECTURE.md") else {
        return vec![Finding::fails("ARCHITECTURE.md", "is missing")];
    };
    let mut findings = Vec::new();
    for line in map.body.lines() {
        let missing: Vec<&str> = paths(line).filter(|path| !exists(texts, path)).collect();
        let is_planned = line.contains(PLANNED);
        if is_planned && missing.is_empty() && paths(line).next().is_some() {
            let what = format!("says {PLANNED} of what exists: {line}");
            findings.push(Finding::warns(&map.path, what));
        }
        if !is_planned {
            let gone = |path| format!("names {path}, which does not exist");
            findings.extend(missing.into_iter().map(|path| Finding::fails(&map.path, gone(path))));
        }
    }
    findings
}

/// What stands in backticks and looks like a path of the repository.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let is_path = |name: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        let ends = Path::new(name)
            .extension()
            .is_some_and(|end| ["rs", "md", "toml"].iter().any(|known| end == *known));
        name.chars().all(plain) && !name.starts_with(['/', '.']) && (name.contains('/') || ends)
    };
    quoted(line).filter(is_path)
}

fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

pub(super) fn list_every_package(texts: &[Text]) -> Vec<Finding> {
    let Some(map) = find(texts, "ARCHITECTURE.md") else {
        return Vec::new(); // Found by the rule above.
    };
    let rows = match arrows::packages_with_a_row(&map.body) {
        Ok(rows) => rows,
        Err(error) => return vec![Finding::fails(&map.path, error.to_string())],
    };
    let named: BTreeSet<&str> = map.body.lines().flat_map(quoted).collect();
    let mut findings = Vec::new();
    for text in texts.iter().filter(|text| text.path.ends_with("/Cargo.toml")) {
        let name = text.body.lines().find_map(|line| line.strip_prefix("name = "));
        let name = name.unwrap_or_default().trim_matches('"');
        let folder = text.path.trim_end_matches("/Cargo.toml");
        if !rows.contains(name) {
            let what = format!("the arrows table has no row for `{name}`");
            findings.push(Finding::fails(&map.path, what));
        }
        if !named.contains(folder) {
            let what = format!("the code map does not name `{folder}`");
            findings.push(Finding::fails(&map.path, what));
        }
    }
    findings
}

/// The numbered decisions: number and file.
fn decisions(texts: &[Text]) -> Vec<(Option<u32>, &Text)> {
    let number = |text: &Text| {
        let (digits, title) = text.path.strip_prefix(DECISIONS)?.split_once('-')?;
        let is_numbered = digits.len() == 4 && !title.is_empty();
        is_numbered.then(|| digits.parse().ok()).flatten()
    };
    markdown(texts)
        .filter(|text| text.path.starts_with(DECISIONS) && !text.path.ends_with("/README.md"))
        .map(|text| (number(text), text))
        .collect()
}

pub(super) fn number_decisions_once(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut taken: BTreeMap<u32, &str> = BTreeMap::new();
    for (number, text) in decisions(texts) {
        let Some(number) = number else {
            findings.push(Finding::fails(&text.path, "is not named like 0007-title.md"));
            continue;
        };
        if let Some(other) = taken.insert(number, &text.path) {
            findings.push(Finding::fails(&text.path, format!("has the same number as {other}")));
        }
        let lines = text.body.lines().count();
        if lines > DECISION_LINES {
            let what = format!("has {lines} lines; a decision needs at most {DECISION_LINES}");
            findings.push(Finding::fails(&text.path, what));
        }
    }
    findings
}

pub(super) fn cite_decisions_that_exist(texts: &[Text]) -> Vec<Finding> {
    let known: BTreeSet<u32> =
        decisions(texts).into_iter().filter_map(|(number, _)| number).collect();
    let mut findings = Vec::new();
    for text in texts {
        // The first piece comes before any citation.
        for after in text.body.split("ADR-").skip(1) {
            let cited = after.get(..4).and_then(|digits| digits.parse::<u32>().ok());
            if let Some(cited) = cited.filter(|cited| !known.contains(cited)) {
                let what = format!("cites ADR {cited:04}, which does not exist");
                findings.push(Finding::fails(&text.path, what));
            }
        }
    }
    findings
}

pub(super) fn link_every_page(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut linked: BTreeSet<String> = BTreeSet::new();
    for text in markdown(texts) {
        for target in links(&text.body) {
            let path = beside(&text.path, target);
            if path != text.path && exists(texts, &path) {
                linked.insert(path);
            } else if path != text.path {
                findings.push(Finding::fails(&text.path, format!("links to {target}: not there")));
            }
        }
    }
    let is_alone = |text: &&Text| text.path.starts_with("docs/") && !linked.contains(&text.path);
    let alone = markdown(texts).filter(is_alone);
    findings.extend(alone.map(|text| Finding::fails(&text.path, "no other page links to it")));
    findings
}

/// The targets of links into the repository, without the part after `#`.
fn links(body: &str) -> impl Iterator<Item = &str> {
    body.split("](")
        .skip(1)
        .filter_map(|after| after.split_once(')').map(|(target, _)| target))
        .filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
        .map(|target| target.split_once('#').map_or(target, |(path, _)| path))
}

/// Where a link leads, from the root.
fn beside(page: &str, target: &str) -> String {
    if target.is_empty() {
        return page.to_owned();
    }
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
}

/// A rule nobody can read about, and whose mutant nobody can name, protects nobody.
pub(super) fn name_every_mutant(texts: &[Text]) -> Vec<Finding> {
    let Some(rules) = find(texts, "crates/core/src/rules.rs") else {
        return Vec::new();
    };
    if !exists(texts, "platforms/simulator") {
        return Vec::new();
    }
    let pages: String = markdown(texts)
        .filter(|text| text.path.starts_with("docs/"))
        .map(|text| text.body.as_str())
        .collect();
    variants(&rules.body, "pub enum Rule {")
        .into_iter()
        .filter(|mutant| {
            // In backticks: many names are also plain words.
            ![(*mutant).to_owned(), kebab(mutant)]
                .iter()
                .any(|name| pages.contains(&format!("`{name}`")))
        })
        .map(|mutant| {
            let what = format!("no page in docs/ names the mutant {mutant} ({})", kebab(mutant));
            Finding::fails(&rules.path, what)
        })
        .collect()
}

/// The names of the variants of an enum: lines inside it that start with a capital letter.
fn variants<'a>(body: &'a str, opening: &str) -> Vec<&'a str> {
    let inside = body.split_once(opening).map_or("", |(_, rest)| rest);
    let inside = inside.split_once("\n}").map_or("", |(inside, _)| inside);
    let name = |line: &'a str| {
        let line = line.trim_start();
        let end = line.find(|c: char| !c.is_ascii_alphanumeric())?;
        line.get(..end).filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    inside.lines().filter_map(name).collect()
}

fn kebab(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: super::super::Rule, texts: &[(&str, &str)]) -> Vec<String> {
        let texts: Vec<Text> = texts.iter().map(|(path, body)| Text::new(path, body)).collect();
        rule(&texts).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_map_names_only_what_exists() {
        let map = "`crates/core` and `gone.rs`\n`platforms/new` (planned)\n`crates/core` (planned)";
        assert_eq!(
            found(
                name_only_paths_that_exist,
                &[("ARCHITECTURE.md", map), ("crates/core/a.rs", "")]
            ),
            [
                "ARCHITECTURE.md: names gone.rs, which does not exist",
                "warning: ARCHITECTURE.md: says (planned) of what exists: `crates/core` (planned)",
            ]
        );
    }

    #[test]
    fn every_package_is_on_the_map() {
        let map =
            "| Package | Of ours | x | y |\n|---|---|---|---|\n| `a` | - | - | - |\n`crates/a`";
        let texts = [
            ("ARCHITECTURE.md", map),
            ("crates/a/Cargo.toml", "name = \"a\""),
            ("crates/b/Cargo.toml", "name = \"b\""),
        ];
        assert_eq!(
            found(list_every_package, &texts),
            [
                "ARCHITECTURE.md: the arrows table has no row for `b`",
                "ARCHITECTURE.md: the code map does not name `crates/b`",
            ]
        );
    }

    #[test]
    fn decisions_have_numbers_of_their_own() {
        let texts = [("docs/adr/0001-a.md", ""), ("docs/adr/0001-b.md", ""), ("docs/adr/c.md", "")];
        assert_eq!(
            found(number_decisions_once, &texts),
            [
                "docs/adr/0001-b.md: has the same number as docs/adr/0001-a.md",
                "docs/adr/c.md: is not named like 0007-title.md",
            ]
        );
        let cited = format!("see {}0001 and {}9999", "ADR-", "ADR-");
        assert_eq!(
            found(cite_decisions_that_exist, &[("docs/adr/0001-a.md", ""), ("b.rs", &cited)]),
            ["b.rs: cites ADR 9999, which does not exist"]
        );
    }

    #[test]
    fn pages_are_linked_and_links_lead_somewhere() {
        let texts = [
            ("README.md", "[a](docs/a.md#part) [b](https://example.com) [c](docs/gone.md)"),
            ("docs/a.md", "[up](../README.md) [here](#part)"),
            ("docs/b.md", ""),
        ];
        assert_eq!(
            found(link_every_page, &texts),
            ["README.md: links to docs/gone.md: not there", "docs/b.md: no other page links to it"]
        );
    }

    #[test]
    fn mutants_are_in_the_docs() {
        let rules = "pub enum Rule {\n    /// Why.\n    NoMargin,\n    EarlyGrantors,\n}\n";
        let rules = ("crates/core/src/rules.rs", rules);
        let page = ("docs/a.md", "`no-margin`, early-grantors");
        assert_eq!(found(name_every_mutant, &[rules, page]), [] as [&str; 0]);
        let simulator = ("platforms/simulator/src/main.rs", "");
        assert_eq!(
            found(name_every_mutant, &[rules, page, simulator]),
            ["crates/core/src/rules.rs: no page in docs/ names the mutant EarlyGrantors \
                 (early-grantors)"]
        );
    }
}
