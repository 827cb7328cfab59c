//! Logical dumps: taken, told, restored, removed, and never half of one left.
//!
//! Never believes what is told without a look into the repository or the database.

use super::archive::place::{Store, folder};
use super::archive::{sql, up, wait_for};
use super::home::Home;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const TWO: &str = "instances: 2, enableSuperuserAccess: true";
const ONE: &str = "instances: 1, enableSuperuserAccess: true";

fn store(place: &Path) -> String {
    format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display())
}

fn cluster(home: &mut Home, instances: &str) -> PathBuf {
    home.owns("local");
    let place = folder(home);
    up(home, &home.manifest("local", &format!("{instances}, {}", store(&place))));
    place
}

fn sql_in(home: &Home, database: &str, statement: &str) -> String {
    let words = ["psql", "--role", "postgres", "--database", database, "--", "-XAtqc", statement];
    let said = home.run(&words);
    assert_eq!(said.code, Some(0), "{statement}: {said:?}");
    said.out.trim().to_owned()
}

/// All files of dumps in the repository, but for what an unfinished write leaves.
fn stored(server: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![server.join("pgherd/dumps")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.display().to_string().contains('#') {
                // With such a sign: what a folder has of an upload that was killed, and never lists.
                found.push(path.strip_prefix(server).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Tables with an index, a sequence, a constraint, a view, a large object, and rights of others.
const FILL: &str = "create role clerk login password 'ledger'; create role auditor; \
    create schema shop authorization clerk; set role clerk; \
    create table shop.orders (id serial primary key, note text not null, paid numeric(9,2)); \
    insert into shop.orders (note, paid) select md5(n::text), n / 7.0 from generate_series(1, 20000) n; \
    create index orders_note on shop.orders (note); \
    create table shop.lines (at timestamptz default now(), orders int references shop.orders); \
    insert into shop.lines (orders) select n from generate_series(1, 5000) n; \
    create view shop.paid as select sum(paid) from shop.orders; \
    grant select on shop.orders to auditor; reset role; \
    select lo_from_bytea(4711, 'a large object')";

/// What it all comes to, with owners, rights and definitions.
const SUM: &str = "select md5(string_agg(o::text, ',' order by id)) from shop.orders o \
    union all select count(*) || ' ' || sum(orders) from shop.lines \
    union all select sum::text from shop.paid \
    union all select convert_from(lo_get(4711), 'utf8') \
    union all select string_agg(relname || pg_get_userbyid(relowner) || coalesce(relacl::text, ''), \
    ' ' order by relname) from pg_class where relnamespace = 'shop'::regnamespace \
    union all select string_agg(pg_get_constraintdef(oid), ' ' order by conname) from pg_constraint \
    where connamespace = 'shop'::regnamespace and contype <> 'n'";

fn completed(home: &Home, words: &[&str]) -> Value {
    let taken = home.json(&[&["dump"], words].concat());
    assert!(taken["id"].is_string(), "{taken}");
    taken
}

fn restore(home: &Home, words: &[&str]) -> String {
    home.run(&[&["dump", "restore"], words].concat()).told_in_the_end()
}

fn restored(home: &Home, words: &[&str]) {
    let told = restore(home, words);
    assert!(told.starts_with("exit code 0\n"), "{words:?}: {told}");
}

fn unknown_tables_are_refused(home: &Home, id: &str) {
    for unknown in ["shop.nosuch", "nosuch.lines", "nosuch"] {
        let table = [id, "--database", "app", "--into", "none", "--create", "--table", unknown];
        let told = restore(home, &table);
        assert!(!told.starts_with("exit code 0") && told.contains("not found"), "{told}");
        let made = "select count(*) from pg_database where datname = 'none'";
        assert_eq!(sql_in(home, "app", made), "0");
    }
}

#[test]
fn a_dump_of_a_standby_comes_back_as_it_was() {
    let mut home = Home::new();
    let place = cluster(&mut home, TWO);
    sql_in(&home, "app", FILL);
    let before = sql_in(&home, "app", SUM);
    let standby = home.standby();
    let reached = format!(
        "select count(*) from pg_stat_replication where replay_lsn >= '{}'",
        sql_in(&home, "app", "select pg_current_wal_lsn()")
    );
    wait_for("the standby", || sql(&home, &reached) == "1");
    let taken = completed(&home, &[]);
    assert_eq!(
        (&taken["from"]["instance"], &taken["from"]["part"]),
        (&standby.into(), &"standby".into())
    );
    let id = taken["id"].as_str().unwrap().to_owned();
    let app = &taken["databases"][0];
    assert_eq!((&app["name"], &app["owner"]), (&"app".into(), &"app".into()));
    assert_eq!(app["roles"], serde_json::json!(["app", "auditor", "clerk"]));
    let files = stored(&place.join("local"));
    let whole = |name: &str| files.contains(&format!("pgherd/dumps/{id}/{name}"));
    assert!(whole("dump.json") && whole("globals.sql.gz") && !whole("taker"), "{files:?}");
    let listed = home.json(&["dump", "list"]);
    assert_eq!((&listed[0]["id"], listed.as_array().unwrap().len()), (&taken["id"], 1));

    let told = restore(&home, &["latest", "--into", "app"]);
    assert!(told.contains("the dump holds app, postgres: name one"), "{told}");
    let told = restore(&home, &[&id, "--database", "app", "--into", "app"]);
    assert!(told.contains("database \"app\" is not empty, 4 tables, views"), "{told}");
    let told = restore(&home, &[&id, "--database", "app", "--into", "copy"]);
    assert!(told.contains("there is no database \"copy\": make it, or add --create"), "{told}");
    let told = restore(&home, &["nightly", "--into", "app"]);
    assert!(told.starts_with("exit code 3\nerror: there is no dump \"nightly\""), "{told}");

    restored(&home, &[&id, "--database", "app", "--into", "copy", "--create"]);
    assert_eq!(sql_in(&home, "copy", SUM), before);
    let owner = "select pg_get_userbyid(datdba) from pg_database where datname = 'copy'";
    assert_eq!(sql_in(&home, "copy", owner), "app");
    assert_ne!(
        sql_in(&home, "copy", "select reltuples from pg_class where relname = 'orders'"),
        "-1"
    );

    let next = "insert into shop.orders (note) values ('new') returning id > 20000";
    assert_eq!(sql_in(&home, "copy", next), "t");

    sql_in(&home, "copy", "delete from shop.lines; update shop.orders set note = 'x'");
    restored(&home, &[&id, "--database", "app", "--into", "copy", "--clean"]);
    assert_eq!(sql_in(&home, "copy", SUM), before);
    let told = restore(&home, &[&id, "--database", "app", "--into", "copy", "--create"]);
    assert!(told.contains("there is a database \"copy\" already"), "{told}");

    // A single table, into one that has others.
    sql_in(&home, "copy", "drop table shop.lines");
    let table = ["--database", "app", "--into", "copy", "--table", "shop.lines"];
    restored(&home, &[&[id.as_str()], &table[..]].concat());
    assert_eq!(sql_in(&home, "copy", "select count(*) from shop.lines"), "5000");
    let told = restore(&home, &[&[id.as_str()], &table[..]].concat());
    assert!(told.contains("has a table shop.lines already: add --clean"), "{told}");
    unknown_tables_are_refused(&home, &id);

    // Nothing of a damaged one gets in.
    let oid = app["oid"].to_string();
    let file = place.join("local/pgherd/dumps").join(&id).join(format!("{oid}.dump"));
    let mut content = fs::read(&file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 0xFF;
    fs::write(&file, content).unwrap();
    let told = restore(&home, &[&id, "--database", "app", "--into", "bad", "--create"]);
    assert!(told.contains("is not what was stored there: the dump is damaged"), "{told}");
    let databases = "select count(*) from pg_database where datname = 'bad'";
    assert_eq!(sql_in(&home, "app", databases), "0");

    assert!(home.run(&["dump", "delete", &id]).err.contains("would be deleted"));
    assert_eq!(home.run(&["dump", "delete", &id, "--yes"]).code, Some(0));
    assert_eq!(stored(&place.join("local")), Vec::<String>::new());
}

#[test]
fn missing_roles_are_told_made_or_done_without() {
    let mut home = Home::new();
    let place = cluster(&mut home, ONE);
    sql_in(&home, "app", FILL);
    let verifier = "select rolpassword from pg_authid where rolname = 'clerk'";
    let before = (sql_in(&home, "app", SUM), sql_in(&home, "app", verifier));
    sql_in(&home, "app", "grant auditor to clerk");
    let directory = ["app", "--format", "directory", "--jobs", "2", "--retention", "1"];
    let taken = completed(&home, &directory);
    assert!(taken["databases"][0]["files"].as_u64().unwrap() >= 4, "{taken}");
    let id = taken["id"].as_str().unwrap().to_owned();
    sql_in(&home, "app", "drop owned by clerk, auditor cascade; drop role clerk, auditor");

    let told = restore(&home, &[&id, "--into", "copy", "--create"]);
    assert!(told.contains("roles that the dump needs are missing here: auditor, clerk."), "{told}");
    restored(&home, &[&id, "--into", "plain", "--create", "--no-owner", "--jobs", "2"]);
    let owners = "select string_agg(distinct pg_get_userbyid(relowner), ' ') from pg_class \
        where relnamespace = 'shop'::regnamespace";
    assert_eq!(sql_in(&home, "plain", owners), "app");
    restored(&home, &[&id, "--into", "copy", "--create", "--create-roles", "--jobs", "2"]);
    assert_eq!((sql_in(&home, "copy", SUM), sql_in(&home, "copy", verifier)), before);
    let member = "select pg_has_role('clerk', 'auditor', 'member')";
    assert_eq!(sql_in(&home, "copy", member), "t");

    // Of dumps of the same database one is kept; of other databases there is none other.
    completed(&home, &["postgres"]);
    sql_in(&home, "app", "create table kept (n int)");
    let newer = completed(&home, &["app", "--table", "ke*", "--retention", "1"]);
    assert_eq!(newer["tables"], serde_json::json!(["ke*"]));
    assert_eq!(home.json(&["dump", "list"]).as_array().unwrap().len(), 3);
    let last = completed(&home, &directory);
    let listed = home.json(&["dump", "list"]);
    let ids: Vec<&Value> = listed.as_array().unwrap().iter().map(|it| &it["id"]).collect();
    assert!(
        ids.len() == 3 && ids.contains(&&last["id"]) && !ids.contains(&&taken["id"]),
        "{ids:?}"
    );
    assert!(stored(&place.join("local")).iter().all(|file| !file.contains(&id)));
    let told = home.run(&["dump", "app", "--jobs", "2"]).told();
    assert!(told.contains("use the directory format for more jobs"), "{told}");
    let told = home.run(&["dump", "shop"]).told();
    assert!(
        told.contains("there is no database \"shop\" that can be dumped; there are app, "),
        "{told}"
    );
}

/// Somebody who has a table to himself, as long as this lives.
struct Lock(Child);

impl Lock {
    fn take(home: &Home) -> Self {
        let words = ["psql", "--role", "postgres", "--database", "app", "--", "-Xq"];
        let mut command = home.command(&words);
        let mut psql = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = psql.stdin.as_mut().unwrap();
        stdin.write_all(b"begin; lock table held;\n").unwrap();
        let held = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and relation = \
            'held'::regclass";
        wait_for("a lock", || sql_in(home, "app", held) == "1");
        Self(psql)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

fn waits(home: &Home) {
    let waits = "select count(*) from pg_stat_activity where application_name = 'pgherd-dump' and \
        wait_event_type = 'Lock'";
    wait_for("a dump that waits", || sql_in(home, "app", waits) == "1");
}

/// Its sessions do not outlive a program by as long as it would have waited.
fn is_gone(home: &Home) {
    let sessions = "select count(*) from pg_stat_activity where application_name = 'pgherd-dump'";
    wait_for("the end of its sessions", || sql_in(home, "app", sessions) == "0");
}

/// The process of this name that is about a cluster of this home.
fn process(home: &Home, name: &str) -> i32 {
    let folder = home.folder().display().to_string();
    let is_meant = |id: &i32| {
        let comm = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        comm.trim() == name && String::from_utf8_lossy(&words).contains(&folder)
    };
    let ids = fs::read_dir("/proc").unwrap().flatten();
    let mut ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.find(is_meant).unwrap()
}

#[test]
fn whatever_breaks_a_dump_off_nothing_is_left_of_it() {
    let mut home = Home::new();
    let place = cluster(&mut home, ONE);
    sql_in(&home, "app", "create table held as select n from generate_series(1, 1000) n");
    let lock = Lock::take(&home);
    for format in ["custom", "directory"] {
        let words = ["dump", "app", "--format", format];
        let mut command = home.command(&words);
        let followed = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        waits(&home);
        let dump = rustix::process::Pid::from_raw(process(&home, "pg_dump")).unwrap();
        rustix::process::kill_process(dump, rustix::process::Signal::KILL).unwrap();
        let said = home.said(&followed.wait_with_output().unwrap());
        assert!(said.code == Some(1) && said.err.contains("signal: 9"), "{said:?}");
        assert_eq!(stored(&place.join("local")), Vec::<String>::new());
        is_gone(&home);

        home.json(&[&words[..], &["--no-wait"]].concat());
        waits(&home);
        let told = home.run(&["dump", "app", "--dump-name", "another"]).told();
        assert!(told.contains("already: wait for it, or cancel it"), "{told}");
        let cancelled = home.run(&["dump", "cancel"]);
        assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
        assert_eq!(stored(&place.join("local")), Vec::<String>::new());
        is_gone(&home);

        let limit = ["--snapshot-limit", "3s"];
        let said = home.run(&[&["dump", "app", "--format", format], &limit[..]].concat());
        assert!(
            said.err.contains("the dump held its snapshot for 3s, and 3s is the limit"),
            "{said:?}"
        );
        assert_eq!(stored(&place.join("local")), Vec::<String>::new());
    }
    assert_eq!(home.json(&["dump", "list"]), serde_json::json!([]));

    // Half of one is removed when the agent is there again.
    home.json(&["dump", "app", "--no-wait"]);
    waits(&home);
    assert_ne!(stored(&place.join("local")), Vec::<String>::new());
    assert_eq!(home.run(&["kill", "1", "--agent"]).code, Some(0));
    drop(lock);
    wait_for("nothing left", || stored(&place.join("local")).is_empty());
    wait_for("a dump", || home.run(&["dump", "app"]).code == Some(0));
}

#[test]
fn dumps_in_s3_come_back_in_either_format() {
    let mut home = Home::new();
    home.owns("local");
    let s3 = Store::start();
    let manifest = home.manifest("local", &format!("{ONE}, {}", s3.spec()));
    let text = fs::read_to_string(&manifest).unwrap() + &Store::secret();
    fs::write(&manifest, text).unwrap();
    up(&home, &manifest);
    sql_in(&home, "app", FILL);
    // More than a part of an upload, and little of it can be packed.
    let large = "create table shop.large as select string_agg(md5(random()::text), '') as t \
        from generate_series(1, 1200000) n group by n % 100";
    sql_in(&home, "app", large);
    let before = sql_in(&home, "app", SUM);
    let total = "select md5(string_agg(t, ',' order by t)) from shop.large";
    let large = sql_in(&home, "app", total);
    for (format, jobs) in [("custom", "1"), ("directory", "2")] {
        let taken = completed(&home, &["app", "--format", format]);
        assert!(taken["storedBytes"].as_u64().unwrap() > 16 << 20, "{taken}");
        let id = taken["id"].as_str().unwrap();
        restored(&home, &[id, "--into", format, "--create", "--jobs", jobs]);
        assert_eq!(sql_in(&home, format, SUM), before, "{format}");
        assert_eq!(sql_in(&home, format, total), large, "{format}");
    }
    assert_eq!(
        home.json(&["dump", "expire", "--policy", "1"])["dumps"].as_array().unwrap().len(),
        2
    );
    assert_eq!(home.json(&["dump", "list"]).as_array().unwrap().len(), 1);
}
