//! Backups and dumps that are taken by a schedule, whoever is the primary meanwhile.
//!
//! Never believes what is told without a look into the repository.

use super::archive::place::folder;
use super::archive::{sql, up, wait_for};
use super::home::Home;
use expect_test::expect;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a manifest with an archive, and these schedules behind it.
fn manifest(home: &Home, place: &Path, schedules: &str) -> PathBuf {
    let store = format!(
        "backup: {{retentionPolicy: 2d, barmanObjectStore: {{destinationPath: '{}', data: \
         {{immediateCheckpoint: true}}}}}}",
        place.display()
    );
    let spec = format!("instances: 2, enableSuperuserAccess: true, {store}");
    let path = home.manifest("local", &spec);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text + schedules).unwrap();
    path
}

fn backups(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: postgresql.cnpg.io/v1\nkind: ScheduledBackup\nmetadata: {{name: {name}, annotations: \
         {{pgherd.dev/backupMode: incremental}}}}\nspec: {{cluster: {{name: local}}, {spec}}}\n"
    )
}

fn dumps(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: pgherd.dev/v1alpha1\nkind: ScheduledDump\nmetadata: {{name: {name}}}\n\
         spec: {{cluster: {{name: local}}, databases: [app], {spec}}}\n"
    )
}

/// The names of what is listed, oldest first.
fn names(home: &Home, kind: &str) -> Vec<String> {
    let listed = home.json(&[kind, "list"]);
    // One that is only begun has none.
    let names = listed.as_array().unwrap().iter().filter_map(|one| one["name"].as_str());
    names.map(ToOwned::to_owned).collect()
}

fn schedule(home: &Home, key: &str) -> Value {
    let status = home.json(&["status"]);
    let all = status["schedules"].as_array().unwrap().iter();
    let mut of_key = all.filter(|one| {
        let text = |field: &str| one[field].as_str().unwrap().to_owned();
        format!("{}/{}", text("kind"), text("name")) == key
    });
    of_key.next().unwrap_or_else(|| panic!("{status}")).clone()
}

fn last(home: &Home, key: &str) -> String {
    schedule(home, key)["last"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Waits for so many more to end, one after the other; tells under which names.
fn wait_for_ends(home: &Home, key: &str, count: usize) -> Vec<String> {
    let mut seen = vec![last(home, key)];
    wait_for(&format!("{count} more of {key}"), || {
        let now = last(home, key);
        if !seen.contains(&now) {
            seen.push(now);
        }
        seen.len() > count
    });
    seen.split_off(1)
}

#[test]
fn schedules_go_on_over_a_switchover_and_a_stop_and_take_nothing_twice() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let often = "schedule: '*/3 * * * * *', immediate: true";
    let dumped = dumps("often", "schedule: '@every 2s', retentionPolicy: '2'");
    up(&home, &manifest(&home, &place, &(backups("often", often) + &dumped)));
    sql(&home, "create table t as select generate_series(1, 1000) n");
    wait_for_ends(&home, "backup/often", 2);
    let before = names(&home, "backup");
    assert!(
        before.len() >= 2 && before.iter().all(|name| name.starts_with("often-2")),
        "{before:?}"
    );

    let standby = home.standby();
    assert_eq!(home.run(&["switchover", &standby]).code, Some(0));
    wait_for("its end", || home.json(&["status"])["primary"] == *standby);
    let after = wait_for_ends(&home, "backup/often", 2);
    let told = schedule(&home, "backup/often");
    assert_eq!((&told["suspended"], told["next"].is_string()), (&false.into(), true), "{told}");
    assert!(home.run(&["status"]).out.contains("backup/often"), "{:?}", home.run(&["status"]));
    let all = names(&home, "backup");
    assert!(after.iter().any(|name| all.contains(name)), "{after:?} of {all:?}");

    // Retention is that of the schedule.
    wait_for_ends(&home, "dump/often", 3);
    assert!(names(&home, "dump").len() <= 3, "{:?}", names(&home, "dump"));

    // What was missed while nobody was there is taken once.
    assert_eq!(home.run(&["down"]).code, Some(0));
    let stopped = jiff::Timestamp::now();
    let due = |name: &String| {
        let digits = name.strip_prefix("often-").unwrap().split('.').next().unwrap();
        jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", digits)
            .unwrap()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .unwrap()
            .timestamp()
    };
    let missed_two = stopped + std::time::Duration::from_secs(7);
    wait_for("two to be missed", || jiff::Timestamp::now() > missed_two);
    let started = jiff::Timestamp::now();
    assert_eq!(home.run(&["up"]).code, Some(0));
    wait_for_ends(&home, "backup/often", 2);
    let all = names(&home, "backup");
    let missed = all.iter().map(due).filter(|due| (stopped..started).contains(due)).count();
    assert!(missed <= 1, "{all:?} from {stopped} to {started}");
    let dues: BTreeSet<_> = all.iter().map(due).collect();
    assert_eq!(dues.len(), all.len(), "an occurrence was taken twice: {all:?}");

    // One that is suspended does nothing, as many as the other takes meanwhile.
    let suspended = backups("often", &format!("{often}, suspend: true"));
    up(&home, &manifest(&home, &place, &(suspended + &dumped)));
    wait_for("what was begun", || schedule(&home, "backup/often")["errand"].is_null());
    let before = names(&home, "backup");
    wait_for_ends(&home, "dump/often", 3);
    assert_eq!(names(&home, "backup"), before);
    let told = schedule(&home, "backup/often");
    assert_eq!((&told["suspended"], &told["next"]), (&true.into(), &Value::Null), "{told}");

    // One that is not declared any more is forgotten.
    up(&home, &manifest(&home, &place, ""));
    assert_eq!(home.json(&["status"])["schedules"], serde_json::json!([]));
}

#[test]
fn a_schedule_that_cannot_be_carried_out_is_refused_before_anything_is_made() {
    let told = |schedules: &str| {
        let home = Home::new();
        let path = manifest(&home, Path::new("/srv/backups"), schedules);
        let told = home.run(&["up", "--file", path.to_str().unwrap()]).told();
        assert!(!home.folder().exists(), "something was made");
        told
    };
    expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: the ScheduledBackup at line 6 cannot be carried out: "every night" is no schedule: write six fields beginning with seconds, for example 0 0 3 * * *, or a word such as @daily or @every 12h
        exit code 2
        error: the manifest is refused
        cause: the ScheduledBackup at line 6 cannot be carried out: "0 0 3 30 2 *" never comes: no day is like that, so correct day, month or day of the week
        exit code 2
        error: the manifest is refused
        cause: dump/weekly is refused: the custom format is one stream: use the directory format for more jobs
        exit code 2
        error: the manifest is refused
        cause: the ScheduledDump at line 6 is of cluster "other", but the cluster here is local: write name: local below spec.cluster
    "#]].assert_eq(
        &[
            told(&backups("nightly", "schedule: every night")),
            told(&backups("nightly", "schedule: 0 0 3 30 2 *")),
            told(&dumps("weekly", "schedule: '@weekly', jobs: 4")),
            told(&dumps("weekly", "schedule: '@weekly'").replace("name: local", "name: other")),
        ]
        .concat(),
    );
    let home = Home::new();
    let path = home.manifest("local", "instances: 1");
    let text = fs::read_to_string(&path).unwrap() + &backups("nightly", "schedule: '@daily'");
    fs::write(&path, text).unwrap();
    expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: backup/nightly has nowhere to go: add spec.backup.barmanObjectStore to the Cluster, or remove the schedule
    "#]].assert_eq(&home.run(&["up", "--file", path.to_str().unwrap()]).told());
}
