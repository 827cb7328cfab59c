//! Keeps one accepted and one refused example of everything that the API server refuses. A proof in
//! `e2e` shows them to a real one.
//!
//! Never lets an example outlive its rule.

use crate::cluster::Cluster;
use crate::cluster::problem::Refusal;
use crate::policy::Effect;
use crate::{crd, policy};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// What is known of the examples of one rule.
struct Refused {
    kinds: BTreeSet<String>,
    /// What the message begins and ends with.
    message: (String, String),
    /// Whether it is about a change.
    changes: bool,
    /// Whether its author is only warned.
    effect: Effect,
}

impl Refused {
    /// The example that offends.
    fn offends(&self) -> &'static str {
        match self.effect {
            Effect::Refused => "refused.yaml",
            Effect::Warned => "warned.yaml",
        }
    }
}

fn wanted() -> BTreeMap<String, Refused> {
    let mut wanted = BTreeMap::new();
    for definition in crd::definitions() {
        let names = &definition["spec"]["names"];
        let (kind, plural) = (names["kind"].as_str().unwrap(), names["plural"].as_str().unwrap());
        for rule in crd::rules().filter(|(of, _)| *of == plural).flat_map(|(_, rules)| rules) {
            let refused = wanted.entry(rule.name.to_owned()).or_insert(Refused {
                kinds: BTreeSet::new(),
                message: (rule.message.to_owned(), rule.message.to_owned()),
                changes: rule.rule.contains("oldSelf"),
                effect: Effect::Refused,
            });
            refused.kinds.insert(kind.to_owned());
            assert_eq!(refused.message.0, rule.message, "{} says two things", rule.name);
        }
    }
    let policies = policy::policies();
    let checks = policies.iter().flat_map(|it| it.checks.iter().map(move |check| (it, check)));
    for (policy, check) in checks {
        let refused = Refused {
            kinds: BTreeSet::from([policy.kind.to_owned()]),
            message: (check.place.to_string(), check.refusal.to_string()),
            changes: check.offenders.contains("_before"),
            effect: policy.effect,
        };
        let double = wanted.insert(check.name.to_string(), refused);
        assert!(double.is_none(), "{} is a rule, too", check.name);
    }
    wanted
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn names(folder: &PathBuf) -> BTreeSet<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    fs::read_dir(folder).unwrap().map(name).map(|it| it.into_string().unwrap()).collect()
}

fn example(rule: &str, file: &str) -> String {
    fs::read_to_string(folder().join(rule).join(file)).unwrap()
}

#[test]
fn every_rule_has_its_examples_and_no_example_is_left_over() {
    let wanted = wanted();
    let found = names(&folder());
    assert_eq!(found, wanted.keys().cloned().collect());
    for (rule, refused) in wanted {
        let before = refused.changes.then_some("before.yaml");
        let files = ["accepted.yaml", refused.offends()].into_iter().chain(before);
        let files: BTreeSet<_> = files.map(str::to_owned).collect();
        assert_eq!(names(&folder().join(&rule)), files, "{rule}");
        for file in files {
            let text = example(&rule, &file);
            let kind = text.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap();
            assert!(refused.kinds.contains(kind), "{rule}: {kind}");
        }
    }
}

#[test]
fn refused_examples_begin_with_what_is_said() {
    for (rule, refused) in wanted() {
        let text = example(&rule, refused.offends());
        let said = text.lines().next().unwrap().strip_prefix("# ").unwrap();
        let (begin, end) = refused.message;
        assert!(said.starts_with(&begin) && said.ends_with(&end), "{rule}: {said}");
    }
}

/// But for what nothing acts upon yet.
fn is_refused_by_us(rule: &str, file: &str) -> bool {
    let Ok((cluster, _)) = Cluster::from_yaml(&example(rule, file)) else { return true };
    let problems = cluster.checked().err().unwrap_or_default();
    problems.iter().any(|problem| problem.refusal != Refusal::WithoutItsData)
}

/// What nothing acts upon yet, and a cluster would look healthy without.
const NOT_YET: [&str; 3] =
    ["cluster-follower-begins-as-a-copy", "cluster-follows-by-one-word", "cluster-one-archiver"];

#[test]
fn what_the_api_server_accepts_of_a_cluster_we_accept() {
    let of_clusters = wanted().into_iter().filter(|(_, it)| it.kinds.contains("Cluster"));
    for (rule, refused) in of_clusters {
        let is_not_yet = NOT_YET.contains(&rule.as_str());
        assert_eq!(is_refused_by_us(&rule, "accepted.yaml"), is_not_yet, "{rule}");
        assert!(!refused.changes || !is_refused_by_us(&rule, "before.yaml"), "{rule}");
        assert!(
            refused.effect == Effect::Refused || !is_refused_by_us(&rule, "warned.yaml"),
            "{rule}"
        );
    }
}

/// Without the policy, as on an older Kubernetes, the operator refuses what it could not run.
#[test]
fn what_the_policy_refuses_of_what_is_acted_upon_we_refuse() {
    let acted_upon = [
        "spec.postgresql.parameters",
        "spec.postgresql.pg_",
        "spec.postgresql.shared_preload_libraries",
        "spec.bootstrap.initdb",
        "metadata.annotations",
    ];
    let policies = policy::policies();
    let policies = policies.iter().filter(|it| it.effect == Effect::Refused);
    let checks = policies.flat_map(|it| &it.checks);
    let checks = checks.filter(|it| acted_upon.iter().any(|at| it.place.starts_with(at)));
    for check in checks {
        assert!(is_refused_by_us(&check.name, "refused.yaml"), "{}", check.name);
    }
}
