//! One cluster from `up` to `destroy`, also interrupted, killed as a whole, and used wrongly.

use super::archive::wait_for;
use super::home::Home;
use expect_test::expect;
use pgherd_local::processes::{self, Act};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_mins(1);

#[test]
fn one_cluster_from_up_to_destroy() {
    let mut home = Home::new();
    home.owns("local");
    let up = home.run(&["up", "--instances", "2"]);
    assert_eq!(up.code, Some(0), "{up:?}");

    let status = home.json(&["status"]);
    assert_eq!(status["instances"].as_array().unwrap().len(), 2);
    assert!(status["primary"].is_string() && status["timeline"].is_number(), "{status}");
    let epoch = status["epoch"].as_u64().unwrap();
    for verb in ["list", "uri", "history", "explain", "logs", "reload"] {
        let said = home.run(&[verb, "-o", "json"]);
        assert_eq!(said.code, Some(0), "{verb}: {said:?}");
        // Logs are one document a line.
        let documents = serde_json::Deserializer::from_str(&said.out);
        let read: Result<Vec<serde_json::Value>, _> = documents.into_iter().collect();
        assert!(!read.unwrap().is_empty(), "{verb}");
    }
    let psql = |sql| home.run(&["psql", "--", "-XAtqc", sql]);
    assert_eq!(psql("create table t as select 1 as n").code, Some(0));

    misuse(&home);
    watched(&home);

    let before = home.json(&["status"])["primary"].clone();
    let switchover = home.json(&["switchover"]);
    assert_eq!(switchover["from"], before, "{switchover}");
    assert_ne!(switchover["to"], before, "{switchover}");
    assert_eq!(home.json(&["status"])["primary"], switchover["to"]);
    let reason = |home: &Home| {
        let terms = home.json(&["history"]);
        terms.as_array().unwrap().last().unwrap()["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&home), format!("switchover from {}", before.as_str().unwrap()));

    assert_eq!(home.run(&["down"]).code, Some(0));
    let up = home.run(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    // Nobody asked for a switchover, whoever is the primary now.
    let again = reason(&home);
    assert!(again.ends_with(": it had been stopped"), "{again}");

    // As after a power cut: everything dies at once, and nobody was asked.
    kill_everything(&home);
    let again = home.run(&["up"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(psql("select n from t").out, "1\n");
    assert!(home.json(&["status"])["epoch"].as_u64().unwrap() > epoch);

    let destroyed = home.run(&["destroy", "--yes"]);
    expect![[r#"
        exit code 0
        cluster/local destroyed
    "#]]
    .assert_eq(&destroyed.told());
    assert!(!home.folder().join("local").exists());
}

/// Each refused with a sentence, and the cluster is as before.
fn misuse(home: &Home) {
    expect![[r#"
        exit code 3
        error: instance local-7 not found in cluster local
        fix: choose one of local-1, local-2
    "#]]
    .assert_eq(&home.run(&["kill", "7"]).told());
    expect![[r#"
        exit code 2
        error: "Nobody" is not the name of an instance
        fix: write its number, or its name, for example 1 or local-1
    "#]]
    .assert_eq(&home.run(&["kill", "Nobody"]).told());
    let primary = home.primary();
    let standby = if primary == "local-1" { "local-2" } else { "local-1" };
    assert_eq!(home.run(&["fence", standby]).code, Some(0));
    let last = home.run(&["fence", &primary]);
    expect![[r#"
        exit code 4
        error: PRIMARY is the last healthy instance: fencing it would end all service
        fix: bring another one back first (pgherd local status --dir HOME), or add --force
    "#]]
    .assert_eq(&last.told().replace(&primary, "PRIMARY"));
    let fenced = home.json(&["status"]);
    let of_standby = |it: &&serde_json::Value| it["name"] == *standby;
    let fenced = fenced["instances"].as_array().unwrap().iter().find(of_standby).unwrap();
    assert_eq!(fenced["role"], "fenced", "{fenced}");
    assert_eq!(home.run(&["unfence", standby]).code, Some(0));
    let second = home.run(&["up"]);
    assert_eq!(second.code, Some(0), "{second:?}");
    assert_eq!(home.json(&["status"])["instances"].as_array().unwrap().len(), 2);
}

/// Who watches the log and has seen enough is told nothing more.
fn watched(home: &Home) {
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = home.command(&["logs", "1", "--follow"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains(" agent: ")).unwrap().unwrap();
        let mut words = line.split_whitespace();
        let at: Result<jiff::Timestamp, _> = words.next().unwrap().parse();
        assert!(at.is_ok() && words.next() == Some("local-1"), "{line}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        // It may have more to say than a pipe holds.
        lines.for_each(|line| drop(line.unwrap()));
        let said = home.said(&child.wait_with_output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (Some(130), ""));
    }
}

fn kill_everything(home: &Home) {
    let folder = home.folder();
    // It works elsewhere, and would start again whatever else dies.
    let supervisor = || processes::supervisor_of(&folder.join("local")).unwrap();
    assert!(supervisor().is_some());
    let deadline = Instant::now() + LONG;
    loop {
        let rest = processes::anybodys(&folder).unwrap();
        let alive: Vec<_> = supervisor().into_iter().chain(rest).collect();
        if alive.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "something survives SIGKILL: {alive:?}");
        for process in alive {
            processes::act_on(&process, Act::Kill).unwrap();
        }
    }
}

/// When `up` is interrupted. What it has done by then differs with the machine.
const MOMENTS: [fn(&Home) -> bool; 3] = [
    |_| true,
    |home| home.folder().join("local").exists(),
    |home| home.folder().join("local/local-1").exists(),
];

fn interrupt(home: &Home, reached: fn(&Home) -> bool) {
    let mut command = home.command(&["up", "--instances", "1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = Pid::from_child(&child);
    let deadline = Instant::now() + LONG;
    while !reached(home) {
        let has_ended = child.try_wait().unwrap().is_some();
        if Instant::now() > deadline || has_ended && !reached(home) {
            child.kill().unwrap();
            panic!("it never got there: {:?}", home.said(&child.wait_with_output().unwrap()));
        }
        std::thread::yield_now();
    }
    kill_process(id, Signal::INT).unwrap();
    let said = home.said(&child.wait_with_output().unwrap());
    // None: it had not yet begun to listen to signals.
    assert!([Some(0), Some(130), None].contains(&said.code), "{said:?}");
}

#[test]
fn an_interrupted_up_is_continued_by_the_next() {
    let mut home = Home::new();
    home.owns("local");
    for reached in MOMENTS {
        interrupt(&home, reached);
    }
    let up = home.run(&["up", "--instances", "1"]);
    assert_eq!(up.code, Some(0), "{up:?}");
}

#[test]
fn a_folder_that_was_made_and_not_yet_given_away_is_taken_up() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut home = Home::new();
    home.owns("local");
    let folder = home.folder().join("local");
    std::fs::DirBuilder::new().recursive(true).create(home.folder()).unwrap();
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let up = home.run(&["up", "--instances", "1"]);
    assert_eq!(up.code, Some(0), "{up:?}");
}

#[test]
fn of_an_interrupted_up_nothing_is_left_after_destroy() {
    for reached in MOMENTS {
        let mut home = Home::new();
        home.owns("local");
        interrupt(&home, reached);
        let destroyed = home.run(&["destroy", "--yes"]);
        // Not found: it was interrupted before it had made anything.
        assert!([Some(0), Some(3)].contains(&destroyed.code), "{destroyed:?}");
        let folder = home.folder().join("local");
        assert!(!folder.exists(), "{destroyed:?}");
        let supervisor = processes::supervisor_of(&folder).unwrap();
        let network = processes::network_of(&folder).unwrap();
        assert!(supervisor.is_none() && network.is_none(), "{supervisor:?} {network:?}");
        let others = processes::anybodys(&folder).unwrap();
        assert!(others.is_empty(), "{others:?}");
    }
}

#[test]
fn a_supervisor_stays_when_whoever_started_it_is_gone() {
    let mut home = Home::new();
    home.owns("local");
    assert_eq!(home.run(&["up", "--instances", "1"]).code, Some(0));
    let folder = home.folder().join("local");
    let first = processes::supervisor_of(&folder).unwrap().unwrap();
    processes::act_on(&first, Act::Kill).unwrap();
    // While it dies it is in no list any more, and yet holds its lock: a second one would end.
    let of = PathBuf::from(format!("/proc/{}", first.id));
    wait_for("the end of the first with all its threads", || {
        let threads = std::fs::read_dir(of.join("task")).map_or(0, Iterator::count);
        let stat = std::fs::read_to_string(of.join("stat")).unwrap_or_default();
        threads == 0 || (threads == 1 && stat.contains(") Z "))
    });
    let (nobody_listens, gone) = std::io::pipe().unwrap();
    drop(nobody_listens);
    // By its handle: the program may lie where the cluster's owner cannot go.
    let program = File::open(env!("CARGO_BIN_EXE_pgherd")).unwrap();
    fcntl_setfd(&program, FdFlags::empty()).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    let words = ["local", "supervise", "--staying", "--dir"];
    command.arg0("pgherd").args(words).arg(home.folder());
    command.args(["--name", "local"]).current_dir("/");
    let owner = std::fs::metadata(&folder).unwrap();
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let log = folder.join("supervisor.log");
    let told = File::options().append(true).open(&log).unwrap();
    let mut second = command.stdout(gone).stderr(told).spawn().unwrap();
    let deadline = Instant::now() + LONG;
    // Before it listens, a command would start a supervisor of its own, and one of the two ends.
    while UnixStream::connect(folder.join("supervisor.sock")).is_err() {
        let ended = second.try_wait().unwrap();
        assert!(Instant::now() < deadline && ended.is_none(), "{ended:?}");
        std::thread::yield_now();
    }
    assert_eq!(home.json(&["status"])["instances"].as_array().unwrap().len(), 1);
    // Whom it starts looks like itself for a moment.
    wait_for("one supervisor, the second", || {
        let ended = second.try_wait().unwrap();
        assert!(ended.is_none(), "{ended:?}\n{}", std::fs::read_to_string(&log).unwrap());
        let found = processes::supervisor_of(&folder).unwrap();
        found.is_some_and(|found| found.id == second.id())
    });
    assert_eq!(home.run(&["down"]).code, Some(0));
    assert!(second.wait().unwrap().success());
}

#[test]
fn the_empty_folder_of_an_up_that_had_only_begun_is_removed_by_destroy() {
    // As root: interrupted before the folder was given to the account PostgreSQL runs as.
    let home = Home::new();
    let folder = home.folder().join("local");
    std::fs::create_dir_all(&folder).unwrap();
    let destroyed = home.run(&["destroy", "--yes"]);
    assert_eq!(destroyed.code, Some(0), "{destroyed:?}");
    assert!(!folder.exists(), "{destroyed:?}");
    assert_eq!(home.run(&["destroy", "--yes"]).code, Some(3));
}

#[test]
fn without_a_manifest_a_cluster_keeps_backups_unless_it_shall_not() {
    let mut home = Home::new();
    home.owns("local");
    assert_eq!(home.run(&["up", "--instances", "1"]).code, Some(0));
    let statement = ["psql", "--role", "app", "--", "-Xqc", "create table t as select 1 as n"];
    assert_eq!(home.run(&statement).code, Some(0));
    wait_for("a first backup", || {
        !home.json(&["window"])["intervals"].as_array().unwrap().is_empty()
    });
    home.owns("copy");
    let copied = home.run(&["restore", "local", "--as", "copy", "--latest"]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let there =
        ["psql", "--name", "copy", "--role", "app", "--", "-XAtqc", "select count(*) from t"];
    assert_eq!(home.run(&there).out, "1\n");
    // Each has a place of its own, and both go with their clusters.
    for name in ["local", "copy"] {
        let place = home.folder().join(name).join("repository");
        assert!(place.join(name).join("wals").is_dir(), "{name}");
        let gone = home.run(&["destroy", "--yes", "--name", name]);
        assert_eq!(gone.code, Some(0), "{gone:?}");
        assert!(!place.exists());
    }

    let bare = home.run(&["up", "--instances", "1", "--no-backups"]);
    assert_eq!(bare.code, Some(0), "{bare:?}");
    assert_eq!(home.json(&["status"])["schedules"], serde_json::json!([]));
    expect![[r#"
        exit code 4
        error: no restore point was made: cluster local has no archive, and only with one can a restore go back to a name
        fix: add spec.backup.barmanObjectStore to its manifest, pgherd local up --dir HOME -f it, then pgherd local backup --dir HOME
    "#]]
    .assert_eq(&home.run(&["restore-point", "before"]).told());
    let again = home.run(&["up", "--no-backups"]);
    assert_eq!(again.code, Some(0), "{again:?}");
}
