//! Base backups: taken, told, verified, removed, and never half of one left.
//!
//! Never believes what is told without a look into the repository.

use super::archive::place::folder;
use super::archive::{sql, up, wait_for};
use super::home::Home;
use super::stream::manifest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const TWO: &str = "instances: 2, enableSuperuserAccess: true";

pub(crate) fn store(place: &Path) -> String {
    format!(
        "backup: {{retentionPolicy: 2d, barmanObjectStore: {{destinationPath: '{}', wal: \
         {{compression: gzip}}, data: {{compression: gzip}}}}}}",
        place.display()
    )
}

fn cluster(home: &Home) -> PathBuf {
    let place = folder(home);
    up(home, &home.manifest("local", &format!("{TWO}, {}", store(&place))));
    place
}

/// The folders of backups that a listing would find, and all others.
fn folders(place: &Path) -> (Vec<String>, usize) {
    let base = fs::read_dir(place.join("local/base")).into_iter().flatten();
    let names: Vec<PathBuf> = base.map(|entry| entry.unwrap().path()).collect();
    let is_listed = |path: &&PathBuf| path.join("backup.info").exists();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let listed: Vec<String> = names.iter().filter(is_listed).map(name).collect();
    (listed, names.iter().filter(|path| holds_files(path)).count())
}

fn holds_files(path: &Path) -> bool {
    fs::read_dir(path).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        !path.is_dir() || holds_files(&path)
    })
}

#[test]
fn a_backup_of_a_standby_is_listed_verified_held_and_removed() {
    let mut home = Home::new();
    home.owns("local");
    let place = cluster(&home);
    sql(&home, "create table t as select n, repeat('x', 500) from generate_series(1, 20000) n");
    let standby = home.standby();
    let taken = home.json(&["backup", "--immediate-checkpoint"]);
    assert_eq!((&taken["phase"], &taken["instance"]), (&"completed".into(), &standby.into()));
    let id = taken["id"].as_str().unwrap().to_owned();
    assert_eq!(folders(&place), (vec![id.clone()], 1));

    let listed = home.json(&["backup", "list"]);
    assert_eq!((&listed[0]["id"], &listed[0]["usable"]), (&id.clone().into(), &true.into()));
    let verified = home.json(&["backup", "verify"]);
    assert_eq!((&verified["good"], &verified["checked"]), (&true.into(), &"checksums".into()));
    let window = home.json(&["window"]);
    assert_eq!(window["intervals"][0]["backup"], id);
    let until = window["intervals"][0]["until"].as_str().unwrap();
    assert!(until.parse::<jiff::Timestamp>().is_ok(), "{until} is not read by programs");

    let primary = home.json(&["backup", "--immediate-checkpoint", "--target", "primary"]);
    assert_eq!(primary["instance"], home.json(&["status"])["primary"]);
    let second = primary["id"].as_str().unwrap().to_owned();
    let told = |words: &[&str]| home.run(words).told();
    assert!(told(&["backup", "annotate", &id, "--keep", "full"]).contains("is on hold"));
    assert!(told(&["backup", "delete", &id, "--yes"]).contains("is on hold: release it first"));
    assert!(told(&["backup", "annotate", &id, "--release"]).contains("is released"));
    let expired = home.json(&["backup", "expire", "--policy", "1", "--dry-run"]);
    let judged = &expired["backups"][0];
    assert_eq!((&judged["backup"], &judged["fate"]), (&id.clone().into(), &"removed".into()));
    assert_eq!(folders(&place).0.len(), 2, "a dry run removes nothing");
    let expired = home.run(&["backup", "expire", "--policy", "1"]);
    assert_eq!(expired.code, Some(0), "{expired:?}");
    assert_eq!(folders(&place), (vec![second.clone()], 1));
    assert!(told(&["backup", "delete", &second, "--yes"]).contains("is the last one"));
    assert!(told(&["backup", "info", "nothing"]).starts_with("exit code 3\nerror: there is no"));

    let data = place.join("local/base").join(&second).join("data.tar.gz");
    let mut content = fs::read(&data).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0xFF;
    fs::write(&data, content).unwrap();
    let verified = home.run(&["backup", "verify"]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.err.contains("is damaged in"), "{verified:?}");
}

#[test]
fn a_repository_that_cannot_be_used_is_told_by_up() {
    let mut home = Home::new();
    home.owns("local");
    let nowhere = home.folder().with_file_name("nowhere");
    let manifest = home.manifest("local", &format!("instances: 1, {}", store(&nowhere)));
    let again = ["up", "--file", manifest.to_str().unwrap()];
    for how in ["ready in", "is up already"] {
        let said = home.run(&again);
        assert!(said.code == Some(0) && said.out.contains(how), "{said:?}");
        let told = "warning: nothing is backed up until this is mended: ";
        assert!(said.err.contains(told) && said.err.contains("nowhere"), "{said:?}");
    }
    fs::create_dir(&nowhere).unwrap();
    fs::set_permissions(&nowhere, fs::Permissions::from_mode(0o777)).unwrap();
    let said = home.run(&again);
    assert!(said.code == Some(0) && !said.err.contains("warning"), "{said:?}");
}

/// One that is made again under the name of another has not the backups of that one.
#[test]
fn backups_of_an_earlier_cluster_of_the_name_are_left_alone() {
    let mut home = Home::new();
    home.owns("local");
    let place = cluster(&home);
    let taken = home.json(&["backup", "--immediate-checkpoint"]);
    let id = taken["id"].as_str().unwrap().to_owned();
    let destroyed = home.run(&["destroy", "--yes"]);
    assert_eq!(destroyed.code, Some(0), "{destroyed:?}");
    up(&home, &home.manifest("local", &format!("{TWO}, {}", store(&place))));
    for words in [
        &["backup", "delete", &id, "--force", "--yes"][..],
        &["backup", "expire", "--policy", "1"],
        &["backup", "annotate", &id, "--keep", "full"],
        &["restore", "local", "--as", "old", "--latest"],
    ] {
        let told = home.run(words).told();
        assert!(told.contains("holds the backups of another cluster"), "{words:?}: {told}");
    }
    assert_eq!(folders(&place), (vec![id], 1));
}

/// The folders of the log may be written to, or not.
fn permit(place: &Path, mode: u32) {
    let wals = place.join("local/wals");
    let folders = fs::read_dir(&wals).unwrap().map(|entry| entry.unwrap().path());
    for path in folders.filter(|path| path.is_dir()).chain([wals.clone()]) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn a_stored_backup_waits_for_its_log_also_when_the_agent_is_started_again() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    // What is streamed would be enough to restore it.
    let alone = "annotations: {pgherd.dev/walStream: 'off'}";
    up(&home, &manifest(&home, alone, &format!("{TWO}, {}", store(&place)), ""));
    sql(&home, "create table t ()");
    sql(&home, "select pg_switch_wal()");
    wait_for("log", || home.json(&["status"])["archive"]["last"]["file"].is_string());
    permit(&place, 0o555);
    let words = ["backup", "--target", "primary", "--no-wait", "--immediate-checkpoint"];
    let began = home.json(&words);
    let instance = began["instance"].as_str().unwrap().to_owned();
    wait_for("its log to be waited for", || report(&home, &instance)["phase"] == "wal");
    let waits = report(&home, &instance)["waitsFor"].as_str().unwrap_or_default().to_owned();
    assert_eq!(home.run(&["kill", &instance, "--agent"]).code, Some(0));
    wait_for("a backup that lacks log", || {
        let listed = home.json(&["backup", "list"]);
        listed[0]["usable"] == false && !waits.is_empty()
    });
    permit(&place, 0o755);
    wait_for("its end", || report(&home, &instance)["phase"] == "completed");
    assert_eq!(home.json(&["backup", "list"])[0]["usable"], true);
}

/// A checkpoint that is spread takes minutes: time for something to go wrong.
fn begin_slowly(home: &Home, name: &str) -> String {
    sql(home, "create table if not exists slow (t text)");
    sql(home, "insert into slow select repeat('y', 7000) from generate_series(1, 3000)");
    let began = home.json(&["backup", "--target", "primary", "--no-wait", "--backup-name", name]);
    let instance = began["instance"].as_str().unwrap().to_owned();
    wait_for("a checkpoint", || report(home, &instance)["phase"] == "checkpoint");
    instance
}

/// What the agent of an instance says of its last backup.
pub(crate) fn report(home: &Home, instance: &str) -> serde_json::Value {
    let path = home.folder().join("local").join(instance).join("backups.json");
    let text = fs::read_to_string(path).unwrap_or_default();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    kept["document"].as_array().and_then(|all| all.last()).cloned().unwrap_or_default()
}

#[test]
fn whatever_breaks_a_backup_off_nothing_is_left_of_it() {
    let mut home = Home::new();
    home.owns("local");
    let place = cluster(&home);
    let instance = begin_slowly(&home, "one");
    let second = home.run(&["backup", "--instance", &instance, "--no-wait"]);
    assert!(second.err.contains("takes backup one already"), "{second:?}");
    let cancelled = home.run(&["backup", "cancel"]);
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    wait_for("its end", || report(&home, &instance)["phase"] == "cancelled");
    let again = home.run(&["backup", "--instance", &instance, "--backup-name", "one"]);
    assert_eq!(again.code, Some(4), "a name is used once: {again:?}");
    assert!(again.err.contains("was cancelled, and no other one has its name"), "{again:?}");
    assert_eq!(folders(&place).0, Vec::<String>::new());

    let instance = begin_slowly(&home, "two");
    let standby = home.standby();
    assert_eq!(home.run(&["switchover", &standby]).code, Some(0));
    wait_for("a failure", || report(&home, &instance)["phase"] == "failed");
    let why = report(&home, &instance)["failure"].as_str().unwrap().to_owned();
    assert!(why.contains("while the backup was taken"), "{why}");

    let instance = begin_slowly(&home, "three");
    assert_eq!(home.run(&["kill", &instance, "--agent"]).code, Some(0));
    wait_for("a failure", || report(&home, &instance)["phase"] == "failed");
    let why = report(&home, &instance)["failure"].as_str().unwrap().to_owned();
    assert!(why.contains("the agent was restarted"), "{why}");
    wait_for("nothing left", || folders(&place) == (vec![], 0));
}
