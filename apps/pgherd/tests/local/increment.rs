//! Backups that build on each other, as a user takes, lists, restores and removes them.
//!
//! Never believes what is told without a look into what was restored.

use super::archive::place::folder;
use super::archive::{sql, up};
use super::home::Home;
use serde_json::Value;
use std::path::PathBuf;

const ROWS: &str =
    "create table t as select n, repeat(md5(n::text), 10) from generate_series(1, 20000) n";

fn cluster(home: &Home) -> PathBuf {
    let place = folder(home);
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    let spec = format!("instances: 2, enableSuperuserAccess: true, {store}");
    up(home, &home.manifest("local", &spec));
    sql(home, ROWS);
    sql(home, "vacuum (freeze) t");
    place
}

fn take(home: &Home, more: &[&str]) -> Value {
    let words = ["backup", "--immediate-checkpoint", "--target", "primary", "--incremental"];
    home.json(&[&words[..], more].concat())
}

fn id(report: &Value) -> String {
    report["id"].as_str().unwrap().to_owned()
}

fn stored(report: &Value) -> u64 {
    report["taken"]["stored"].as_u64().unwrap()
}

#[test]
fn an_incremental_backup_is_taken_told_and_restored() {
    let mut home = Home::new();
    home.owns("local");
    let place = cluster(&home);
    let full = take(&home, &[]);
    assert!(full["fullBecause"].as_str().unwrap().contains("no backup"), "{full}");
    sql(&home, "update t set n = -n where n = 7");
    let first = take(&home, &[]);
    assert_eq!(first["buildsOn"], id(&full));
    assert!(stored(&first) * 2 < stored(&full), "{first} after {full}");
    sql(&home, "insert into t select n, 'later' from generate_series(30001, 30100) n");
    let second = take(&home, &[]);
    assert_eq!(second["buildsOn"], id(&first));
    // The log named what had changed.
    assert_eq!(first.get("allReadBecause"), Some(&Value::Null), "{first}");
    assert_eq!(second.get("allReadBecause"), Some(&Value::Null), "{second}");

    let listed = home.json(&["backup", "list"]);
    let types = listed.as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap());
    assert_eq!(types.collect::<Vec<_>>(), ["full", "incremental", "incremental"]);
    assert!(listed.as_array().unwrap().iter().all(|one| one["usable"] == true), "{listed}");
    let verified = home.json(&["backup", "verify"]);
    assert_eq!((&verified["backup"], &verified["good"]), (&id(&second).into(), &true.into()));
    let info = home.run(&["backup", "info", &id(&second)]).out;
    assert!(info.contains(&format!("incremental to {}", id(&first))), "{info}");
    let plan = home.run(&["restore", "local", "--as", "copy", "--latest", "--plan"]).out;
    let chain = format!("incremental on {} on {}, which is full", id(&first), id(&full));
    assert!(plan.contains(&chain), "{plan}");

    home.owns("copy");
    let words = ["restore", "local", "--as", "copy", "--instances", "1", "--immediate"];
    let restored = home.run(&words);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let count = "select count(*) || ' ' || min(n) from t";
    let words = ["psql", "--name", "copy", "--role", "postgres", "--", "-XAtqc", count];
    assert_eq!(home.run(&words).out.trim(), "20100 -7");

    // The agent stored which pages each segment changes, beside them.
    let maps = std::fs::read_dir(place.join("local/pgherd/blockmap")).unwrap();
    assert!(maps.count() > 0);

    // barman's tools do not know what builds on what.
    std::fs::remove_dir_all(place.join("local/base").join(id(&full))).unwrap();
    let listed = home.json(&["backup", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["usable"]), (&id(&first).into(), &false.into()));
    assert!(listed[0]["problem"].as_str().unwrap().contains(&id(&full)), "{listed}");
}

#[test]
fn a_full_one_is_due_and_an_old_one_goes_with_what_builds_on_it() {
    let mut home = Home::new();
    home.owns("local");
    cluster(&home);
    let full = take(&home, &[]);
    let first = take(&home, &["--full-every", "2"]);
    assert_eq!(first["buildsOn"], id(&full));
    let due = take(&home, &["--full-every", "2"]);
    assert!(due["fullBecause"].as_str().unwrap().contains("every 2"), "{due}");

    let told = |words: &[&str]| home.run(words).told();
    let would = told(&["backup", "delete", &id(&full)]);
    assert!(would.contains(&id(&first)) && would.contains("need it"), "{would}");
    let hold = told(&["backup", "annotate", &id(&first), "--keep", "full"]);
    assert!(hold.contains("is on hold"), "{hold}");
    let held = told(&["backup", "delete", &id(&full), "--yes"]);
    assert!(held.contains("is on hold: release it first"), "{held}");
    told(&["backup", "annotate", &id(&first), "--release"]);
    let kept = home.json(&["backup", "expire", "--policy", "2", "--dry-run"]);
    assert!(kept["backups"][0]["because"].as_str().unwrap().contains("builds on it"), "{kept}");
    let gone = told(&["backup", "delete", &id(&full), "--yes"]);
    assert!(gone.contains("deleted with"), "{gone}");
    let left = home.json(&["backup", "list"]);
    assert_eq!((left.as_array().unwrap().len(), &left[0]["id"]), (1, &id(&due).into()));
}
