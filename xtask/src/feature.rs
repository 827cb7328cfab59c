//! Finds a feature by its word in every layer, and lays down the files of a new one.
//!
//! Never overwrites a file.

use crate::repository::{self, Text};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// A layer and the folders its files are in; the first that fits a file wins.
const LAYERS: &[(&str, &[&str])] = &[
    ("promise", &["crates/api/"]),
    ("decision", &["crates/core/"]),
    ("one PostgreSQL", &["crates/agent/"]),
    ("proof", &["platforms/simulator/", "e2e/"]),
    ("platforms", &["platforms/"]),
    ("people", &["apps/", "docs/features/", "docs/runbooks/"]),
    ("reasons", &["docs/adr/"]),
    ("news", &["changes/"]),
    ("elsewhere", &[""]),
];

/// Prints the files of a feature, layer by layer.
pub(crate) fn print_where(word: &str) -> Result<()> {
    let word = checked(word)?;
    let texts = repository::texts()?;
    for (layer, paths) in by_layer(&texts, &word) {
        if paths.is_empty() && layer != "elsewhere" {
            println!("{layer:<16}-");
        }
        for path in paths {
            println!("{layer:<16}{path}");
        }
    }
    Ok(())
}

fn by_layer<'a>(texts: &'a [Text], word: &str) -> Vec<(&'static str, Vec<&'a str>)> {
    let mut found: Vec<(&str, Vec<&str>)> =
        LAYERS.iter().map(|(layer, _)| (*layer, Vec::new())).collect();
    for text in texts.iter().filter(|text| is_about(&text.path, word)) {
        let place = LAYERS
            .iter()
            .position(|(_, folders)| folders.iter().any(|folder| text.path.starts_with(folder)));
        if let Some((_, paths)) = place.and_then(|place| found.get_mut(place)) {
            paths.push(&text.path);
        }
    }
    found
}

/// A path is about a feature when its word is a part of the path, alone or beside others:
/// `switchover.rs`, `switchover_abort.rs`, `0012-planned-switchover.md`.
fn is_about(path: &str, word: &str) -> bool {
    let parts: Vec<&str> = path.split(['/', '.', '_', '-']).collect();
    let wanted: Vec<&str> = word.split('_').collect();
    parts.windows(wanted.len()).any(|found| found == wanted)
}

fn checked(word: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c == '_';
    if word.is_empty() || !word.chars().all(fits) {
        bail!("{word:?} is not the word of a feature: use lower-case letters and '_'");
    }
    Ok(word.to_owned())
}

/// Lays down the files of a new feature in the layers that exist.
pub(crate) fn create(word: &str) -> Result<()> {
    let word = checked(word)?;
    let title = word.replace('_', " ");
    let decides = format!("//! Decides about {title}.\n//!\n//! Never reads a clock.\n");
    let proves =
        format!("//! Scenarios of {title}: what always, eventually and sometimes holds.\n");
    let page = format!(
        "# {}\n\nWhat it is for, in one sentence.\n\n## Use it\n\n## What it guarantees\n\n\
         ## When it waits or refuses\n",
        capitalised(&title)
    );
    let files = [
        ("crates/core/src/instance", format!("{word}.rs"), decides),
        ("platforms/simulator/src/scenarios", format!("{word}.rs"), proves),
        ("docs/features", format!("{}.md", word.replace('_', "-")), page),
    ];
    for (folder, name, text) in files {
        if folder.starts_with("docs/") || repository::root().join(folder).is_dir() {
            lay_down(&format!("{folder}/{name}"), &text)?;
        } else {
            println!("left out {folder}/{name}: the folder does not exist yet");
        }
    }
    println!("next: a `mod {word};` beside each .rs file, and a link in docs/README.md");
    Ok(())
}

/// Lays down the next numbered decision.
pub(crate) fn create_decision(title: &str) -> Result<()> {
    let words: Vec<String> = title
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    if words.is_empty() {
        bail!("{title:?} has no word a file could be named after");
    }
    let number = next_number(&repository::texts()?);
    let text = format!(
        "# {number:04}. {title}\n\n## Context\n\n## Decision\n\n## Consequences\n\n\
         ## Rejected\n\n## How we would notice that it was wrong\n"
    );
    lay_down(&format!("docs/adr/{number:04}-{}.md", words.join("-")), &text)?;
    println!("next: a link in docs/README.md");
    Ok(())
}

fn next_number(texts: &[Text]) -> u32 {
    let number = |text: &Text| text.path.strip_prefix("docs/adr/")?.get(..4)?.parse::<u32>().ok();
    texts.iter().filter_map(number).max().map_or(1, |last| last + 1)
}

fn lay_down(path: &str, text: &str) -> Result<()> {
    let place = repository::root().join(path);
    if Path::exists(&place) {
        bail!("{path} is already there");
    }
    let write = || {
        fs::create_dir_all(place.parent().unwrap_or(&place))?;
        fs::write(&place, text)
    };
    write().with_context(|| format!("writing {path}"))?;
    println!("wrote {path}");
    Ok(())
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_in_every_layer() {
        let paths = [
            "apps/pgherd/src/commands/switchover.rs",
            "crates/agent/src/perform/switchover_stop.rs",
            "crates/core/src/instance/switchover.rs",
            "crates/core/src/switchovers.rs",
            "docs/adr/0012-planned-switchover.md",
        ];
        let texts: Vec<Text> = paths.iter().map(|path| Text::new(path, "")).collect();
        let found: Vec<_> = by_layer(&texts, "switchover")
            .into_iter()
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(layer, paths)| format!("{layer}: {}", paths.join(" ")))
            .collect();
        assert_eq!(
            found,
            [
                "decision: crates/core/src/instance/switchover.rs",
                "one PostgreSQL: crates/agent/src/perform/switchover_stop.rs",
                "people: apps/pgherd/src/commands/switchover.rs",
                "reasons: docs/adr/0012-planned-switchover.md",
            ]
        );
        assert!(is_about("docs/features/cold-start.md", "cold_start"));
        assert!(checked("Switch-over").is_err());
    }

    #[test]
    fn decisions_are_numbered_on() {
        assert_eq!(next_number(&[]), 1);
        assert_eq!(next_number(&[Text::new("docs/adr/0041-x.md", "")]), 42);
    }
}
