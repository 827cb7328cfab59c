//! Thirty clusters of one instance are created at once, and then do nothing.
//!
//! Never counts its own requests as the product's.

use super::cluster::{self, Commits, UP_WITHIN};
use super::figures::Round;
use super::place::Place;
use crate::wait;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

const CLUSTERS: u32 = 30;
/// The most requests until all are healthy, and then in a minute for each.
const MOST_REQUESTS: f64 = 3_000.0;
const MOST_IDLE: f64 = 14.0;
/// How many kinds of requests are told.
const TOLD: usize = 24;
/// Megabytes of memory that are its own.
const MOST_OPERATOR: u64 = 40;
const MOST_AGENT: u64 = 20;
const COUNTED: Duration = Duration::from_mins(1);
const CALM: Duration = Duration::from_secs(30);

pub(super) fn gather(place: &Place) -> Result<Round> {
    let background = rate(place)?;
    let before = requests(place)?;
    let all: Vec<_> = (1..=CLUSTERS)
        .map(|number| cluster::manifest(&format!("one-{number}"), 1, Commits::Asynchronous))
        .collect();
    let began = Instant::now();
    place.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}))?;
    let mut looks = 0.0;
    wait::find_seldom("all to be healthy", UP_WITHIN, || {
        looks += 1.0;
        let said = place.try_kubectl(&["get", "clusters", "--output", "json"]);
        Ok(said.filter(|said| healthy(said) == Some(CLUSTERS)).map(drop))
    })?;
    let took = began.elapsed();
    let made = since(&before, &requests(place)?);
    let asked = total(&made) - looks;
    let own = asked - total(&background) * took.as_secs_f64() / COUNTED.as_secs_f64();
    wait::pass(CALM)?;
    let quiet = since(&background, &rate(place)?);
    let idle = total(&quiet) / f64::from(CLUSTERS);
    let [operator, agent] = [resident("operator")?, resident("agent")?];
    let mut round = Round { seconds: Some(took.as_secs_f64()), ..Round::default() };
    let verdict = |is_met: bool| if is_met { "met" } else { "MISSED" };
    round.notes = vec![
        format!(
            "{asked:.0} requests, {own:.0} of them not there without the clusters (< {MOST_REQUESTS}: {})",
            verdict(own < MOST_REQUESTS)
        ),
        format!("most of them: {}", most(&made)),
        format!(
            "idle {idle:.1} requests a minute and cluster (<= {MOST_IDLE}: {}); without clusters {:.0} a minute",
            verdict(idle <= MOST_IDLE),
            total(&background)
        ),
        format!("most of them, all clusters together: {}", most(&quiet)),
        format!(
            "resident at most: operator {operator} MB (<= {MOST_OPERATOR}: {}), agent {agent} MB (<= {MOST_AGENT}: {})",
            verdict(operator <= MOST_OPERATOR),
            verdict(agent <= MOST_AGENT)
        ),
    ];
    cluster::delete_all(place)?;
    Ok(round)
}

fn healthy(said: &str) -> Option<u32> {
    let found: Value = serde_json::from_str(said).ok()?;
    let all = found.pointer("/items")?.as_array()?;
    let is_healthy = |one: &&Value| {
        one.pointer("/status/phase").and_then(Value::as_str) == Some(cluster::HEALTHY)
    };
    u32::try_from(all.iter().filter(is_healthy).count()).ok()
}

/// How many requests there were, by what was asked: `PUT leases`.
type Requests = BTreeMap<String, f64>;

/// The requests that the API server has answered or begun to.
fn requests(place: &Place) -> Result<Requests> {
    Ok(by_kind(&place.kubectl(&["get", "--raw", "/metrics"])?))
}

/// How many requests there are in a minute, while nothing changes.
fn rate(place: &Place) -> Result<Requests> {
    let (before, began) = (requests(place)?, Instant::now());
    wait::pass(COUNTED)?;
    let mut asked = since(&before, &requests(place)?);
    // What the count itself asked for.
    asked.remove("GET /metrics");
    let factor = COUNTED.as_secs_f64() / began.elapsed().as_secs_f64();
    for many in asked.values_mut() {
        *many *= factor;
    }
    Ok(asked)
}

fn by_kind(metrics: &str) -> Requests {
    let mut all = Requests::new();
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let Some((labels, many)) = line.rsplit_once(' ') else { continue };
        let label = |name: &str| {
            let mut labels =
                labels.split(['{', ',', '}']).filter_map(|label| label.split_once('='));
            let (_, value) = labels.find(|(known, _)| *known == name)?;
            Some(value.trim_matches('"')).filter(|value| !value.is_empty())
        };
        let verb = label("verb").unwrap_or_default();
        let kind = match (label("resource"), label("subresource")) {
            (Some(resource), Some(part)) => format!("{verb} {resource}/{part}"),
            (Some(resource), None) => format!("{verb} {resource}"),
            (None, part) => format!("{verb} {}", part.unwrap_or_default()),
        };
        *all.entry(kind).or_default() += many.parse::<f64>().unwrap_or_default();
    }
    all
}

fn since(before: &Requests, after: &Requests) -> Requests {
    let before = |kind| before.get(kind).copied().unwrap_or_default();
    after.iter().map(|(kind, many)| (kind.clone(), many - before(kind))).collect()
}

fn total(requests: &Requests) -> f64 {
    requests.values().sum()
}

fn most(requests: &Requests) -> String {
    let mut all: Vec<_> = requests.iter().collect();
    all.sort_by(|one, other| other.1.total_cmp(one.1));
    let told = all.into_iter().take(TOLD).map(|(kind, many)| format!("{kind} {many:.0}"));
    told.collect::<Vec<_>>().join(", ")
}

/// The most memory that a process of pgherd with this command has, in megabytes. The nodes of a
/// testbed are on this machine, and so are their processes.
fn resident(command: &str) -> Result<u64> {
    let mut most = None;
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        // Others may end while they are looked at.
        let Ok(words) = fs::read_to_string(folder.join("cmdline")) else { continue };
        let mut words = words.split('\0');
        let (program, first) = (words.next(), words.next());
        if !program.is_some_and(|program| program.ends_with("/pgherd")) || first != Some(command) {
            continue;
        }
        let Ok(status) = fs::read_to_string(folder.join("status")) else { continue };
        most = most.max(kilobytes(&status));
    }
    let most = most.with_context(|| format!("there is no process of `pgherd {command}`"))?;
    Ok(most / 1024)
}

fn kilobytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_says_is_read() {
        let metrics = "# HELP\n\
            apiserver_request_total{resource=\"leases\",subresource=\"\",verb=\"PUT\"} 10\n\
            apiserver_request_total{resource=\"pods\",subresource=\"status\",verb=\"GET\"} 2\n\
            apiserver_request_total{subresource=\"/metrics\",resource=\"\",verb=\"GET\"} 2\n\
            apiserver_other_total{} 5\n";
        let all = by_kind(metrics);
        assert_eq!(most(&all), "PUT leases 10, GET /metrics 2, GET pods/status 2");
        let later = Requests::from([("PUT leases".to_owned(), 12.0)]);
        assert_eq!(most(&since(&all, &later)), "PUT leases 2");
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   20480 kB\n"), Some(20_480));
        let said = r#"{"items": [{"status": {"phase": "Cluster in healthy state"}}, {}]}"#;
        assert_eq!(healthy(said), Some(1));
    }
}
