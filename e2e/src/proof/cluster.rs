//! One cluster on a Kubernetes, as its users and the Lease show it.
//!
//! Never takes a word of the operator for the state of a cluster where the agents' record has it.

use super::place::{Place, SYSTEM};
use crate::testbed::Node;
use crate::wait;
use anyhow::{Context, Result, bail};
use pgherd_core::record::{Phase, Record};
use pgherd_core::units::Epoch;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

pub const UP_WITHIN: Duration = Duration::from_mins(4);
pub const HEALED_WITHIN: Duration = Duration::from_mins(4);
/// A moved standby may come to where it was.
const MOST_MOVES: u32 = 4;
/// A name that leads nowhere by itself: clients who go to one pod reach it by this.
pub const INSIDE: &str = "inside.test";
pub const HEALTHY: &str = "Cluster in healthy state";

/// Whether the operator's word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Present,
    Away,
}

/// What a commit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    Required,
    Asynchronous,
}

/// What is asked for, in the shortest words.
pub fn manifest(name: &str, instances: u32, commits: Commits) -> Value {
    let mut spec = json!({
        "instances": instances,
        "storage": {"size": "1Gi"},
        "certificates": {"serverAltDNSNames": [INSIDE]},
    });
    if let (Commits::Required, Some(spec)) = (commits, spec.as_object_mut()) {
        let synchronous = json!({"method": "any", "number": 1, "dataDurability": "required"});
        spec.insert("postgresql".to_owned(), json!({"synchronous": synchronous}));
    }
    json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
        "metadata": {"name": name}, "spec": spec,
    })
}

#[derive(Clone, Copy)]
pub struct Cluster<'a> {
    pub place: &'a Place,
    pub name: &'a str,
}

impl Cluster<'_> {
    fn selector(&self) -> String {
        format!("cnpg.io/cluster={}", self.name)
    }

    fn lease(&self) -> Value {
        self.place.get("lease", self.name).unwrap_or_default()
    }

    /// Who holds the office, with whose consent; none while the API server does not say.
    pub fn record(&self) -> Option<Record> {
        let lease = self.lease();
        let record = lease.pointer("/metadata/annotations/pgherd.dev~1record")?.as_str()?;
        serde_json::from_str(record).ok()
    }

    pub fn epoch(&self) -> Result<Epoch> {
        Ok(self.record().context("there is no record to read")?.epoch)
    }

    pub fn primary(&self) -> Result<String> {
        let record = self.record().context("there is no record to read")?;
        Ok(record.holder.instance.to_string())
    }

    /// Waits until somebody serves in a later epoch than this; who it is.
    pub fn wait_later(&self, before: Epoch) -> Result<String> {
        let found = wait::find_seldom("a primary of a later epoch", HEALED_WITHIN, || {
            let serving = self.record().filter(|record| record.phase == Phase::Serving);
            let later = serving.filter(|record| record.epoch > before);
            Ok(later.map(|record| record.holder.instance.to_string()))
        });
        found.map_err(|error| error.context(self.told()))
    }

    pub fn node_of(&self, pod: &str) -> Result<Node> {
        let pod = self.place.get("pod", pod).with_context(|| format!("there is no pod {pod}"))?;
        let node = pod.pointer("/spec/nodeName").and_then(Value::as_str);
        node.context("a pod without a node")?.parse()
    }

    pub fn address_of(&self, pod: &str) -> Result<IpAddr> {
        let pod = self.place.get("pod", pod).with_context(|| format!("there is no pod {pod}"))?;
        let address = pod.pointer("/status/podIP").and_then(Value::as_str);
        Ok(address.context("a pod without an address")?.parse()?)
    }

    /// A node where neither the primary is nor is going to be hurt.
    pub fn node_beside(&self, primary: &str) -> Result<Node> {
        let taken = self.node_of(primary)?;
        Node::all().find(|node| *node != taken).context("there is one node only")
    }

    pub fn standby(&self) -> Result<String> {
        let record = self.record().context("there is no record to read")?;
        let standby = record.grantors.iter().find(|name| **name != record.holder.instance);
        Ok(standby.context("there is no standby")?.to_string())
    }

    /// Moves standbys until no two instances share a node: Kubernetes moves nobody back after a drain.
    pub fn spread(&self) -> Result<()> {
        for _ in 0..MOST_MOVES {
            let Some(standby) = self.crowded()? else { return Ok(()) };
            self.place.kubectl(&["delete", "pod", &standby])?;
            self.wait_whole(Operator::Present, HEALED_WITHIN)?;
        }
        bail!("instances still share a node after {MOST_MOVES} moves\n{}", self.told())
    }

    /// A standby that shares its node with another instance.
    fn crowded(&self) -> Result<Option<String>> {
        let record = self.record().context("there is no record to read")?;
        let mut taken = vec![self.node_of(&record.holder.instance.to_string())?];
        for name in record.grantors.iter().filter(|name| **name != record.holder.instance) {
            let node = self.node_of(&name.to_string())?;
            if taken.contains(&node) {
                return Ok(Some(name.to_string()));
            }
            taken.push(node);
        }
        Ok(None)
    }

    /// What exists of it of this kind, by name.
    pub fn objects(&self, kind: &str) -> Result<BTreeMap<String, Value>> {
        let list = self.place.kubectl(&[
            "get",
            kind,
            "--selector",
            &self.selector(),
            "--output",
            "json",
        ])?;
        let list: Value = serde_json::from_str(&list)?;
        let items = list.pointer("/items").and_then(Value::as_array).context("no list")?;
        let named = items.iter().filter_map(|one| {
            let name = one.pointer("/metadata/name")?.as_str()?;
            Some((name.to_owned(), one.clone()))
        });
        Ok(named.collect())
    }

    /// Each of them with what tells it from a later one of its name.
    pub fn identities(&self, kind: &str) -> Result<BTreeMap<String, String>> {
        let objects = self.objects(kind)?.into_iter();
        let identified = objects.filter_map(|(name, object)| {
            Some((name, object.pointer("/metadata/uid")?.as_str()?.to_owned()))
        });
        Ok(identified.collect())
    }

    /// Changes its specification.
    pub fn change(&self, spec: &Value) -> Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        let words = ["patch", "cluster", self.name, "--type=merge", "--patch", &patch];
        self.place.kubectl(&words).map(drop)
    }

    /// One of its conditions.
    pub fn condition(&self, kind: &str) -> Option<Value> {
        let found = self.place.get("cluster", self.name)?;
        let conditions = found.pointer("/status/conditions")?.as_array()?;
        let of_kind = |one: &&Value| one.pointer("/type").and_then(Value::as_str) == Some(kind);
        conditions.iter().find(of_kind).cloned()
    }

    /// Waits for this phase; why it is in it.
    pub fn wait_phase(&self, phase: &str, within: Duration) -> Result<String> {
        let text = |found: &Value, path: &str| {
            found.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let told = wait::find_seldom(&format!("the phase {phase}"), within, || {
            let found = self.place.get("cluster", self.name).unwrap_or_default();
            let is_so = text(&found, "/status/phase") == phase;
            Ok(is_so.then(|| text(&found, "/status/phaseReason")))
        });
        told.map_err(|error| error.context(self.told()))
    }

    /// Runs a line of shell beside PostgreSQL.
    pub fn shell(&self, pod: &str, line: &str) -> Result<String> {
        self.place.kubectl(&["exec", pod, "--container", "postgres", "--", "sh", "-c", line])
    }

    /// How many standbys the primary sends its log to.
    pub fn streaming(&self) -> Result<u32> {
        let query = "select count(*) from pg_stat_replication where state = 'streaming'";
        let line = format!("psql -U postgres -Atc \"{query}\"");
        Ok(self.shell(&self.primary()?, &line)?.trim().parse()?)
    }

    /// Waits until all instances that were asked for are there, and with the primary.
    pub fn wait_whole(&self, operator: Operator, within: Duration) -> Result<()> {
        let whole = wait::find_seldom(&format!("{} to be whole", self.name), within, || {
            Ok(self.is_whole(operator).unwrap_or(false).then_some(()))
        });
        whole.map_err(|error| error.context(self.told()))
    }

    fn is_whole(&self, operator: Operator) -> Option<bool> {
        let cluster = self.place.get("cluster", self.name)?;
        let wanted = cluster.pointer("/spec/instances")?.as_u64()?;
        if operator == Operator::Present {
            let healthy = cluster.pointer("/status/phase")?.as_str()? == HEALTHY;
            if !healthy || cluster.pointer("/status/readyInstances")?.as_u64()? != wanted {
                return Some(false);
            }
        }
        // Kubernetes learns late that a pod was away; the primary knows who is with it.
        let record = self.record()?;
        let with_it = u64::try_from(record.grantors.len()).ok()? + 1;
        let pods = ["get", "pods", "--selector", &self.selector(), "--output", "json"];
        let pods: Value = serde_json::from_str(&self.place.try_kubectl(&pods)?).ok()?;
        let pods = pods.pointer("/items")?.as_array()?;
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        Some(
            record.phase == Phase::Serving
                && with_it == wanted
                && pods.len() == ready
                && u64::try_from(ready).ok()? == wanted,
        )
    }

    /// Asks for its end, and waits until nothing of it is left.
    pub fn delete(&self) -> Result<()> {
        self.place.kubectl(&["delete", "cluster", self.name, "--wait=false"])?;
        self.wait_gone()
    }

    pub fn wait_gone(&self) -> Result<()> {
        let kinds = "pods,pvc,services,secrets,leases,configmaps,poddisruptionbudgets,roles";
        let selector = self.selector();
        let left = ["get", kinds, "--selector", &selector, "--output", "name"];
        let mut names = String::new();
        let gone = wait::find_seldom("everything to be gone", HEALED_WITHIN, || {
            names = self.place.kubectl(&left)?;
            Ok(names.is_empty().then_some(()))
        });
        gone.with_context(|| format!("left: {names}"))
    }

    /// What a person would look at first.
    pub fn told(&self) -> String {
        let status = self.place.get("cluster", self.name).unwrap_or_default();
        let status = status.pointer("/status/phase").cloned().unwrap_or_default();
        let pods = self.place.try_kubectl(&["get", "pods", "--output", "wide"]);
        let record = self.lease();
        let record = record.pointer("/metadata/annotations/pgherd.dev~1record").cloned();
        format!("{status}\n{}\n{}", record.unwrap_or_default(), pods.unwrap_or_default())
    }
}

/// Ends whatever clusters and clients are left in the namespace.
pub fn delete_all(place: &Place) -> Result<()> {
    let mut left = String::new();
    place.kubectl(&["delete", "clusters", "--all", "--wait=false"])?;
    let gone = wait::find_seldom("everything to be gone", HEALED_WITHIN, || {
        place.kubectl(&["delete", "pods", "--selector", "!cnpg.io/cluster", "--wait=false"])?;
        left = place.kubectl(&["get", "clusters,pods,pvc", "--output", "name"])?;
        Ok(left.is_empty().then_some(()))
    });
    gone.with_context(|| format!("left: {left}"))
}

/// Everything that explains a failure, as files in a folder.
pub fn keep_evidence(place: &Place, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let keep = |name: &str, words: &[&str]| {
        let said = place.try_kubectl(words).unwrap_or_default();
        std::fs::write(folder.join(name), said)
    };
    for kind in ["clusters", "pods", "events", "leases", "endpointslices", "pvc"] {
        keep(&format!("{kind}.yaml"), &["get", kind, "--output", "yaml"])?;
    }
    for namespace in [place.namespace.as_str(), SYSTEM] {
        let within = ["--namespace", namespace];
        let pods = [&within[..], &["get", "pods", "--output", "name"]].concat();
        for pod in place.try_kubectl(&pods).unwrap_or_default().lines() {
            let name = pod.trim_start_matches("pod/");
            let logs = [&within[..], &["logs", pod, "--all-containers"]].concat();
            keep(&format!("{name}.log"), &logs)?;
            let before = [&logs[..], &["--previous"]].concat();
            keep(&format!("{name}.before.log"), &before)?;
        }
    }
    Ok(())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let of = |condition: &Value, name: &str| {
        condition.pointer(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    conditions.is_some_and(|all| {
        all.iter().any(|one| of(one, "/type") == "Ready" && of(one, "/status") == "True")
    })
}
