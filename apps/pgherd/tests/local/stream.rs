//! What a primary has written is in the archive before its segment is finished, and comes back.
//!
//! Never asks how long something took: what has to be there follows from what the agent said.

use super::archive::place::{Store, files, folder};
use super::archive::{sql, up, wait_for};
use super::home::Home;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

/// So often that a test need not wait.
const OFTEN: &str = "annotations: {pgherd.dev/walStream: '0.2'}";

/// Writes a manifest with annotations, and `more` behind it.
pub(crate) fn manifest(
    home: &Home,
    annotations: &str,
    spec: &str,
    more: &str,
) -> std::path::PathBuf {
    let path = home.manifest("local", spec);
    let text = std::fs::read_to_string(&path).unwrap();
    let named = format!("metadata: {{name: local, {annotations}}}");
    std::fs::write(&path, text.replace("metadata: {name: local}", &named) + more).unwrap();
    path
}

fn lsn(text: &str) -> u64 {
    let (high, low) = text.trim().split_once('/').unwrap();
    (u64::from_str_radix(high, 16).unwrap() << 32) + u64::from_str_radix(low, 16).unwrap()
}

/// The primary's agent, as it last said.
fn stream(home: &Home) -> serde_json::Value {
    home.json(&["status"])["archive"]["stream"].clone()
}

fn stored(home: &Home) -> u64 {
    stream(home)["stored"].as_str().map_or(0, lsn)
}

fn timeline(home: &Home) -> u64 {
    home.json(&["status"])["timeline"].as_u64().unwrap()
}

/// Writes a row and tells what is flushed once it is committed.
fn row(home: &Home, n: u32) -> u64 {
    sql(home, &format!("insert into ledger values ({n}, clock_timestamp())"));
    lsn(&sql(home, "select pg_current_wal_flush_lsn()"))
}

fn wait_until_stored(home: &Home, to: u64) {
    wait_for("the stream", || stored(home) >= to);
}

/// Names of pieces below a server's folder: timeline, segment and range.
fn pieces(server: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![server.join("pgherd/stream")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                // One that is being written has another name.
                let is_there = path.extension().is_some_and(|it| it == "zst");
                let name = path.strip_prefix(server.join("pgherd/stream")).unwrap();
                found.extend(is_there.then(|| name.to_str().unwrap().to_owned()));
            }
        }
    }
    found
}

/// What a query says in a cluster made as the source was, as far as its log goes.
fn restored(home: &Home, name: &str, target: &[&str], query: &str) -> String {
    let words = [&["restore", "local", "--as", name, "--instances", "1"][..], target].concat();
    let said = home.run(&words);
    assert_eq!(said.code, Some(0), "{target:?}: {said:?}");
    let words = ["psql", "--name", name, "--role", "postgres", "--", "-XAtqc", query];
    let answered = home.run(&words);
    assert_eq!(answered.code, Some(0), "{answered:?}");
    let gone = home.run(&["destroy", "--yes", "--name", name]);
    assert_eq!(gone.code, Some(0), "{gone:?}");
    answered.out.trim().to_owned()
}

const ROWS: &str = "select count(*) || '/' || coalesce(max(n), 0) from ledger";

#[test]
fn what_was_written_last_survives_the_loss_of_everything_else() {
    let mut home = Home::new();
    home.owns("local");
    let mut store = Store::start();
    let spec = format!("instances: 1, enableSuperuserAccess: true, {}", store.spec());
    up(&home, &manifest(&home, OFTEN, &spec, &Store::secret()));
    sql(&home, "create table ledger (n int primary key, at timestamptz)");
    assert_eq!(home.json(&["backup", "--immediate-checkpoint"])["phase"], "completed");

    for n in 1..=20 {
        row(&home, n);
    }
    let moment = sql(&home, "select clock_timestamp()");
    let mut last = 0;
    for n in 21..=30 {
        last = row(&home, n);
    }
    wait_until_stored(&home, last);
    let status = home.run(&["status"]);
    assert!(status.out.contains("streamed to "), "{status:?}");
    an_idle_primary_stores_nothing(&home);
    without_its_store_it_goes_on(&home, &mut store);

    for n in 41..=45 {
        last = row(&home, n);
    }
    wait_until_stored(&home, last);
    let (log, part) = (last >> 32, (last & 0xFFFF_FFFF) >> 24);
    let holding = format!("{:08X}{log:08X}{part:08X}", timeline(&home));
    assert!(!store.files().contains(&holding), "its segment is finished, so this shows nothing");
    // Agent and server die at once, and the disk goes with them.
    assert_eq!(home.run(&["kill", "1"]).code, Some(0));
    std::fs::remove_dir_all(home.folder().join("local/local-1/pgdata")).unwrap();
    let window = home.json(&["window"]);
    let reached = window["intervals"].as_array().unwrap().iter();
    let reached = reached.map(|one| lsn(one["to"].as_str().unwrap())).max().unwrap();
    assert!(reached >= last, "{window}");
    assert_eq!(restored(&home, "all", &["--latest"], ROWS), "45/45");
    assert_eq!(restored(&home, "then", &["--to-time", &moment], ROWS), "20/20");
    store.barman_restores(store.files().iter().find(|name| name.len() == 24).unwrap());
}

/// As long as PostgreSQL writes nothing for so many looks, there is no piece.
fn an_idle_primary_stores_nothing(home: &Home) {
    let seen = |home: &Home| {
        let stream = stream(home);
        let at = sql(home, "select pg_current_wal_flush_lsn()");
        (lsn(&at), stream["lagBytes"].as_u64(), stream["pieces"].as_u64())
    };
    let (mut before, mut same) = (seen(home), 0);
    wait_for("a primary that is idle", || {
        let now = seen(home);
        // What was written before the position was asked for may yet be on its way.
        assert!(same <= 5 || now.0 != before.0 || now.2 == before.2, "{before:?} {now:?}");
        same = if now == before && now.1 == Some(0) { same + 1 } else { 0 };
        before = now;
        same > 10
    });
}

fn without_its_store_it_goes_on(home: &Home, store: &mut Store) {
    store.stop();
    let mut last = 0;
    for n in 31..=40 {
        last = row(home, n);
    }
    wait_for("a complaint", || stream(home)["failing"]["why"].is_string());
    assert!(stored(home) < last, "nobody can have stored that");
    let explained = home.run(&["explain"]);
    assert!(explained.out.contains("the log is not "), "{explained:?}");
    store.resume();
    wait_until_stored(home, last);
    wait_for("no complaint", || stream(home)["failing"].is_null());
}

#[test]
fn pieces_go_when_their_segment_is_there_and_can_be_switched_off() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let server = place.join("local");
    let spec = format!(
        "instances: 1, enableSuperuserAccess: true, backup: {{barmanObjectStore: \
         {{destinationPath: '{}'}}}}",
        place.display()
    );
    up(&home, &manifest(&home, OFTEN, &spec, ""));
    sql(&home, "create table ledger (n int primary key, at timestamptz)");
    let last = row(&home, 1);
    wait_until_stored(&home, last);
    assert!(!pieces(&server).is_empty());
    let finished = |home: &Home| {
        let name = sql(home, "select pg_walfile_name(pg_switch_wal())");
        wait_for("the segment", || files(&server).contains(&name));
        wait_for("room", || !pieces(&server).iter().any(|piece| piece.contains(&name)));
        name
    };
    let first = finished(&home);
    // Agents that are started anew know what was there before.
    let last = row(&home, 2);
    wait_until_stored(&home, last);
    assert_eq!(home.run(&["kill", "1", "--agent"]).code, Some(0));
    let last = row(&home, 3);
    wait_until_stored(&home, last);
    assert!(finished(&home) > first);

    let switched_off = OFTEN.replace("0.2", "off");
    up(&home, &manifest(&home, &switched_off, &spec, ""));
    wait_for("no stream", || stream(&home).is_null());
    row(&home, 4);
    finished(&home);
    // Those of timelines that were left stay: they may hold what no other one has.
    let present = format!("{:08X}/", timeline(&home));
    let left = pieces(&server);
    assert!(left.iter().all(|piece| *piece < present), "{left:?}, {present}");
}

#[test]
fn an_old_primarys_last_words_are_not_taken_for_its_successors() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let server = place.join("local");
    // Commits wait for nobody: what the old primary writes when it is alone is lost.
    let spec = format!(
        "instances: 3, enableSuperuserAccess: true, backup: {{barmanObjectStore: \
         {{destinationPath: '{}'}}}}",
        place.display()
    );
    up(&home, &manifest(&home, OFTEN, &spec, ""));
    sql(&home, "create table ledger (n int primary key, at timestamptz)");
    assert_eq!(home.json(&["backup", "--immediate-checkpoint"])["phase"], "completed");
    let old = home.primary();
    let statement = "do $$ begin for i in 1..100000 loop insert into ledger \
        values (i, clock_timestamp()); commit; perform pg_sleep(0.005); end loop; end $$";
    let mut writer = home.command(&["psql", "--role", "postgres", "--", "-Xqc", statement]);
    let mut writer = writer.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("rows", || sql(&home, "select count(*) > 50 from ledger") == "t");
    assert_eq!(home.run(&["partition", &old]).code, Some(0));
    assert!(!writer.wait().unwrap().success(), "it was cut off");
    wait_for("another primary", || {
        let status = home.json(&["status"]);
        status["primary"].as_str().is_some_and(|primary| primary != old)
    });
    let last = row(&home, 1_000_000);
    wait_for("the new primary's stream", || stored(&home) >= last);

    let history = format!("wals/{:08X}.history", timeline(&home));
    let history = std::fs::read_to_string(server.join(history)).unwrap();
    let mut left = history.lines().rfind(|line| !line.is_empty()).unwrap().split_whitespace();
    let parent: u32 = left.next().unwrap().parse().unwrap();
    let fork = lsn(left.next().unwrap());
    let of_old = format!("{parent:08X}/");
    let streamed = pieces(&server);
    let beyond = streamed.iter().filter(|piece| piece.starts_with(&of_old)).any(|piece| {
        let end = piece.trim_end_matches(".zst").rsplit('-').next().unwrap();
        u64::from_str_radix(end, 16).unwrap() > fork
    });
    assert!(beyond, "the old primary stored nothing on its own: {streamed:?}, {fork:X}");
    let there = sql(&home, ROWS);
    assert_eq!(restored(&home, "next", &["--latest"], ROWS), there);
    // Its successor's segment has all that counts, and what it never had stays where it is.
    let name = sql(&home, "select pg_walfile_name(pg_switch_wal())");
    wait_for("the segment", || files(&server).contains(&name));
    let (parent, fork) = (parent.to_string(), format!("{:X}/{:X}", fork >> 32, fork & 0xFFFF_FFFF));
    let (common, alone) = (["--to-lsn", &fork], ["--latest"]);
    let [common, alone] =
        [("common", common.as_slice()), ("alone", &alone)].map(|(name, target)| {
            let target = [&["--timeline", &parent][..], target].concat();
            restored(&home, name, &target, "select count(*) from ledger").parse::<u64>().unwrap()
        });
    assert!(alone > common, "{alone} rows of its own primary, {common} of its successor's past");
}
