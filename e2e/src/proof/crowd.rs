//! Thirty clusters of one instance are created at once, and then do nothing.
//!
//! Never counts its own requests as the product's.

use super::cluster::{self, Commits, UP_WITHIN};
use super::figures::Round;
use super::place::Place;
use crate::wait;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};

const CLUSTERS: u32 = 30;
/// The most requests until all are healthy, and then in a minute for each.
const MOST_REQUESTS: f64 = 3_000.0;
const MOST_IDLE: f64 = 14.0;
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
    let asked = requests(place)? - before - looks;
    let own = asked - background * took.as_secs_f64() / COUNTED.as_secs_f64();
    wait::pass(CALM)?;
    let idle = (rate(place)? - background) / f64::from(CLUSTERS);
    let [operator, agent] = [resident("operator")?, resident("agent")?];
    let mut round = Round { seconds: Some(took.as_secs_f64()), ..Round::default() };
    let verdict = |is_met: bool| if is_met { "met" } else { "MISSED" };
    round.notes = vec![
        format!(
            "{asked:.0} requests, {own:.0} of them not there without the clusters (< {MOST_REQUESTS}: {})",
            verdict(own < MOST_REQUESTS)
        ),
        format!(
            "idle {idle:.1} requests a minute and cluster (<= {MOST_IDLE}: {}); without clusters {background:.0} a minute",
            verdict(idle <= MOST_IDLE)
        ),
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

/// How many requests the API server has answered or begun to.
fn requests(place: &Place) -> Result<f64> {
    let said = place.kubectl(&["get", "--raw", "/metrics"])?;
    Ok(sum(&said, "apiserver_request_total{"))
}

/// How many requests there are in a minute, while nothing changes.
fn rate(place: &Place) -> Result<f64> {
    let (before, began) = (requests(place)?, Instant::now());
    wait::pass(COUNTED)?;
    // One of them is for the count itself.
    let asked = requests(place)? - before - 1.0;
    Ok(asked * COUNTED.as_secs_f64() / began.elapsed().as_secs_f64())
}

fn sum(metrics: &str, start: &str) -> f64 {
    let of_it = metrics.lines().filter(|line| line.starts_with(start));
    of_it.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
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
        let metrics = "# HELP\napiserver_request_total{verb=\"GET\"} 10\n\
            apiserver_request_total{verb=\"PUT\"} 2\napiserver_other_total{} 5\n";
        assert!((sum(metrics, "apiserver_request_total{") - 12.0).abs() < f64::EPSILON);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   20480 kB\n"), Some(20_480));
        let said = r#"{"items": [{"status": {"phase": "Cluster in healthy state"}}, {}]}"#;
        assert_eq!(healthy(said), Some(1));
    }
}
