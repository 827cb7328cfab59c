//! What is promised on a Kubernetes, measured by a client in a pod of its own.
//!
//! Never against a cluster that others use: it makes a namespace, and removes it at the end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]
#![expect(clippy::indexing_slicing, reason = "what a document lacks is null")]
#![expect(clippy::print_stderr, reason = "what is measured and what is skipped must be seen")]

use pgherd_e2e::client::{Line, now_milliseconds};
use pgherd_e2e::testbed::{Node, Testbed};
use pgherd_e2e::{run, wait};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const ASK_WITHIN: Duration = Duration::from_secs(20);
const UP_WITHIN: Duration = Duration::from_mins(3);
const HEALED_WITHIN: Duration = Duration::from_mins(2);
/// How long writes have to flow before the next fault.
const QUIET: Duration = Duration::from_secs(2);

/// The Kubernetes that KUBECONFIG names, and in it a namespace.
struct Place {
    namespace: String,
    /// Only a testbed has nodes whose power can be taken.
    testbed: Option<Testbed>,
}

impl Place {
    fn find() -> Option<Self> {
        if std::env::var_os("KUBECONFIG").is_none() {
            eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach a Kubernetes");
            return None;
        }
        let testbed = Testbed::find(env!("CARGO_BIN_EXE_pgherd-e2e").into()).unwrap();
        let testbed = Some(testbed).filter(Testbed::is_up);
        if testbed.is_none() {
            eprintln!("SKIPPED: without a testbed no node can lose its power or be cut off");
        }
        let place = Self { namespace: format!("proof-{}", std::process::id()), testbed };
        place.kubectl(&["create", "namespace", &place.namespace]);
        Some(place)
    }

    fn command(&self, words: &[&str]) -> Command {
        let own = ["--namespace", &self.namespace];
        let mut kubectl = if let Some(testbed) = &self.testbed {
            testbed.kubectl(&own).unwrap()
        } else {
            let mut kubectl = Command::new("kubectl");
            kubectl.args(own);
            kubectl
        };
        kubectl.args(words);
        kubectl
    }

    fn kubectl(&self, words: &[&str]) -> String {
        run::succeed(self.command(words), ASK_WITHIN).unwrap()
    }

    fn try_kubectl(&self, words: &[&str]) -> Option<String> {
        let said = run::run(self.command(words), ASK_WITHIN).ok()?;
        said.succeeded.then_some(said.out)
    }

    fn apply(&self, object: &Value) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&["apply", "--filename", file.to_str().unwrap()]);
    }

    fn get(&self, kind: &str, name: &str) -> Option<Value> {
        serde_json::from_str(&self.try_kubectl(&["get", kind, name, "--output", "json"])?).ok()
    }

    fn wait_healthy(&self, cluster: &str, within: Duration) {
        wait::until(&format!("{cluster} to be healthy"), within, || {
            let found = self.get("cluster", cluster).unwrap_or_default();
            let status = &found["status"];
            // Kubernetes learns late that a pod was away; the primary knows who is with it.
            let record = self.record(cluster);
            let with_it = record["grantors"].as_array().map_or(0, Vec::len) + 1;
            Ok(status["phase"] == "Cluster in healthy state"
                && status["readyInstances"] == found["spec"]["instances"]
                && found["spec"]["instances"] == with_it)
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.told(cluster)));
    }

    /// What a person would look at first.
    fn told(&self, cluster: &str) -> String {
        let status = self.get("cluster", cluster).unwrap_or_default()["status"].to_string();
        let pods = self.try_kubectl(&["get", "pods", "--output", "wide"]).unwrap_or_default();
        let operator = ["--namespace", "pgherd-system", "logs", "deployment/pgherd-operator"];
        let operator = self.try_kubectl(&[&operator[..], &["--tail", "20"]].concat());
        format!("{status}\n{pods}\n{}", operator.unwrap_or_default())
    }

    /// Who holds the office, with whose consent.
    fn record(&self, cluster: &str) -> Value {
        let lease = self.get("lease", cluster).unwrap_or_default();
        let record = lease["metadata"]["annotations"]["pgherd.dev/record"].as_str();
        serde_json::from_str(record.unwrap_or_default()).unwrap_or_default()
    }

    fn primary(&self, cluster: &str) -> String {
        let lease = self.get("lease", cluster).unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    fn node_of(&self, pod: &str) -> Node {
        let pod = self.get("pod", pod).unwrap();
        pod["spec"]["nodeName"].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _asked = self.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// The client's pod, and what it has said.
struct Client<'a> {
    place: &'a Place,
}

impl<'a> Client<'a> {
    /// On a node that keeps its power.
    fn start(place: &'a Place, cluster: &str, node: Option<&str>) -> Self {
        let secret =
            |key: &str| json!({"secretKeyRef": {"name": format!("{cluster}-app"), "key": key}});
        let uri = format!(
            "postgresql://app:$(PASSWORD)@{cluster}-rw:5432/app?sslmode=verify-full&sslrootcert=/ca/ca.crt"
        );
        let mut spec = json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "client",
                "image": "localhost/pgherd-e2e:dev",
                "command": ["/pgherd", "client", "write"],
                "env": [
                    {"name": "PASSWORD", "valueFrom": secret("password")},
                    {"name": "URI", "value": uri},
                ],
                "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
            }],
            "volumes": [{"name": "ca", "secret": {"secretName": format!("{cluster}-ca"), "items": [{"key": "ca.crt", "path": "ca.crt"}]}}],
        });
        if let Some(node) = node {
            spec["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        }
        place.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": spec,
        }));
        let client = Self { place };
        client.settle();
        client
    }

    fn lines(&self) -> Vec<Line> {
        let said = self.place.try_kubectl(&["logs", "client"]).unwrap_or_default();
        said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The longest time without an acknowledged row in beats after `since`.
    fn gap(&self, since: u64) -> Duration {
        let gaps = self.lines().into_iter().filter_map(|line| match line {
            Line::Beat { at, gap_milliseconds, .. } if at >= since => Some(gap_milliseconds),
            Line::Beat { .. } | Line::Verdict { .. } => None,
        });
        Duration::from_millis(gaps.max().unwrap_or(0))
    }

    /// Waits until rows have been acknowledged for a while without a pause.
    fn settle(&self) {
        let quiet = u64::try_from(QUIET.as_millis()).unwrap();
        wait::until("rows to be acknowledged again", HEALED_WITHIN, || {
            let beats: Vec<_> = self.lines().into_iter().rev().take(20).collect();
            let newest = beats.first().cloned();
            let fresh = matches!(newest, Some(Line::Beat { at, .. }) if at + quiet > now_milliseconds());
            let flows = beats.iter().all(|line| matches!(line, Line::Beat { gap_milliseconds, .. } if *gap_milliseconds < 300));
            Ok(beats.len() == 20 && fresh && flows)
        })
        .unwrap_or_else(|error| {
            let said = self.place.try_kubectl(&["logs", "client", "--tail", "3"]);
            panic!("{error:#}: {said:?}")
        });
    }

    /// What was lost of what was acknowledged.
    fn end(self) -> Line {
        self.place.kubectl(&["exec", "client", "--", "/pgherd", "client", "stop"]);
        wait::find("the client's verdict", HEALED_WITHIN, || {
            Ok(self.lines().into_iter().rev().find(|line| matches!(line, Line::Verdict { .. })))
        })
        .unwrap()
    }
}

fn manifest(name: &str, instances: u32, durability: Option<&str>) -> Value {
    let mut spec = json!({"instances": instances, "storage": {"size": "1Gi"}});
    if let Some(durability) = durability {
        spec["postgresql"] = json!({
            "synchronous": {"method": "any", "number": 1, "dataDurability": durability},
        });
    }
    json!({
        "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
        "metadata": {"name": name}, "spec": spec,
    })
}

#[test]
fn a_cluster_comes_up_and_survives_what_happens_to_its_pods_and_nodes() {
    let Some(place) = Place::find() else { return };
    let began = Instant::now();
    place.apply(&manifest("app-db", 3, Some("required")));
    place.wait_healthy("app-db", UP_WITHIN);
    eprintln!("three instances after {:.1} s", began.elapsed().as_secs_f64());
    names_that_users_know(&place);
    let client = Client::start(&place, "app-db", place.testbed.as_ref().map(|_| "n1"));
    a_killed_postmaster(&place, &client);
    a_deleted_pod(&place, &client);
    if let Some(testbed) = &place.testbed {
        a_lost_node(&place, testbed, &client);
        an_api_server_that_is_away(testbed, &client);
    }
    match client.end() {
        Line::Verdict { acknowledged, unknown, lost, wrong } => {
            eprintln!("{acknowledged} rows acknowledged, {lost} lost, {unknown} in doubt");
            assert!(acknowledged > 0 && lost == 0 && !wrong);
        }
        Line::Beat { .. } => panic!("no verdict"),
    }
    place.kubectl(&["delete", "cluster", "app-db"]);
    wait::until("everything to be gone", HEALED_WITHIN, || {
        let kinds = "pods,pvc,services,secrets,leases,configmaps,poddisruptionbudgets,roles";
        let left = ["get", kinds, "--selector", "cnpg.io/cluster=app-db", "--output", "name"];
        Ok(place.kubectl(&left).is_empty())
    })
    .unwrap();
}

fn names_that_users_know(place: &Place) {
    for (kind, names) in [
        ("service", &["app-db-rw", "app-db-ro", "app-db-r"][..]),
        ("secret", &["app-db-app", "app-db-ca", "app-db-server", "app-db-replication"]),
        ("pvc", &["app-db-1", "app-db-2", "app-db-3"]),
        ("poddisruptionbudget", &["app-db", "app-db-primary"]),
        ("role", &["app-db"]),
        ("rolebinding", &["app-db"]),
        ("serviceaccount", &["app-db"]),
        ("lease", &["app-db"]),
    ] {
        for name in names {
            assert!(place.get(kind, name).is_some(), "{kind} {name}");
        }
    }
}

fn a_killed_postmaster(place: &Place, client: &Client<'_>) {
    let primary = place.primary("app-db");
    let since = now_milliseconds();
    let kill = "kill -9 $(head -1 $PGDATA/postmaster.pid)";
    place.kubectl(&["exec", &primary, "--container", "postgres", "--", "sh", "-c", kill]);
    client.settle();
    eprintln!("postmaster killed: {:?}", client.gap(since));
    place.wait_healthy("app-db", HEALED_WITHIN);
}

fn a_deleted_pod(place: &Place, client: &Client<'_>) {
    let primary = place.primary("app-db");
    let since = now_milliseconds();
    place.kubectl(&["delete", "pod", &primary, "--wait=false"]);
    wait::until("another primary", HEALED_WITHIN, || Ok(place.primary("app-db") != primary))
        .unwrap();
    client.settle();
    eprintln!("pod of the primary deleted: {:?}", client.gap(since));
    place.wait_healthy("app-db", HEALED_WITHIN);
}

fn a_lost_node(place: &Place, testbed: &Testbed, client: &Client<'_>) {
    // The client's own node has to stay.
    if place.node_of(&place.primary("app-db")) == "n1".parse().unwrap() {
        a_deleted_pod(place, client);
    }
    let primary = place.primary("app-db");
    let node = place.node_of(&primary);
    let since = now_milliseconds();
    testbed.crash(node).unwrap();
    wait::until("another primary", HEALED_WITHIN, || Ok(place.primary("app-db") != primary))
        .unwrap();
    client.settle();
    eprintln!("node of the primary without power: {:?}", client.gap(since));
    testbed.start(node).unwrap();
    place.wait_healthy("app-db", HEALED_WITHIN);
}

fn an_api_server_that_is_away(testbed: &Testbed, client: &Client<'_>) {
    let since = now_milliseconds();
    testbed.stop_api().unwrap();
    // A term of the office would be over by then.
    let away = Instant::now();
    wait::until("the outage to last", Duration::from_mins(1), || {
        Ok(away.elapsed() > Duration::from_secs(20))
    })
    .unwrap();
    testbed.start_api().unwrap();
    client.settle();
    let gap = client.gap(since);
    eprintln!("API server away for 20 s: {gap:?}");
    assert!(gap < Duration::from_secs(1), "writes stood still for {gap:?}");
}
