//! The client of a proof: a pod that writes numbered rows, and what it has said so far.
//!
//! Never asks the cluster how it is: what counts is when rows were acknowledged, and whether they
//! are there in the end.

use super::cluster::{Cluster, HEALED_WITHIN, INSIDE};
use super::place::Place;
use crate::client::{Line, now_milliseconds};
use crate::testbed::Node;
use crate::{client, wait};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// So many beats in a row without a pause: two seconds.
const FLOWING: usize = 20;
/// A row later than that is a pause.
const PAUSE_MILLISECONDS: u64 = 300;
const FRESH_MILLISECONDS: u64 = 2_000;
const RECEIVED_WITHIN: Duration = Duration::from_secs(10);

/// Where a client is, and whom it asks.
#[derive(Debug, Clone, Copy)]
pub enum Seat {
    /// In a pod, through the service for writing.
    Pod(Option<Node>),
    /// In a pod, in one open session with the instance at this address.
    Inside(Node, IpAddr),
    /// On the control plane's machine, through the service for writing: it needs no node.
    Outside,
}

/// What it found in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub acknowledged: u64,
    pub unknown: u64,
    pub lost: u64,
    pub wrong: bool,
}

/// The longest time without an acknowledged row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pause {
    pub length: Duration,
    /// In milliseconds since 1970.
    pub until: u64,
}

pub struct Writer<'a> {
    place: &'a Place,
    voice: Voice,
}

/// How it is heard.
enum Voice {
    Pod(String),
    Process { process: Child, folder: TempDir },
}

impl<'a> Writer<'a> {
    /// Starts it, and waits until rows flow.
    pub fn start(cluster: &Cluster<'a>, seat: Seat) -> Result<Self> {
        let place = cluster.place;
        let voice = match seat {
            Seat::Outside => beside_the_nodes(cluster)?,
            Seat::Pod(_) | Seat::Inside(..) => {
                let name = format!("client-{}", now_milliseconds());
                place.apply(&pod(cluster.name, &name, seat))?;
                Voice::Pod(name)
            }
        };
        let writer = Self { place, voice };
        writer.settle(0)?;
        Ok(writer)
    }

    fn said(&self, tail: Option<usize>) -> String {
        match &self.voice {
            Voice::Pod(name) => {
                let tail = format!("--tail={}", tail.map_or("-1".to_owned(), |n| n.to_string()));
                self.place.try_kubectl(&["logs", name, &tail]).unwrap_or_default()
            }
            Voice::Process { folder, .. } => {
                fs::read_to_string(folder.path().join("said")).unwrap_or_default()
            }
        }
    }

    pub fn lines(&self, tail: Option<usize>) -> Vec<Line> {
        let said = self.said(tail);
        let all: Vec<&str> = said.lines().collect();
        let skipped = tail.map_or(0, |tail| all.len().saturating_sub(tail));
        let newest = all.iter().skip(skipped);
        newest.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The longest pause that ended, or went on, after this moment. Waits until the client has
    /// told of as much.
    pub fn pause(&self, since: u64) -> Result<Pause> {
        let now = now_milliseconds();
        let lines = wait::find_seldom("what the client tells", RECEIVED_WITHIN, || {
            let lines = self.lines(None);
            let heard = lines.last().is_some_and(|line| match line {
                Line::Beat { at, .. } => *at >= now,
                Line::Verdict { .. } => true,
            });
            Ok(heard.then_some(lines))
        })?;
        Ok(longest(&lines, since))
    }

    /// How many rows were refused or not answered so far, and how many acknowledged.
    pub fn counts(&self) -> (u64, u64) {
        let newest = self.lines(Some(1)).into_iter().next_back();
        match newest {
            Some(Line::Beat { failed, acknowledged, .. }) => (failed, acknowledged),
            Some(Line::Verdict { .. }) | None => (0, 0),
        }
    }

    /// When the last row was acknowledged, as far as is heard, and how many after this moment.
    pub fn acknowledged_after(&self, moment: u64) -> Result<(u64, u64)> {
        let found = wait::find_seldom("what the session tells", RECEIVED_WITHIN, || {
            Ok(last_of(&self.lines(None), moment))
        });
        found.with_context(|| format!("the session said: {}", self.said(Some(3))))
    }

    /// Waits until rows have been acknowledged for a while without a pause, all after `since`.
    pub fn settle(&self, since: u64) -> Result<()> {
        let settled = wait::find_seldom("rows to be acknowledged", HEALED_WITHIN, || {
            let lines = self.lines(Some(FLOWING));
            Ok(flows(&lines, since, now_milliseconds()).then_some(()))
        });
        settled.with_context(|| format!("the client said: {}", self.said(Some(3))))
    }

    /// What was lost of what was acknowledged.
    pub fn end(mut self) -> Result<Verdict> {
        match &self.voice {
            Voice::Pod(name) => {
                self.place.kubectl(&["exec", name, "--", "/pgherd", "client", "stop"])?;
            }
            Voice::Process { folder, .. } => client::ask_to_stop(folder.path())?,
        }
        let found = wait::find_seldom("the client's verdict", HEALED_WITHIN, || {
            let newest = self.lines(Some(1)).into_iter().next_back();
            let verdict = newest.filter(|line| matches!(line, Line::Verdict { .. }));
            if let (None, Voice::Process { process, .. }) = (&verdict, &mut self.voice)
                && let Some(status) = process.try_wait()?
                && !status.success()
            {
                bail!("the client ended with {status}");
            }
            Ok(verdict)
        });
        let found = found.with_context(|| format!("the client said: {}", self.said(Some(3))))?;
        match found {
            Line::Verdict { acknowledged, unknown, lost, wrong } => {
                Ok(Verdict { acknowledged, unknown, lost, wrong })
            }
            Line::Beat { .. } => bail!("no verdict"),
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        let _finishing = wait::finishing();
        match &mut self.voice {
            Voice::Pod(name) => {
                let delete = ["delete", "pod", name, "--wait=false", "--ignore-not-found"];
                let _asked = self.place.try_kubectl(&delete);
            }
            Voice::Process { process, .. } => {
                // It may have ended by itself.
                let _killed = process.kill();
                let _reaped = process.wait();
            }
        }
    }
}

fn longest(lines: &[Line], since: u64) -> Pause {
    let pauses = lines.iter().filter_map(|line| match line {
        Line::Beat { at, gap_milliseconds, gap_until, .. } if *at >= since => {
            let length = Duration::from_millis(*gap_milliseconds);
            Some(Pause { length, until: *gap_until })
        }
        Line::Beat { .. } | Line::Verdict { .. } => None,
    });
    pauses.max_by_key(|pause| pause.length).unwrap_or_default()
}

/// When the last row was acknowledged, and how many after `moment`; none before a beat is heard.
fn last_of(lines: &[Line], moment: u64) -> Option<(u64, u64)> {
    let mut all = lines.iter().filter_map(|line| match line {
        Line::Beat { acknowledged, last, .. } => Some((*acknowledged, *last)),
        Line::Verdict { .. } => None,
    });
    let (first, _) = all.next()?;
    let before = all.clone().take_while(|(_, last)| *last <= moment).last();
    let (count, last) = all.next_back()?;
    Some((last, count.saturating_sub(before.map_or(first, |(count, _)| count))))
}

fn flows(lines: &[Line], since: u64, now: u64) -> bool {
    let newest = match lines.last() {
        Some(Line::Beat { at, .. }) => *at,
        Some(Line::Verdict { .. }) | None => return false,
    };
    let all = lines.iter().all(|line| match line {
        Line::Beat { at, gap_milliseconds, .. } => {
            *at > since && *gap_milliseconds < PAUSE_MILLISECONDS
        }
        Line::Verdict { .. } => false,
    });
    all && lines.len() >= FLOWING && newest + FRESH_MILLISECONDS > now
}

fn pod(cluster: &str, name: &str, seat: Seat) -> Value {
    let secret =
        |key: &str| json!({"secretKeyRef": {"name": format!("{cluster}-app"), "key": key}});
    let (node, host, manner) = match seat {
        Seat::Inside(node, _) => (Some(node), INSIDE.to_owned(), "session"),
        Seat::Pod(node) => (node, format!("{cluster}-rw"), "application"),
        Seat::Outside => (None, format!("{cluster}-rw"), "application"),
    };
    let uri = format!(
        "postgresql://app:$(PASSWORD)@{host}:5432/app?sslmode=verify-full&sslrootcert=/ca/ca.crt"
    );
    let selector = node.map(|node| json!({"kubernetes.io/hostname": node.to_string()}));
    let aliases = match seat {
        Seat::Inside(_, address) => json!([{"ip": address, "hostnames": [INSIDE]}]),
        Seat::Pod(_) | Seat::Outside => json!([]),
    };
    let authority = json!({
        "secretName": format!("{cluster}-ca"), "items": [{"key": "ca.crt", "path": "ca.crt"}],
    });
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": selector,
            "hostAliases": aliases,
            "containers": [{
                "name": "client",
                "image": "localhost/pgherd-e2e:dev",
                "command": ["/pgherd", "client", "write", "--manner", manner],
                "env": [
                    {"name": "PASSWORD", "valueFrom": secret("password")},
                    {"name": "URI", "value": uri},
                ],
                "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
            }],
            "volumes": [{"name": "ca", "secret": authority}],
        },
    })
}

/// A process where no node's power is needed. It finds the service by a file of its own, since that
/// machine's names are those of the machine below.
fn beside_the_nodes(cluster: &Cluster<'_>) -> Result<Voice> {
    let place = cluster.place;
    let folder = tempfile::tempdir()?;
    let service = format!("{}-rw", cluster.name);
    let found = place.get("service", &service).context("there is no service for writing")?;
    let address = found.pointer("/spec/clusterIP").and_then(Value::as_str);
    let address = address.context("a service without an address")?;
    fs::write(folder.path().join("hosts"), format!("{address} {service}\n"))?;
    let secret = |name: &str, key: &str| {
        let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
        let name = format!("{}-{name}", cluster.name);
        place.kubectl(&["get", "secret", &name, "--output", &template])
    };
    let authority = folder.path().join("ca.crt");
    fs::write(&authority, secret("ca", "ca.crt")?)?;
    let uri = format!(
        "postgresql://app:{}@{service}:5432/app?sslmode=verify-full&sslrootcert={}",
        secret("app", "password")?,
        authority.display(),
    );
    let line = "mount --bind \"$1/hosts\" /etc/hosts && exec \"$2\" client write --folder \"$1\"";
    let mut words: Vec<OsString> =
        ["unshare", "--mount", "sh", "-c", line, "sh"].map(OsString::from).into();
    words.extend([folder.path().as_os_str().to_owned(), place.own().as_os_str().to_owned()]);
    let mut command = place.among(&words)?;
    let said = File::create(folder.path().join("said"))?;
    command.env("URI", uri).stdin(Stdio::null()).stdout(said);
    let process = command.spawn().context("starting the client")?;
    Ok(Voice::Process { process, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(at: u64, gap: u64) -> Line {
        Line::Beat {
            at,
            acknowledged: at,
            failed: 0,
            last: at - 10,
            gap_milliseconds: gap,
            gap_until: at - 50,
        }
    }

    #[test]
    fn the_longest_pause_after_the_fault_counts() {
        let lines = [beat(1_000, 900), beat(2_000, 20), beat(3_000, 700), beat(4_000, 30)];
        let pause = longest(&lines, 1_500);
        assert_eq!(pause, Pause { length: Duration::from_millis(700), until: 2_950 });
        assert_eq!(last_of(&lines, 2_500), Some((3_990, 2_000)));
        assert_eq!(last_of(&lines, 4_500), Some((3_990, 0)));
        assert_eq!(last_of(&[], 0), None);
    }

    #[test]
    fn rows_flow_again_only_after_the_fault_and_without_a_pause() {
        let lines: Vec<_> = (0..20).map(|n| beat(10_000 + n * 100, 20)).collect();
        assert!(flows(&lines, 9_999, 12_000));
        assert!(!flows(&lines, 10_000, 12_000), "one is from before");
        assert!(!flows(&lines, 0, 20_000), "none is fresh");
        let mut paused = lines;
        paused.push(beat(12_000, 800));
        assert!(!flows(&paused, 0, 12_000));
    }
}
