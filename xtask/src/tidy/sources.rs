//! House rules of Rust files: documented, short, telling names, no test switched off.
//!
//! Never parses Rust: each rule is about lines and paths.

use super::Finding;
use crate::repository::Text;

const LINES_WARN: usize = 400;
const LINES_FAIL: usize = 800;

/// Names that say nothing about what a file holds or does, alone or as a part of another.
const EMPTY_WORDS: &[&str] =
    &["utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "handlers"];

/// Names that say nothing when they are all there is.
const EMPTY_NAMES: &[&str] = &["data", "info", "v2", "mod"];

fn rust(texts: &[Text]) -> impl Iterator<Item = &Text> {
    texts.iter().filter(|text| text.is("rs"))
}

pub(super) fn have_a_module_doc(texts: &[Text]) -> Vec<Finding> {
    let is_bare = |text: &&Text| !text.body.starts_with("//!");
    let what = "starts without a module doc: first line what it decides or does (`//! ..`), \
                then what it must never do";
    rust(texts).filter(is_bare).map(|text| Finding::fails(&text.path, what)).collect()
}

pub(super) fn are_short(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in rust(texts) {
        let lines = lines_before_tests(&text.body);
        let what = format!(
            "{lines} lines before its tests (wanted: {LINES_WARN}, limit: {LINES_FAIL}); split it \
             by concern"
        );
        if lines > LINES_FAIL {
            findings.push(Finding::fails(&text.path, what));
        } else if lines > LINES_WARN && !is_test(&text.path) {
            findings.push(Finding::warns(&text.path, what));
        }
    }
    findings
}

fn lines_before_tests(body: &str) -> usize {
    let opens_tests = |pair: &[&str]| {
        matches!(pair, [attribute, module]
            if attribute.trim() == "#[cfg(test)]" && module.starts_with("mod ") && module.ends_with('{'))
    };
    let lines: Vec<&str> = body.lines().collect();
    lines.windows(2).position(opens_tests).unwrap_or(lines.len())
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

pub(super) fn have_telling_names(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in rust(texts) {
        let inline = text.body.lines().filter_map(module_opened);
        let names = text.path.split('/').map(|part| part.trim_end_matches(".rs")).chain(inline);
        for name in names.filter(|name| says_nothing(name)) {
            let what = format!("the name {name:?} does not say what it holds or does");
            findings.push(Finding::fails(&text.path, what));
        }
    }
    findings
}

/// The name of a module that is opened on this line, not one that lives in its own file.
fn module_opened(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub ")).unwrap_or(line);
    line.strip_prefix("mod ")?.strip_suffix('{').map(str::trim)
}

fn says_nothing(name: &str) -> bool {
    EMPTY_NAMES.contains(&name) || name.split(['_', '-']).any(|word| EMPTY_WORDS.contains(&word))
}

pub(super) fn run_every_test(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in rust(texts) {
        for (number, line) in text.body.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("#[ignore") || line.starts_with("#[should_panic") {
                let what = format!(
                    "line {}: a test is run and says what it expects, or it is not there",
                    number + 1
                );
                findings.push(Finding::fails(&text.path, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::Weight;

    #[test]
    fn a_file_without_a_module_doc_is_found() {
        let bare = Text::new("a.rs", "use std::fs;\n");
        let told = Text::new("b.rs", "//! Reads files.\n");
        assert_eq!(have_a_module_doc(&[bare, told]).len(), 1);
    }

    #[test]
    fn only_lines_before_the_tests_count() {
        let of = |code: usize, tests: usize| {
            let body = "x\n".repeat(code) + "#[cfg(test)]\nmod tests {\n" + &"y\n".repeat(tests);
            are_short(&[Text::new("a.rs", &body)]).first().map(|one| one.weight)
        };
        assert_eq!(of(400, 2000), None);
        assert_eq!(of(401, 0), Some(Weight::Warns));
        assert_eq!(of(801, 0), Some(Weight::Fails));
    }

    #[test]
    fn empty_names_are_found_in_paths_and_modules() {
        let of = |path: &str, body: &str| have_telling_names(&[Text::new(path, body)]).len();
        for path in ["a/utils.rs", "a/pod_utils.rs", "a/common/x.rs", "a/info.rs", "a/mod.rs"] {
            assert_eq!(of(path, ""), 1, "{path}");
        }
        for path in ["a/control_data.rs", "a/communication.rs", "a/model.rs"] {
            assert_eq!(of(path, ""), 0, "{path}");
        }
        assert_eq!(of("a.rs", "pub mod helpers {\n"), 1);
    }

    #[test]
    fn a_test_that_is_switched_off_is_found() {
        let body = format!("    #[{}]\n    #[{}]\n", "ignore", "should_panic");
        assert_eq!(run_every_test(&[Text::new("a.rs", &body)]).len(), 2);
    }
}
