//! The command line on a Kubernetes, as people use it: the real program, and what it says.
//!
//! Never against a cluster that others use: it makes a namespace, and removes it at the end.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]
#![expect(clippy::indexing_slicing, reason = "what a document lacks is null")]
#![expect(clippy::print_stderr, reason = "what is measured and what is skipped must be seen")]

use pgherd_e2e::proof::place::{Place, product};
use pgherd_e2e::run::Said;
use pgherd_e2e::wait;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const WITHIN: Duration = Duration::from_mins(2);
const UP_WITHIN: Duration = Duration::from_mins(3);
/// What the program promises to its callers.
const NOT_FOUND: i32 = 3;
const REFUSED: i32 = 4;
const CLUSTER: &str = "shop-db";
const VIEWER: &str = "viewer";

/// What people say to the program.
struct Console {
    place: Place,
    program: PathBuf,
}

impl Console {
    fn find() -> Option<Self> {
        if std::env::var_os("KUBECONFIG").is_none() {
            eprintln!("SKIPPED, NOTHING IS PROVEN: set KUBECONFIG to reach a Kubernetes");
            return None;
        }
        let (own, program) = (env!("CARGO_BIN_EXE_pgherd-e2e").into(), product().unwrap());
        let place = Place::find(own, Some(program.clone())).unwrap();
        Some(Self { place, program })
    }

    fn kubectl(&self, words: &[&str]) -> String {
        self.place.kubectl_within(words, WITHIN).unwrap()
    }

    /// What the program says to this, whatever comes of it.
    fn said(&self, words: &[&str]) -> Said {
        let said = self.place.said(words, WITHIN).unwrap();
        eprintln!("$ pgherd {}\n{}{}", words.join(" "), said.out, said.complaint);
        said
    }

    /// A verb about the cluster.
    fn verb(&self, verb: &str, words: &[&str]) -> Said {
        self.said(&[&[verb, CLUSTER, "--namespace", &self.place.namespace], words].concat())
    }

    /// The same, which has to succeed.
    fn done(&self, verb: &str, words: &[&str]) -> String {
        let said = self.verb(verb, words);
        assert!(said.succeeded, "{said:?}");
        said.out
    }

    /// The same as a document.
    fn document(&self, verb: &str, words: &[&str]) -> Value {
        let text = self.done(verb, &[&["--output", "json"], words].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn status(&self) -> Value {
        self.document("status", &[])
    }

    fn instance(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["instances"].as_array().unwrap();
        all.iter().find(|it| it["name"] == name).cloned().unwrap_or_default()
    }

    fn wait_healthy(&self) {
        wait::find_seldom("the cluster to be healthy", UP_WITHIN, || {
            let status = self.status();
            let all = status["ready"] == 3 && status["health"] == "healthy";
            let follows = |it: &Value| it["role"] == "primary" || it["streaming"] == true;
            let instances = status["instances"].as_array().unwrap();
            Ok((all && instances.iter().all(follows)).then_some(()))
        })
        .unwrap();
    }

    /// When an instance's PostgreSQL was started, as it says itself.
    fn started(&self, instance: &str) -> String {
        let query = ["--", "-Atc", "select pg_postmaster_start_time()"];
        let said = self.done("psql", &[&[instance][..], &query].concat());
        said.trim().to_owned()
    }
}

#[test]
fn every_verb_does_what_it_says() {
    let Some(console) = Console::find() else { return };
    console
        .place
        .apply(&json!({
            "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster",
            "metadata": {"name": CLUSTER},
            "spec": {"instances": 3, "storage": {"size": "1Gi"}},
        }))
        .unwrap();
    console.wait_healthy();
    what_is_told(&console);
    what_is_not_there(&console);
    a_client(&console);
    a_reload(&console);
    a_restart(&console);
    a_switchover(&console);
    a_fence(&console);
    a_pause(&console);
    a_viewer(&console);
    the_end(&console);
}

fn what_is_told(console: &Console) {
    let status = console.status();
    let primary = status["primary"].as_str().unwrap();
    assert!(status["position"].is_string() && status["postgres"].is_string(), "{status}");
    for instance in status["instances"].as_array().unwrap() {
        let is_primary = instance["name"] == primary;
        assert!(instance["lagBytes"].is_number() != is_primary, "{instance}");
        assert!(
            instance["timeline"] == status["timeline"] && instance["agentVersion"].is_string(),
            "{instance}"
        );
    }
    let page = console.done("status", &["--wide"]);
    assert!(page.contains("HEALTHY") && page.contains("LAG"), "{page}");
    let told = console.done("explain", &[]);
    assert!(told.starts_with(&format!("{primary} serves writes")), "{told}");
    let tree = console.done("topology", &[]);
    assert!(tree.starts_with(&format!("{primary} (primary")), "{tree}");
    assert!(console.done("history", &[]).contains(primary));
    assert!(console.done("logs", &["1", "--tail", "5"]).contains("shop-db-1"));
    let yaml = console.done("status", &["--output", "yaml"]);
    assert!(yaml.contains("health: healthy"), "{yaml}");
    let name = console.done("status", &["--output", "name"]);
    assert_eq!(name.trim(), "cluster.postgresql.cnpg.io/shop-db");
    let version = console.said(&["version"]);
    assert!(version.out.contains("operator: "), "{version:?}");
    let begun = Command::new(&console.program)
        .args(["--", "pgherd", "status", "--namespace", &console.place.namespace, "shop"])
        .env("PGHERD_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "4")
        .output();
    let begun = String::from_utf8(begun.unwrap().stdout).unwrap();
    assert!(begun.contains(CLUSTER), "{begun}");
}

fn what_is_not_there(console: &Console) {
    let missing = console.said(&["status", "other", "--namespace", &console.place.namespace]);
    assert_eq!(missing.code, Some(NOT_FOUND));
    let expected = format!(
        "error: cluster.postgresql.cnpg.io \"other\" not found in namespace {}",
        console.place.namespace
    );
    assert!(missing.complaint.starts_with(&expected), "{}", missing.complaint);
    assert_eq!(console.verb("restart", &["9"]).code, Some(NOT_FOUND));
    let primary = console.status()["primary"].as_str().unwrap().to_owned();
    assert_eq!(console.verb("switchover", &[&primary]).code, Some(REFUSED));
    let kept = console.said(&["uninstall"]);
    assert_eq!(kept.code, Some(REFUSED), "there is a cluster");
    assert!(kept.out.is_empty() && kept.complaint.contains("shop-db"), "{kept:?}");
}

fn a_client(console: &Console) {
    let query = ["--", "-Atc", "select pg_is_in_recovery()"];
    assert_eq!(console.done("psql", &query).trim(), "f");
    let replica = console.done("psql", &[&["--role", "replica"][..], &query].concat());
    assert_eq!(replica.trim(), "t");
    let uri = console.done("uri", &[]);
    let expected = format!(
        "postgresql://app@shop-db-rw.{}.svc:5432/app?sslmode=require\n",
        console.place.namespace
    );
    assert_eq!(uri, expected);
    let uri = console.done("uri", &["--show-password"]);
    let uri = uri.trim();
    // Inside the Kubernetes it is an address.
    let answer = ["exec", "shop-db-2", "--container", "postgres", "--", "psql", uri, "-Atc"];
    let answer = console.kubectl(&[&answer[..], &["select current_user"]].concat());
    assert_eq!(answer.trim(), "app");
}

fn a_reload(console: &Console) {
    let query = ["--", "-Atc", "select pg_conf_load_time()"];
    let before = console.done("psql", &query);
    assert_eq!(console.done("reload", &[]).trim(), "cluster/shop-db reloaded");
    assert_ne!(console.done("psql", &query), before);
}

fn a_restart(console: &Console) {
    let (first, second) = (console.started("shop-db-1"), console.started("shop-db-2"));
    assert_eq!(console.done("restart", &["2"]).trim(), "cluster/shop-db restarted");
    assert_eq!(console.started("shop-db-1"), first, "nobody asked for that one");
    assert_ne!(console.started("shop-db-2"), second);
    console.wait_healthy();
}

fn a_switchover(console: &Console) {
    let before = console.status()["primary"].as_str().unwrap().to_owned();
    let over = console.document("switchover", &[]);
    assert_eq!(over["from"], json!(before));
    let outage = over["writeOutageSeconds"].as_f64().unwrap();
    eprintln!("switchover: writes stood still for {outage:.3} s, as the product says");
    assert!(outage > 0.0 && outage < 5.0, "{over}");
    console.wait_healthy();
    assert_eq!(console.status()["primary"], over["to"]);
    let told = console.done("switchover", &[&before]);
    assert!(told.contains("write outage") && told.contains("of a client in pod"), "{told}");
    console.wait_healthy();
    assert_eq!(console.status()["primary"], json!(before));
    let history = console.document("history", &[]);
    assert_eq!(history.as_array().map(Vec::len), Some(3), "{history}");
    for term in history.as_array().unwrap().iter().skip(1) {
        assert!(term["reason"].as_str().unwrap().starts_with("switchover from"), "{history}");
    }
}

fn a_fence(console: &Console) {
    let primary = console.status()["primary"].as_str().unwrap().to_owned();
    let standby = if primary == "shop-db-3" { "shop-db-2" } else { "shop-db-3" };
    let of_standby = |done| format!("{standby} of cluster/shop-db {done}");
    assert_eq!(console.done("fence", &[standby]).trim(), of_standby("fenced"));
    let fenced = console.instance(standby);
    assert_eq!((&fenced["state"], &fenced["ready"]), (&json!("fenced"), &json!(false)));
    assert_eq!(fenced["role"], "fenced", "{fenced}");
    assert!(!console.verb("status", &["--check"]).succeeded, "one instance is down");
    let others = ["shop-db-1", "shop-db-2", "shop-db-3"].into_iter().filter(|it| *it != standby);
    let others: Vec<&str> = others.collect();
    assert_eq!(console.verb("fence", &others).code, Some(REFUSED), "that ends all service");
    let again = console.done("fence", &[standby]);
    assert_eq!(again.trim(), of_standby("is fenced already"));
    assert_eq!(console.done("unfence", &[standby]).trim(), of_standby("unfenced"));
    console.wait_healthy();
}

fn a_pause(console: &Console) {
    let paused = console.done("pause", &[]);
    assert!(paused.starts_with("cluster/shop-db paused"), "{paused}");
    let status = console.status();
    assert_eq!((&status["paused"], &status["health"]), (&json!(true), &json!("degraded")));
    // Paused agents leave a dead PostgreSQL down.
    let standby = if status["primary"] == "shop-db-3" { "shop-db-2" } else { "shop-db-3" };
    let kill = "kill -9 $(head -1 $PGDATA/postmaster.pid)";
    console.kubectl(&["exec", standby, "--container", "postgres", "--", "sh", "-c", kill]);
    wait::find_seldom("its end to be seen", WITHIN, || {
        Ok((console.instance(standby)["ready"] == false).then_some(()))
    })
    .unwrap();
    assert_eq!(console.done("resume", &[]).trim(), "cluster/shop-db resumed");
    console.wait_healthy();
}

/// Somebody who may look at things in the namespace, and no more.
fn a_viewer(console: &Console) {
    console.kubectl(&["create", "serviceaccount", VIEWER]);
    let account = format!("{}:{VIEWER}", console.place.namespace);
    let binding = ["create", "rolebinding", VIEWER, "--clusterrole=view"];
    console.kubectl(&[&binding[..], &["--serviceaccount", &account]].concat());
    let user = format!("system:serviceaccount:{account}");
    let viewer = ["--as", user.as_str()];
    let page = console.verb("status", &viewer);
    assert!(page.succeeded, "{page:?}");
    assert!(page.out.contains("shop-db-1") && page.out.contains("3/3 ready"), "{page:?}");
    let primary = console.status()["primary"].as_str().unwrap().to_owned();
    let serves = |line: &str| line.contains(&primary) && line.contains(" primary ");
    assert!(page.out.contains("HEALTHY") && page.out.lines().any(serves), "{page:?}");
    assert_eq!(page.complaint.matches("note: ").count(), 1, "{page:?}");
    assert!(console.verb("status", &["--check", "--as", &user]).succeeded);
    for right in ["create pods/exec", "get leases.coordination.k8s.io"] {
        assert!(page.complaint.contains(right), "{page:?}");
    }
    for verb in ["explain", "topology", "history", "logs", "uri"] {
        let said = console.verb(verb, &viewer);
        assert!(said.succeeded && !said.out.is_empty(), "{said:?}");
    }
    for verb in ["reload", "restart", "switchover", "pause"] {
        assert_eq!(console.verb(verb, &viewer).code, Some(REFUSED), "{verb}");
    }
    let secret = console.verb("uri", &["--show-password", "--as", &user]);
    assert_eq!(secret.code, Some(REFUSED), "{secret:?}");
    let psql = console.verb("psql", &["--as", &user, "--", "-c", "select 1"]);
    assert!(!psql.succeeded && psql.complaint.contains("forbidden"), "{psql:?}");
}

fn the_end(console: &Console) {
    console.kubectl(&["delete", "cluster", CLUSTER]);
    let gone = console.verb("status", &[]);
    assert_eq!(gone.code, Some(NOT_FOUND), "{gone:?}");
    let removed = console.said(&["uninstall", "--force"]);
    let kinds = removed.out.matches("kind: CustomResourceDefinition").count();
    assert!(removed.succeeded && kinds == 0 && removed.out.contains("pgherd-operator"));
}
