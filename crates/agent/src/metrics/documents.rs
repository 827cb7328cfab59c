//! Compares the page of metrics and the alerts with what there is. Never writes either.

use super::catalogue::{ALL, Kind, Metric};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Deserialize)]
struct Alerts {
    spec: Groups,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: Severity,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Severity {
    severity: String,
}

#[derive(Deserialize)]
struct Annotations {
    summary: String,
    description: String,
}

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(path).unwrap()
}

fn page() -> String {
    read("docs/features/metrics.md")
}

fn rules() -> Vec<Rule> {
    let alerts: Alerts = serde_saphyr::from_str(&read("deploy/monitoring/alerts.yaml")).unwrap();
    alerts.spec.groups.into_iter().flat_map(|group| group.rules).collect()
}

fn row(metric: &Metric) -> String {
    let Metric { name, kind, unit, labels, meaning } = metric;
    let kind = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{name}` | {kind} | {} | {unit} | {meaning} |", labels.join(", "))
}

#[test]
fn the_page_lists_every_metric_as_it_is() {
    let page = page();
    let is_row = |line: &&str| line.starts_with("| `cnpg_") || line.starts_with("| `pgherd_");
    let told: Vec<&str> = page.lines().filter(is_row).collect();
    let there: Vec<String> = ALL.iter().map(|metric| row(metric)).collect();
    assert_eq!(told.join("\n"), there.join("\n"), "the table of docs/features/metrics.md");
}

#[test]
fn alerts_name_only_metrics_that_there_are() {
    let known: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    let rules = rules();
    assert!(!rules.is_empty());
    for Rule { alert, expr, .. } in &rules {
        let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: BTreeSet<&str> =
            words.filter(|word| word.starts_with("cnpg_") || word.starts_with("pgherd_")).collect();
        assert!(!named.is_empty(), "{alert} names none");
        let strange: Vec<_> = named.difference(&known).collect();
        assert!(strange.is_empty(), "{alert} names {strange:?}");
    }
}

#[test]
fn alerts_say_what_is_wrong_and_the_page_names_them() {
    let page = page();
    for Rule { alert, labels, annotations, .. } in rules() {
        assert!(["warning", "critical"].contains(&labels.severity.as_str()), "{alert}");
        assert!(!annotations.summary.is_empty(), "{alert}");
        assert!(annotations.description.ends_with('.'), "{alert}");
        assert!(page.contains(&format!("| `{alert}` |")), "{alert} is not on the page");
    }
}
