//! Clones of a cluster: from its running primary, and from its newest backup.
//!
//! Never believes that a clone is one without having written to it and to its source.

use super::archive::place::folder;
use super::archive::{sql, up};
use super::home::Home;

const ONE: &str = "instances: 1, enableSuperuserAccess: true";

fn count(home: &Home, name: &str) -> String {
    let words = ["psql", "--name", name, "--role", "postgres", "--", "-XAtqc"];
    let said = home.run(&[&words[..], &["select count(*) from ledger"]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().to_owned()
}

fn write_to(home: &Home, name: &str) {
    let words = ["psql", "--name", name, "--role", "postgres", "--", "-XAtqc"];
    let said = home.run(&[&words[..], &["insert into ledger values (-1)"]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_cluster_is_cloned_while_it_runs_and_from_its_backup() {
    let mut home = Home::new();
    home.owns("local");
    up(&home, &home.manifest("local", ONE));
    sql(&home, "create table ledger (n int)");
    sql(&home, "insert into ledger select generate_series(1, 1000)");
    sql(&home, "grant select on ledger to app");
    let check = home.folder().with_file_name("checks.sql");
    std::fs::write(&check, "select count(*) = 1000 from ledger;").unwrap();
    let check = check.to_str().unwrap();

    // Without an archive there is only one way.
    let refused = home.run(&["clone", "local", "never", "--from", "backup"]);
    assert!(refused.code == Some(4) && refused.err.contains("--from running"), "{refused:?}");
    let plan = home.run(&["clone", "local", "never", "--plan"]);
    assert!(plan.code == Some(0) && plan.out.contains("a copy of local-1"), "{plan:?}");
    assert!(!home.folder().join("never").exists(), "a plan makes nothing");
    let refused = home.run(&["clone", "local", "local"]);
    assert!(refused.code == Some(4) && refused.err.contains("exists"), "{refused:?}");

    home.owns("copy");
    let words = ["clone", "local", "copy", "--instances", "2", "--sql-check", check];
    let cloned = home.json(&words);
    assert_eq!((&cloned["copyOf"], &cloned["check"]["failure"]), (&"local-1".into(), &().into()));
    assert_eq!(home.json(&["status", "--name", "copy"])["instances"].as_array().unwrap().len(), 2);
    write_to(&home, "copy");
    assert_eq!((count(&home, "copy"), count(&home, "local")), ("1001".into(), "1000".into()));
    // What opened the source is for nobody else, and not told.
    let said = home.run(&["status", "--name", "copy", "-o", "json"]);
    assert!(!said.out.contains("PRIVATE KEY"), "{said:?}");

    // Of the source nothing is needed any more.
    assert_eq!(home.run(&["down", "--name", "copy"]).code, Some(0));
    assert_eq!(home.run(&["up", "--name", "copy"]).code, Some(0));
    assert_eq!(count(&home, "copy"), "1001");

    let place = folder(&home);
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    up(&home, &home.manifest("local", &format!("{ONE}, {store}")));
    let taken = home.json(&["backup", "--immediate-checkpoint", "--rate", "100Mi"]);
    assert_eq!(taken["phase"], "completed");
    write_to(&home, "local");
    let again = home.run(&["clone", "local", "again"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    home.owns("again");
    assert!(again.out.contains("restored from backup/"), "{again:?}");
    assert_eq!(count(&home, "again"), "1001", "the newest that was committed is there");

    // What an earlier clone left in the store keeps its name from being used again.
    let left = place.join("taken/wals/0000000100000000");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("000000010000000000000001"), "log").unwrap();
    let refused = home.run(&["clone", "local", "taken", "--from", "running"]);
    assert!(refused.code == Some(4) && refused.err.contains("is not free"), "{refused:?}");
    assert!(!home.folder().join("taken").exists(), "something was made");

    // A check that fails ends the command, and leaves the clone to be looked at.
    home.owns("checked");
    let failed =
        home.run(&["clone", "local", "checked", "--from", "running", "--sql-check", check]);
    assert!(failed.code == Some(1) && failed.err.contains("row 1"), "{failed:?}");
    assert_eq!(count(&home, "checked"), "1001");
}
