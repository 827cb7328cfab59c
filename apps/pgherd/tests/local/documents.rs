//! Every verb that changes something, with `-o json`: one document on stdout that names what the
//! verb acted on. And the address that `uri` prints, given to a real psql.

use super::home::{Home, PROGRAM};
use pgherd_agent::postgres::install;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_mins(1);

/// The order matters: each verb finds the cluster as the one before it left it.
#[test]
fn every_verb_tells_what_it_did_as_a_document() {
    let mut home = Home::new();
    home.owns("local");
    let up = home.json(&["up", "--instances", "3"]);
    assert_eq!((&up["cluster"], &up["ready"]), (&json!("local"), &json!(3)), "{up}");
    let all = json!(["local-1", "local-2", "local-3"]);

    let standby = home.standby();
    let about_one = [
        "stop",
        "start",
        "restart",
        "fence",
        "unfence",
        "freeze",
        "thaw",
        "partition",
        "heal",
        "kill",
        "start",
    ];
    for verb in about_one {
        let told = home.json(&[verb, &standby]);
        assert_eq!(told["cluster"], "local", "{verb:?}: {told}");
        assert_eq!(told["instances"], json!([standby]), "{verb:?}: {told}");
        assert_eq!(told["changed"], true, "{verb:?}: {told}");
        assert!(told["done"].as_str().is_some_and(|done| !done.is_empty()), "{verb:?}: {told}");
    }
    for verb in ["pause", "resume", "restart"] {
        let told = home.json(&[verb]);
        assert_eq!(
            (&told["cluster"], &told["instances"]),
            (&json!("local"), &all),
            "{verb}: {told}"
        );
        assert_eq!(told["changed"], true, "{verb}: {told}");
    }
    let again = home.json(&["resume"]);
    assert_eq!(again["changed"], false, "{again}");

    let switchover = home.json(&["switchover", &standby]);
    assert_eq!(switchover["to"], json!(standby), "{switchover}");

    an_address_outlives_the_primary(&home);

    let down = home.json(&["down"]);
    assert_eq!(down["cluster"], "local", "{down}");
    let destroyed = home.json(&["destroy", "--yes"]);
    assert_eq!(destroyed, json!({"cluster": "local", "state": "destroyed"}));
}

/// As a script does it: one address, given to psql as it was printed.
fn an_address_outlives_the_primary(home: &Home) {
    let printed = home.command(&["uri"]).output().unwrap();
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let address = String::from_utf8(printed.stdout).unwrap().trim().to_owned();
    let document = home.command(&["uri", "-o", "json"]).output().unwrap();
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document, json!({"uri": address}));

    let user = address.strip_prefix("postgresql://").unwrap().split_once('@').unwrap().0;
    assert_eq!(user, "app", "a password is told only to those who ask for it");
    let secret = home.run(&["uri", "--with-password"]).out;
    let user = secret.strip_prefix("postgresql://").unwrap().split_once('@').unwrap().0;
    assert!(user.starts_with("app:") && user.len() > "app:".len(), "it was asked for");

    let psql = install::find(None).unwrap().bindir.join("psql");
    let answers = || {
        let mut psql = Command::new(&psql);
        psql.arg(&address).args(["-XAtqc", "select 1"]).output().unwrap()
    };
    let first = answers();
    assert_eq!((first.status.code(), &*first.stdout), (Some(0), &b"1\n"[..]), "{first:?}");

    let primary = home.primary();
    let killed = home.json(&["kill", &primary]);
    assert_eq!(killed["instances"], json!([primary]), "{killed}");
    let deadline = Instant::now() + LONG;
    loop {
        let said = answers();
        if said.status.success() {
            assert_eq!(said.stdout, b"1\n", "{said:?}");
            break;
        }
        assert!(Instant::now() < deadline, "nobody takes writes again: {said:?}");
    }
    assert_ne!(home.json(&["status"])["primary"], json!(primary));
}

/// Four scenes on a cluster of its own, of which nothing is left.
#[test]
fn the_tour_tells_what_it_measured_as_a_document() {
    let room = tempfile::tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut demo = Command::new(PROGRAM);
    let demo = demo.args(["local", "demo", "-o", "json"]).env("TMPDIR", room.path());
    let said = demo.output().unwrap();
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let scenes: Value = serde_json::from_slice(&said.stdout).unwrap();
    let scenes = scenes.as_array().unwrap();
    let what: Vec<_> = scenes.iter().map(|scene| scene["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["node lost", "node frozen", "node cut off", "planned switchover"]);
    for scene in scenes {
        let name = |key: &str| scene[key].as_str().is_some_and(|it| it.starts_with("demo-"));
        assert!(name("from") && name("to") && scene["from"] != scene["to"], "{scene}");
        assert_eq!((&scene["lost"], &scene["wrong"]), (&json!(0), &json!(0)), "{scene}");
    }
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0, "the demo left something behind");
}
