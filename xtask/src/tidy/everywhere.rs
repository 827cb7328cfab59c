//! House rules of every file: no loose ends, no traces of one machine, exceptions with reasons.
//!
//! Never holds a forbidden word in one piece: it reads itself too.

use super::Finding;
use crate::repository::Text;

/// Marks of open work; each needs the number of its issue.
const OPEN_WORK: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders that exist only where somebody works.
const PLACES: &[&str] = &[concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("/tmp/", "h/")];

/// Hosts of package registries: which one is used is a matter of the machine.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

/// What clippy must enforce for us: functions of at most 70 lines and 5 parameters.
const LIMITS: &[&str] = &["too-many-lines-threshold = 70", "too-many-arguments-threshold = 5"];

/// The command people run to test everything.
const TEST_COMMAND: &str = "cargo xtask test";

pub(super) fn open_work_has_an_issue(texts: &[Text]) -> Vec<Finding> {
    in_lines(texts, |line| {
        let mark = OPEN_WORK.iter().find(|mark| has_word(line, mark))?;
        let numbers = line.split('#').skip(1);
        let has_issue =
            numbers.into_iter().any(|after| after.starts_with(|c: char| c.is_ascii_digit()));
        (!has_issue).then(|| format!("{mark} without the number of an issue (#12)"))
    })
}

pub(super) fn no_place_of_one_machine(texts: &[Text]) -> Vec<Finding> {
    let mut findings = in_lines(texts, |line| {
        let place = PLACES.iter().find(|place| starts_a_path(line, place))?;
        Some(format!("names {place}, a folder of one machine"))
    });
    // Cargo writes the index it knows into the lock file; nobody can choose otherwise.
    let chosen = texts.iter().filter(|text| text.path != "Cargo.lock");
    for text in chosen {
        for host in REGISTRIES.iter().filter(|host| text.body.contains(**host)) {
            let what = format!("names {host}: which registry is used is for the machine to say");
            findings.push(Finding::fails(&text.path, what));
        }
    }
    findings
}

pub(super) fn exceptions_have_a_reason(texts: &[Text]) -> Vec<Finding> {
    let settings = texts.iter().filter(|text| text.path == "deny.toml");
    let mut findings = Vec::new();
    for text in settings {
        let rows = text.body.lines().filter(|line| line.trim_start().starts_with('{'));
        for row in rows.filter(|row| !row.contains("reason = \"")) {
            findings
                .push(Finding::fails(&text.path, format!("an exception without reason: {row}")));
        }
    }
    let manifests = texts.iter().filter(|text| text.path.ends_with("/Cargo.toml"));
    let strays = manifests.filter(|text| !text.body.contains("[lints]\nworkspace = true"));
    findings.extend(strays.map(|text| {
        Finding::fails(
            &text.path,
            "does not use the workspace's lints: add `[lints] workspace = true`",
        )
    }));
    findings
}

pub(super) fn limits_are_kept_by_clippy(texts: &[Text]) -> Vec<Finding> {
    let settings = texts
        .iter()
        .filter(|text| text.path == "clippy.toml" || text.path.ends_with("/clippy.toml"));
    let mut findings = Vec::new();
    for text in settings {
        for limit in LIMITS.iter().filter(|limit| !text.body.contains(**limit)) {
            findings.push(Finding::fails(&text.path, format!("must say `{limit}`")));
        }
    }
    findings
}

pub(super) fn automation_calls_what_people_call(texts: &[Text]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in ["README.md", ".ci/run"] {
        let text = texts.iter().find(|text| text.path == path);
        if text.is_none_or(|text| !text.body.contains(TEST_COMMAND)) {
            findings.push(Finding::fails(path, format!("does not name `{TEST_COMMAND}`")));
        }
    }
    findings
}

fn in_lines(texts: &[Text], judge: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for text in texts {
        for (number, line) in text.body.lines().enumerate() {
            if let Some(what) = judge(line) {
                findings.push(Finding::fails(&text.path, format!("line {}: {what}", number + 1)));
            }
        }
    }
    findings
}

/// Whether the word stands alone in the line.
fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(joins) && !after.is_some_and(joins)
    })
}

/// Whether a path begins with this here, and not in the middle of a longer path.
fn starts_a_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: super::super::Rule, path: &str, body: &str) -> usize {
        rule(&[Text::new(path, body)]).len()
    }

    #[test]
    fn open_work_names_its_issue() {
        let [mark, ..] = OPEN_WORK else { panic!("no marks") };
        assert_eq!(found(open_work_has_an_issue, "a.rs", &format!("// {mark}: later")), 1);
        assert_eq!(found(open_work_has_an_issue, "a.rs", &format!("// {mark}(#12): later")), 0);
        assert_eq!(found(open_work_has_an_issue, "a.rs", &format!("MY{mark}LIST")), 0);
    }

    #[test]
    fn folders_and_hosts_of_one_machine_are_found() {
        let [place, ..] = PLACES else { panic!("no places") };
        let [host, ..] = REGISTRIES else { panic!("no hosts") };
        assert_eq!(found(no_place_of_one_machine, "a.md", &format!("see {place}main")), 1);
        assert_eq!(found(no_place_of_one_machine, "a.md", &format!("see /var/lib{place}x")), 0);
        assert_eq!(found(no_place_of_one_machine, "a.md", &format!("https://{host}/x")), 1);
        assert_eq!(found(no_place_of_one_machine, "Cargo.lock", &format!("https://{host}/x")), 0);
    }

    #[test]
    fn exceptions_say_why() {
        let bare = "ignore = [\n  { id = \"RUSTSEC-2020-0001\" },\n]\n";
        assert_eq!(found(exceptions_have_a_reason, "deny.toml", bare), 1);
        let told = "ignore = [\n  { id = \"RUSTSEC-2020-0001\", reason = \"not used\" },\n]\n";
        assert_eq!(found(exceptions_have_a_reason, "deny.toml", told), 0);
        assert_eq!(found(exceptions_have_a_reason, "crates/a/Cargo.toml", "[package]\n"), 1);
    }

    #[test]
    fn people_and_automation_use_the_same_command() {
        assert_eq!(found(automation_calls_what_people_call, "README.md", TEST_COMMAND), 1);
        assert_eq!(found(limits_are_kept_by_clippy, "crates/a/clippy.toml", ""), 2);
    }
}
