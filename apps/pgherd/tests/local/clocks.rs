//! A cluster whose wall clock jumps, between backups and in the middle of them: nothing that is
//! needed is removed, and all that was committed comes back.
//!
//! Never touches the clock of this machine: agents, supervisor and PostgreSQL load a library that
//! tells them another time of day. Durations stay as they are.

use super::archive::place::folder;
use super::archive::{sql, wait_for};
use super::backup::report;
use super::home::Home;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_hours(24);

/// What time it is for whoever loads the library.
struct Clock {
    file: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Clock {
    fn new(home: &Home) -> Self {
        let file = home.folder().with_file_name("clock");
        let library =
            format!("/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1", std::env::consts::ARCH);
        let is_there = Path::new(&library).exists();
        assert!(is_there, "{library} is missing: run `cargo xtask setup --stores`");
        let words = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            // The disk's clock stays right, as that of a store elsewhere does.
            ("NO_FAKE_STAT", "1"),
        ];
        let environment = words.map(|(name, value)| (name, value.to_owned())).into();
        let clock = Self { file, environment };
        clock.set("+0");
        clock
    }

    /// From now on it is so much later or earlier.
    fn set(&self, offset: &str) {
        let draft = self.file.with_extension("draft");
        fs::write(&draft, format!("{offset}\n")).unwrap();
        fs::set_permissions(&draft, Permissions::from_mode(0o644)).unwrap();
        fs::rename(&draft, &self.file).unwrap();
    }

    /// PostgreSQL is started without our environment.
    fn programs(&self) -> PathBuf {
        let real = std::env::var_os("PGHERD_PG_BINDIR").map_or_else(
            || PathBuf::from("/usr/lib/postgresql/15/bin"),
            |chosen| fs::canonicalize(chosen).unwrap(),
        );
        let folder = self.file.with_file_name("programs");
        fs::create_dir(&folder).unwrap();
        for entry in fs::read_dir(&real).unwrap() {
            let name = entry.unwrap().file_name();
            if name != "postgres" {
                symlink(real.join(&name), folder.join(&name)).unwrap();
            }
        }
        let set = |(name, value): &(&str, String)| format!("export {name}='{value}'\n");
        let set: String = self.environment.iter().map(set).collect();
        let script = format!("#!/bin/sh\n{set}exec '{}' \"$@\"\n", real.join("postgres").display());
        let postgres = folder.join("postgres");
        fs::write(&postgres, script).unwrap();
        fs::set_permissions(&postgres, Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// A command that lives by this clock, and its document.
    fn json(&self, home: &Home, words: &[&str]) -> Value {
        let mut command = home.command(&[words, &["-o", "json"]].concat());
        let said = home.said(&command.envs(self.environment.clone()).output().unwrap());
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    }
}

/// The library leaves two small files in memory for each process that loads it and does not end by
/// itself.
struct Leftovers(BTreeSet<PathBuf>);

impl Leftovers {
    fn of_the_dead() -> BTreeSet<PathBuf> {
        let is_dead = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut names = ["faketime_shm_", "sem.faketime_sem_"].into_iter();
            let process = names.find_map(|prefix| name.strip_prefix(prefix).map(str::to_owned));
            process.is_some_and(|process| !Path::new("/proc").join(process).exists())
        };
        let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(is_dead).collect()
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for path in Self::of_the_dead().difference(&self.0) {
            let _gone = fs::remove_file(path);
        }
    }
}

fn begin(home: &Home, clock: &Clock) -> PathBuf {
    let place = folder(home);
    let spec = format!(
        "instances: 1, enableSuperuserAccess: true, backup: {{retentionPolicy: 30d, \
         barmanObjectStore: {{destinationPath: '{}'}}}}",
        place.display()
    );
    let manifest = home.manifest("local", &spec);
    let programs = clock.programs();
    let words = ["--file", manifest.to_str().unwrap(), "--pg-bindir", programs.to_str().unwrap()];
    clock.json(home, &[&["up"][..], &words].concat());
    sql(home, "create table ledger (n int primary key, at timestamptz default clock_timestamp())");
    place
}

fn write(home: &Home, n: u32) {
    sql(home, &format!("insert into ledger values ({n})"));
}

fn take(home: &Home, more: &[&str]) -> Value {
    home.json(&[&["backup", "--immediate-checkpoint"][..], more].concat())
}

/// One in the middle of which the clock jumps.
fn take_across(home: &Home, clock: &Clock, name: &str, offset: &str) -> Value {
    let words = ["backup", "--immediate-checkpoint", "--backup-name", name, "--rate", "10Mi"];
    let mut command = home.command(&words);
    let mut taking = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = || {
        let report = report(home, "local-1");
        report["name"] == name && report["phase"] != "starting"
    };
    wait_for("PostgreSQL to begin it", begun);
    clock.set(offset);
    assert!(taking.wait().unwrap().success());
    let report = report(home, "local-1");
    assert_eq!((&report["name"], &report["phase"]), (&name.into(), &"completed".into()));
    report
}

fn id(report: &Value) -> &str {
    report["id"].as_str().unwrap()
}

/// The ids of all backups, each of which can be restored, in the order in which they were taken.
fn usable(home: &Home) -> Vec<String> {
    let listed = home.json(&["backup", "list"]);
    let listed = listed.as_array().unwrap();
    assert!(listed.iter().all(|one| one["usable"] == true), "{listed:?}");
    let window = home.json(&["window"]);
    assert_eq!(window["gaps"], Value::Array(Vec::new()), "{window}");
    assert_eq!(window["intervals"][0]["backup"], listed[0]["id"], "{window}");
    listed.iter().map(|one| id(one).to_owned()).collect()
}

/// The rows of a copy that goes so far.
fn rows(home: &Home, name: &str, target: &[&str]) -> String {
    let words = [&["restore", "local", "--as", name, "--instances", "1"][..], target].concat();
    let said = home.run(&words);
    assert_eq!(said.code, Some(0), "{said:?}");
    let count = "select count(*) || ' ' || max(n) from ledger";
    let words = ["psql", "--name", name, "--role", "postgres", "--", "-XAtqc", count];
    let rows = home.run(&words).out.trim().to_owned();
    let gone = home.run(&["destroy", "--yes", "--name", name]);
    assert_eq!(gone.code, Some(0), "{gone:?}");
    rows
}

/// The files of the log, and all else that is stored, are of a disk whose clock is ahead, too.
fn the_disk_is_ahead(place: &Path, by: Duration) {
    let segments = place.join("local/wals");
    for folder in fs::read_dir(segments).unwrap() {
        for entry in fs::read_dir(folder.unwrap().path()).into_iter().flatten() {
            let file = File::options().append(true).open(entry.unwrap().path()).unwrap();
            file.set_modified(SystemTime::now() + by).unwrap();
        }
    }
}

fn fates(expired: &Value) -> Vec<(&str, &str)> {
    let backups = expired["backups"].as_array().unwrap().iter();
    backups.map(|one| (one["fate"].as_str().unwrap(), one["because"].as_str().unwrap())).collect()
}

#[test]
fn a_clock_that_jumps_costs_no_backup_and_no_row() {
    // Dropped last.
    let _leftovers = Leftovers(Leftovers::of_the_dead());
    let mut home = Home::new();
    home.owns("local");
    home.owns("back");
    home.owns("right");
    let clock = Clock::new(&home);
    let place = begin(&home, &clock);
    let server = sql(&home, "select pg_postmaster_start_time()");

    write(&home, 1);
    let first = take(&home, &[]);
    write(&home, 2);
    let increment = take(&home, &["--incremental"]);
    assert_eq!(increment["buildsOn"], first["id"]);

    // An hour back, while one is taken: what comes later is newer all the same.
    let across = take_across(&home, &clock, "across-back", "-1h");
    write(&home, 3);
    let back = take(&home, &["--incremental"]);
    assert_eq!(back["buildsOn"], across["id"]);
    let again = take(&home, &["--incremental"]);
    assert_eq!(again["buildsOn"], back["id"]);
    let mut taken: Vec<String> =
        [&first, &increment, &across, &back, &again].map(|one| id(one).to_owned()).into();
    assert_eq!(usable(&home), taken);
    assert_eq!(rows(&home, "back", &["--latest"]), "3 3");

    // 40 days ahead, of which 30 are kept.
    let ahead = take_across(&home, &clock, "across-ahead", "+40d");
    write(&home, 4);
    let future = take(&home, &["--incremental"]);
    assert_eq!(future["buildsOn"], ahead["id"]);
    assert!(future["retained"].is_string(), "{future}");
    taken.extend([&ahead, &future].map(|one| id(one).to_owned()));
    assert_eq!(usable(&home), taken);
    the_disk_is_ahead(&place, 40 * DAY);
    let expired = clock.json(&home, &["backup", "expire"]);
    for (fate, because) in &fates(&expired)[..5] {
        assert_eq!(*fate, "kept", "{expired}");
        assert!(because.contains("a clock may have been wrong"), "{because}");
    }
    assert_eq!(usable(&home), taken);

    // It is right again.
    clock.set("+0");
    write(&home, 5);
    let moment = sql(&home, "select clock_timestamp()");
    write(&home, 6);
    let last = take(&home, &["--incremental"]);
    assert_eq!(last["buildsOn"], future["id"]);
    taken.push(id(&last).to_owned());
    assert_eq!(usable(&home), taken);
    let plan =
        home.run(&["restore", "local", "--as", "copy", "--to-time", &moment, "--plan"]).told();
    let told = format!("a clock was ahead when backup {} was taken", id(&future));
    assert!(plan.contains(&told), "{plan}");
    write(&home, 7);
    let moment = sql(&home, "select clock_timestamp()");
    write(&home, 8);
    assert_eq!(rows(&home, "right", &["--to-time", &moment]), "7 7");

    // Who may write did not depend on any of that.
    assert_eq!(sql(&home, "select pg_postmaster_start_time()"), server);
}
