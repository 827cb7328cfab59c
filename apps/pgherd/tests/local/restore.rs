//! Restores to known moments, held against a ledger that was written all the while.
//!
//! Never counts what it did not see: what has to be there follows from the ledger alone.

use super::archive::place::{Store, files, folder};
use super::archive::{sql, up, wait_for};
use super::backup::store;
use super::home::{Home, PROGRAM};
use super::stream::manifest;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ONE: &str = "instances: 1, enableSuperuserAccess: true, postgresql: {parameters: \
    {track_commit_timestamp: 'on'}}";

/// Begins to write so many rows, one transaction each; a restore point after every fiftieth.
fn writer(home: &Home, from: u32, count: u32) -> Child {
    let last = from + count - 1;
    let statement = format!(
        "do $$ begin for i in {from}..{last} loop \
         insert into ledger values (i, pg_current_wal_insert_lsn()); commit; \
         if i % 50 = 0 then perform pg_create_restore_point('point ' || i); end if; \
         perform pg_sleep(0.002); end loop; end $$"
    );
    let mut command = home.command(&["psql", "--role", "postgres", "--", "-Xqc", &statement]);
    command.stdout(Stdio::null()).spawn().unwrap()
}

fn write(home: &Home, from: u32, count: u32) {
    assert!(writer(home, from, count).wait().unwrap().success());
}

/// A number below this; each seed another one.
fn random(seed: &mut u64, below: u32) -> u32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    u32::try_from((*seed >> 33) % u64::from(below)).unwrap()
}

/// Restores to this target and tells how many rows there are then.
fn rows_at(home: &Home, name: &str, target: &[&str]) -> String {
    let words = [&["restore", "local", "--as", name, "--instances", "1"][..], target].concat();
    let said = home.run(&words);
    assert_eq!(said.code, Some(0), "{target:?}: {said:?}");
    let count = [
        "psql",
        "--name",
        name,
        "--role",
        "postgres",
        "--",
        "-XAtqc",
        "select count(*) || '/' || coalesce(max(n), 0) from ledger",
    ];
    let counted = home.run(&count);
    assert_eq!(counted.code, Some(0), "{counted:?}");
    let gone = home.run(&["destroy", "--yes", "--name", name]);
    assert_eq!(gone.code, Some(0), "{gone:?}");
    counted.out.trim().to_owned()
}

/// How many targets of each kind; set it for a long run.
fn rounds() -> u32 {
    std::env::var("PGHERD_RESTORE_ROUNDS").map_or(2, |text| text.parse().unwrap())
}

fn up_to(n: u32) -> String {
    format!("{n}/{n}")
}

#[test]
fn a_bad_migration_is_undone_and_any_moment_is_reached() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    up(&home, &home.manifest("local", &format!("{ONE}, {store}")));
    sql(&home, "create table ledger (n int primary key, before pg_lsn)");
    let mut meanwhile = writer(&home, 1, 400);
    wait_for("rows", || sql(&home, "select count(*) > 50 from ledger") == "t");
    let backup = home.json(&["backup", "--immediate-checkpoint"]);
    let id = backup["id"].as_str().unwrap().to_owned();
    assert!(meanwhile.wait().unwrap().success());
    let in_backup: u32 = sql(
        &home,
        &format!(
            "select count(*) from ledger where before < '{}'",
            backup["taken"]["lsn"].as_str().unwrap()
        ),
    )
    .parse()
    .unwrap();
    write(&home, 401, 600);
    let moment = sql(&home, "select clock_timestamp()");
    sql(&home, "delete from ledger where n % 2 = 0");
    sql(&home, "insert into ledger values (100000, pg_current_wal_insert_lsn())");

    let plan = home.run(&["restore", "local", "--as", "undone", "--to-time", &moment, "--plan"]);
    assert!(plan.code == Some(0) && plan.out.contains(&id), "{plan:?}");
    assert!(!home.folder().join("undone").exists(), "a plan makes nothing");
    assert_eq!(rows_at(&home, "undone", &["--to-time", &moment]), up_to(1000));

    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut seed = u64::from(seed.subsec_nanos());
    let given = seed;
    for round in 0..rounds() {
        let name = |kind: &str| format!("{kind}{round}");
        // Odd rows are still there to be asked about.
        let mut odd = |from: u32| (from + 2 + random(&mut seed, 990 - from)) | 1;
        let n = odd(in_backup);
        let at =
            sql(&home, &format!("select pg_xact_commit_timestamp(xmin) from ledger where n = {n}"));
        assert_eq!(
            rows_at(&home, &name("time"), &["--to-time", &at]),
            up_to(n),
            "seed {given}: time {at}"
        );
        let n = odd(in_backup);
        let before = sql(&home, &format!("select before from ledger where n = {n}"));
        assert_eq!(
            rows_at(&home, &name("lsn"), &["--to-lsn", &before]),
            up_to(n - 1),
            "seed {given}: {before}"
        );
        let n = odd(in_backup);
        let xid = sql(&home, &format!("select xmin from ledger where n = {n}"));
        let to_xid = ["--to-xid", xid.as_str(), "--backup", &id];
        assert_eq!(rows_at(&home, &name("xid"), &to_xid), up_to(n), "transaction {xid}");
        let exclusive = ["--to-xid", xid.as_str(), "--backup", "latest", "--exclusive"];
        assert_eq!(rows_at(&home, &name("before"), &exclusive), up_to(n - 1), "before {xid}");
        let point = (in_backup / 50 + 1 + random(&mut seed, (1000 - in_backup) / 50)) * 50;
        let point = point.min(1000);
        let to_name = ["--to-name", &format!("point {point}"), "--backup", &id];
        assert_eq!(rows_at(&home, &name("name"), &to_name), up_to(point), "point {point}");
    }
    assert_eq!(rows_at(&home, "latest", &["--latest"]), "501/100000");
    let point = home.json(&["restore-point", "it's a \\ point"]);
    assert_eq!(point["name"], "it's a \\ point");
    sql(&home, "truncate ledger");
    let to_point = ["--to-name", "it's a \\ point", "--backup", &id];
    assert_eq!(rows_at(&home, "point", &to_point), "501/100000");
    of_two_restores_to_one_name_one_is_refused(&home);
    what_cannot_be_reached_is_refused(&home, &id);
}

fn of_two_restores_to_one_name_one_is_refused(home: &Home) {
    let words = ["restore", "local", "--as", "twin", "--latest", "--instances", "1"];
    let begin = || {
        let mut command = home.command(&words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [begin(), begin()].map(|child| child.wait_with_output().unwrap());
    let codes = both.each_ref().map(|ended| ended.status.code());
    let refused = both.iter().find(|ended| ended.status.code() == Some(4));
    let said = String::from_utf8_lossy(&refused.unwrap_or_else(|| panic!("{both:?}")).stderr);
    assert!(codes.contains(&Some(0)) && said.contains("cluster twin exists"), "{both:?}");
    let gone = home.run(&["destroy", "--yes", "--name", "twin"]);
    assert_eq!(gone.code, Some(0), "{gone:?}");
}

fn what_cannot_be_reached_is_refused(home: &Home, id: &str) {
    let refused = |target: &[&str]| {
        let said = home.run(&[&["restore", "local", "--as", "never"][..], target].concat());
        assert_ne!(said.code, Some(0), "{target:?}: {said:?}");
        assert!(!home.folder().join("never").exists(), "{target:?} leaves something: {said:?}");
        said.err
    };
    let early = refused(&["--to-time", "2020-01-01"]);
    assert!(early.contains(&format!("the target lies before backup {id} ended")), "{early}");
    let far = refused(&["--to-lsn", "FF/0"]);
    assert!(far.contains("ends at"), "{far}");
    let unknown = refused(&["--latest", "--backup", "20200101T000000"]);
    assert!(unknown.contains("there is no backup"), "{unknown}");
    let late = refused(&["--to-time", "2099-01-01"]);
    assert!(late.contains("the log ends before the target, 2099-01-01"), "{late}");
    assert!(late.contains("the last transaction in it was committed at"), "{late}");
    let name = refused(&["--to-name", "no such point", "--backup", id]);
    assert!(name.contains("the log holds no restore point \"no such point\""), "{name}");
    let own = home.run(&["restore", "local", "--as", "local", "--latest"]);
    assert!(own.err.contains("cluster local exists"), "{own:?}");

    // One that lies between the backup and what was archived last.
    let begin = home.json(&["backup", "info", id])["endWal"].as_str().unwrap().to_owned();
    let place = home.folder().with_file_name("archive").join("local");
    let segments = files(&place).into_iter().filter(|name| name.len() == 24 && *name > begin);
    let segments: Vec<_> = segments.collect();
    let gone = &segments[segments.len() / 2];
    std::fs::remove_file(place.join("wals").join(&gone[..16]).join(gone)).unwrap();
    let window = home.run(&["window"]);
    assert!(window.out.contains(&format!("GAP: {gone} is missing")), "{window:?}");
    let gap = refused(&["--latest"]);
    assert!(gap.contains(&format!("log is missing on the way: {gone} to {gone}")), "{gap}");
}

#[test]
fn a_source_is_written_to_only_for_what_its_archive_may_lack() {
    let mut home = Home::new();
    home.owns("local");
    for copy in ["first", "second", "third", "fourth"] {
        home.owns(copy);
    }
    let place = folder(&home);
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    up(&home, &home.manifest("local", &format!("{ONE}, {store}")));
    sql(&home, "create table ledger (n int primary key, before pg_lsn)");
    write(&home, 1, 20);
    let backup = home.json(&["backup", "--immediate-checkpoint"]);
    assert_eq!(backup["phase"], "completed");
    write(&home, 21, 20);
    let archived = sql(&home, "select before from ledger where n = 31");
    let moment = sql(&home, "select clock_timestamp()");
    home.json(&["restore-point", "archived-soon"]);
    // At the end of a segment its name would still be told.
    let segment = || sql(&home, "select trunc((pg_current_wal_lsn() - '0/0') / 16777216)");
    let waiting = || home.json(&["status"])["archive"]["waiting"].clone();
    wait_for("an archive that has it", || waiting() == 0);
    // Something is in the segment that a switch would end.
    write(&home, 41, 10);
    let before = segment();
    assert_eq!(rows_at(&home, "first", &["--immediate"]), up_to(20));
    assert_eq!(rows_at(&home, "second", &["--to-lsn", &archived]), up_to(30));
    assert_eq!(segment(), before, "the source was written to");

    // All was stored long after that moment, as it seems: what is there has to tell it.
    let later = std::time::SystemTime::now() + std::time::Duration::from_mins(20);
    for name in files(&place.join("local")).into_iter().filter(|name| name.len() == 24) {
        let path = place.join("local/wals").join(&name[..16]).join(&name);
        std::fs::File::options().append(true).open(path).unwrap().set_modified(later).unwrap();
    }
    assert_eq!(rows_at(&home, "third", &["--to-time", &moment]), up_to(40));
    write(&home, 51, 10);
    let before = segment();
    assert_eq!(rows_at(&home, "fourth", &["--latest"]), up_to(60));
    assert_ne!(segment(), before);
}

#[test]
fn a_position_of_a_moment_ago_is_reached_without_a_stream() {
    let mut home = Home::new();
    home.owns("local");
    let names = ["now-1", "now-2", "now-3", "now-4"];
    for copy in names {
        home.owns(copy);
    }
    let store = format!("{ONE}, {}", store(&folder(&home)));
    let alone = "annotations: {pgherd.dev/walStream: 'off'}";
    up(&home, &manifest(&home, alone, &store, ""));
    sql(&home, "create table ledger (n int primary key, before pg_lsn)");
    assert_eq!(home.json(&["backup", "--immediate-checkpoint"])["phase"], "completed");
    for (n, copy) in (1..).zip(names) {
        let add = |n: i32| format!("insert into ledger values ({n}, null)");
        // Whatever is known of the archive is about the segment before.
        sql(&home, "select pg_switch_wal()");
        sql(&home, &add(n));
        let position = sql(&home, "select pg_current_wal_lsn()");
        assert_eq!(rows_at(&home, copy, &["--to-lsn", &position]), format!("{n}/{n}"));
    }
}

#[test]
fn a_cluster_comes_back_from_s3_and_has_backups_of_its_own() {
    let mut home = Home::new();
    home.owns("local");
    let store = Store::start();
    let path = home.manifest("local", &format!("{ONE}, {}", store.spec()));
    let text = std::fs::read_to_string(&path).unwrap() + &Store::secret();
    std::fs::write(&path, text).unwrap();
    up(&home, &path);
    sql(&home, "create table ledger (n int primary key, before pg_lsn)");
    let taken = home.json(&["backup", "--immediate-checkpoint"]);
    assert_eq!(taken["phase"], "completed");
    write(&home, 1, 200);
    home.owns("again");
    let check = home.folder().with_file_name("check.sql");
    std::fs::write(&check, "select count(*) = 200 from ledger;\n").unwrap();
    sql(&home, "grant select on ledger to app");
    let check = check.to_str().unwrap();
    let restored =
        home.json(&["restore", "local", "--as", "again", "--latest", "--sql-check", check]);
    assert_eq!(restored["check"]["failure"], serde_json::Value::Null);
    assert!(restored["recovery"]["logFiles"].as_u64().unwrap() > 0, "{restored}");

    // The new one is backed up without being asked, and restored in turn.
    wait_for("its first backup", || {
        let all = home.json(&["backup", "list", "--name", "again"]);
        let is_first =
            all[0]["name"].as_str().is_some_and(|name| name.starts_with("first_backup-"));
        is_first && all[0]["usable"] == true
    });
    let third = home.json(&["restore", "again", "--as", "third", "--latest"]);
    home.owns("third");
    assert_eq!(third["recovery"]["phase"], "completed");
    let last = home.json(&["backup", "list", "--name", "local"]);
    assert_eq!(last.as_array().unwrap().len(), 1, "the source's repository is as it was");
    from_a_backup_of_barmans(&home, &store);
    with_a_manifest_alone(&home, (&path, &store));
}

/// Whoever has lost the cluster has its manifest.
fn with_a_manifest_alone(home: &Home, (path, store): (&Path, &Store)) {
    let there = [&["window"][..], &["backup", "list"], &["backup", "info", "latest"]];
    let there = there.map(|words| home.json(words));
    assert_eq!(home.run(&["destroy", "--yes"]).code, Some(0));
    let asked = |verb: &[&str], file: &Path| {
        let words = [&["repository"], verb, &["-f", file.to_str().unwrap(), "-o", "json"]].concat();
        home.said(&Command::new(PROGRAM).args(words).output().unwrap())
    };
    let told = |verb: &[&str], file: &Path| -> serde_json::Value {
        let said = asked(verb, file);
        assert_eq!(said.code, Some(0), "{verb:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap()
    };
    let now = [&["window"][..], &["list"], &["info", "latest"]].map(|verb| told(verb, path));
    // A cluster that goes down has its last log archived.
    assert_eq!((&now[1], &now[2]), (&there[1], &there[2]));
    assert_eq!(now[0]["intervals"][0]["from"], there[0]["intervals"][0]["from"]);
    assert_eq!(told(&["verify", "first"], path)["good"], true);
    assert_eq!(told(&["dumps"], path), serde_json::json!([]));

    let refused = asked(&["plan"], path);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("does not begin with a backup"), "{refused:?}");
    let spec = store.spec();
    let archive = spec.strip_prefix("backup: {").and_then(|it| it.strip_suffix('}')).unwrap();
    let spec = format!(
        "{ONE}, bootstrap: {{recovery: {{source: lost}}}}, externalClusters: [{{name: lost, {archive}}}]"
    );
    let new = home.manifest("new", &spec);
    let text = std::fs::read_to_string(&new).unwrap() + &Store::secret();
    std::fs::write(&new, text).unwrap();
    let plan = told(&["plan"], &new);
    assert_eq!((&plan["cluster"], plan["estimatedSeconds"].is_number()), (&"new".into(), true));
    assert_eq!(told(&["list", "--source"], &new), now[1]);
    let own = asked(&["list"], &new);
    assert!(own.code == Some(2) && own.err.contains("say --source"), "{own:?}");
}

/// One that Debian's barman-cloud took of the same server, beside ours.
fn from_a_backup_of_barmans(home: &Home, store: &Store) {
    let password = home.folder().join("local/secrets/superuser");
    let password = std::fs::read_to_string(password).unwrap();
    let port = home.json(&["status"])["instances"][0]["port"].to_string();
    store.barman_backs_up(&port, &password);
    wait_for("its log", || {
        let all = home.json(&["backup", "list"]);
        all[1]["takenBy"] == "barman" && all[1]["usable"] == true
    });
    let verified = home.json(&["backup", "verify", "latest"]);
    assert_eq!((&verified["good"], &verified["checked"]), (&true.into(), &"archives".into()));
    sql(home, "insert into ledger values (201, null)");
    assert_eq!(rows_at(home, "barmans", &["--latest", "--backup", "latest"]), up_to(201));
}
