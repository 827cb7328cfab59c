//! Clusters that archive: nothing is missing whoever dies, and nobody waits for the archive.
//!
//! Never believes a listing that PostgreSQL's own history does not call for.

pub(crate) mod place;

use super::home::Home;
use place::{Store, folder};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(90);

const THREE: &str = "instances: 3, enableSuperuserAccess: true, postgresql: {synchronous: \
    {method: any, number: 1, dataDurability: preferred}}";

pub(crate) fn up(home: &Home, path: &Path) {
    let said = home.run(&["up", "--file", path.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// One statement as the superuser, on whoever takes writes; asked until somebody does.
pub(crate) fn sql(home: &Home, sql: &str) -> String {
    let mut told = String::new();
    wait_for(sql, || {
        let words = ["psql", "--role", "postgres", "--", "-XAtqc", sql];
        let said = home.run(&words);
        told = said.out.trim().to_owned();
        said.code == Some(0)
    });
    told
}

/// Ends a segment that is not empty.
fn fill_a_segment(home: &Home) {
    sql(home, "create table if not exists t (i int)");
    sql(home, "insert into t values (1)");
    sql(home, "select pg_switch_wal()");
}

fn archive(home: &Home) -> serde_json::Value {
    home.json(&["status"])["archive"].clone()
}

fn why(home: &Home) -> String {
    archive(home)["failing"]["why"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Everything that a recovery would ask for from the first segment to the last one that is whole:
/// as the newest history says, which has to be there itself.
fn is_complete(home: &Home, files: &BTreeSet<String>) -> Result<(), String> {
    let timeline = sql(home, "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)");
    let timeline = u64::from_str_radix(&timeline, 16).unwrap();
    let history = format!("select pg_read_file('pg_wal/{timeline:08X}.history')");
    let history = sql(home, &history);
    let before = sql(home, "select (pg_current_wal_lsn() - '0/0') / 16777216");
    let now: u64 = before.split('.').next().unwrap().parse().unwrap();
    let mut wanted = vec![format!("{timeline:08X}.history")];
    let mut next = 1;
    for line in history.lines().filter(|line| !line.trim().is_empty()) {
        let mut fields = line.split_whitespace();
        let of: u64 = fields.next().unwrap().parse().unwrap();
        let (high, low) = fields.next().unwrap().split_once('/').unwrap();
        let part = |hex| u64::from_str_radix(hex, 16).unwrap();
        let left = ((part(high) << 32) + part(low)) >> 24;
        wanted.extend((next..left).map(|number| format!("{of:08X}{:08X}{:08X}", 0, number)));
        wanted.extend((of > 1).then(|| format!("{of:08X}.history")));
        next = left;
    }
    wanted.extend((next..now).map(|number| format!("{timeline:08X}{:08X}{:08X}", 0, number)));
    let missing: Vec<_> = wanted.iter().filter(|name| !files.contains(*name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} of {wanted:?}")) }
}

fn wait_for_all(home: &Home, files: impl Fn() -> BTreeSet<String>) {
    let until = Instant::now() + WITHIN;
    while let Err(missing) = is_complete(home, &files()) {
        assert!(Instant::now() < until, "missing are {missing}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One instance that archives to a folder, which is returned.
fn one_with_a_folder(home: &Home) -> PathBuf {
    let place = folder(home);
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    let spec = format!("instances: 1, enableSuperuserAccess: true, {store}");
    up(home, &home.manifest("local", &spec));
    place
}

#[test]
fn commands_of_postgresql_reach_a_program_that_its_user_does_not() {
    let mut home = Home::with_a_closed_program();
    home.owns("local");
    home.owns("copy");
    one_with_a_folder(&home);
    let archived = |home: &Home| {
        fill_a_segment(home);
        let last = sql(home, "select pg_walfile_name(pg_current_wal_lsn() - 1)");
        let told = format!("select last_archived_wal >= '{last}' from pg_stat_archiver");
        wait_for("what PostgreSQL has been told", || sql(home, &told) == "t");
    };
    archived(&home);
    // Another agent takes over the server that runs.
    let killed = home.run(&["kill", "local-1", "--agent"]);
    assert_eq!(killed.code, Some(0), "{killed:?}");
    archived(&home);
    home.json(&["backup", "--immediate-checkpoint"]);
    fill_a_segment(&home);
    let restored = home.run(&["restore", "local", "--as", "copy", "--latest", "--instances", "1"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
}

#[test]
fn an_archive_whose_disk_is_not_mounted_is_not_begun_anew() {
    let mut home = Home::new();
    home.owns("local");
    let place = one_with_a_folder(&home);
    fill_a_segment(&home);
    home.json(&["backup", "--immediate-checkpoint"]);
    let disk = place.with_file_name("disk");
    fs::rename(&place, &disk).unwrap();
    fs::create_dir(&place).unwrap();
    fs::set_permissions(&place, Permissions::from_mode(0o777)).unwrap();

    fill_a_segment(&home);
    for work in [&["backup", "--immediate-checkpoint"][..], &["dump"]] {
        let refused = home.run(work);
        assert_ne!(refused.code, Some(0), "{refused:?}");
        assert!(refused.err.contains("the folder is empty: mount its disk again"), "{refused:?}");
    }
    // One that has not seen it before knows it, too.
    let killed = home.run(&["kill", "local-1", "--agent"]);
    assert_eq!(killed.code, Some(0), "{killed:?}");
    wait_for("what another agent says", || {
        why(&home).contains("the archive was here before, and the folder is empty")
    });
    fill_a_segment(&home);
    let point = home.run(&["restore-point", "unmounted"]);
    assert!(point.err.contains("the log is not archived at present"), "{point:?}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);

    fs::remove_dir(&place).unwrap();
    fs::rename(&disk, &place).unwrap();
    fill_a_segment(&home);
    wait_for_all(&home, || place::files(&place.join("local")));
    let window = home.run(&["window"]);
    assert!(window.out.contains("no gaps"), "{window:?}");
}

#[test]
fn who_becomes_primary_knows_which_folder_was_the_archive() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    let spec = format!("instances: 2, enableSuperuserAccess: true, {store}");
    up(&home, &home.manifest("local", &spec));
    fill_a_segment(&home);
    let cluster = home.folder().join("local");
    let noted = |name: &str| cluster.join(name).join("archives.json");
    wait_for("both to note it", || ["local-1", "local-2"].iter().all(|it| noted(it).exists()));
    home.json(&["backup", "--immediate-checkpoint"]);
    let away = place.with_file_name("away");
    let restart = |home: &Home, change: &dyn Fn()| {
        assert_eq!(home.run(&["down"]).code, Some(0));
        change();
        assert_eq!(home.run(&["up"]).code, Some(0));
    };
    restart(&home, &|| {
        fs::rename(&place, &away).unwrap();
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o777)).unwrap();
    });
    // Whoever of the two it is.
    for _ in 0..2 {
        fill_a_segment(&home);
        wait_for("a refusal", || why(&home).contains("the folder is empty"));
        let standby = home.standby();
        assert_eq!(home.run(&["switchover", &standby]).code, Some(0));
    }
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    restart(&home, &|| {
        fs::remove_dir(&place).unwrap();
        fs::rename(&away, &place).unwrap();
    });
    fill_a_segment(&home);
    wait_for("log that goes on where it was", || why(&home).is_empty());
    assert_eq!(home.json(&["backup", "list"])[0]["usable"], true);
}

#[test]
fn nothing_is_missing_after_a_switchover_and_deaths() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let store = format!(
        "backup: {{barmanObjectStore: {{destinationPath: '{}', wal: {{compression: gzip, \
         maxParallel: 2}}}}}}",
        place.display()
    );
    up(&home, &home.manifest("local", &format!("{THREE}, {store}")));
    fill_a_segment(&home);
    wait_for("the first file", || archive(&home)["last"]["file"].is_string());

    let standby = home.standby();
    assert_eq!(home.run(&["switchover", &standby]).code, Some(0));
    for victim in [&["--agent"][..], &[], &["--agent"]] {
        fill_a_segment(&home);
        let primary = home.primary();
        let said = home.run(&[&["kill", primary.as_str()][..], victim].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        fill_a_segment(&home);
        if victim.is_empty() {
            assert_eq!(home.run(&["start", &primary]).code, Some(0));
        }
    }
    fill_a_segment(&home);
    let server = place.join("local");
    wait_for_all(&home, || place::files(&server));
    let partials = place::files(&server);
    let doubled =
        |name: &String| name.strip_suffix(".partial").is_some_and(|whole| partials.contains(whole));
    assert!(!partials.iter().any(doubled), "{partials:?}");
    assert_eq!(why(&home), "");
    let said = home.run(&["status"]);
    assert!(said.out.contains("  ARCHIVE  "), "{said:?}");

    another_cluster_is_refused(&place);
}

/// Another cluster of the same name, pointed at the same place.
fn another_cluster_is_refused(place: &Path) {
    let mut other = Home::new();
    other.owns("local");
    let before = place::files(&place.join("local"));
    let spec = format!(
        "instances: 1, enableSuperuserAccess: true, backup: {{barmanObjectStore: \
         {{destinationPath: '{}'}}}}",
        place.display()
    );
    up(&other, &other.manifest("local", &spec));
    fill_a_segment(&other);
    wait_for("a refusal", || why(&other).contains("the archive is of another cluster"));
    assert_eq!(place::files(&place.join("local")), before);
    let explained = other.run(&["explain"]);
    assert!(explained.out.contains("choose another serverName"), "{explained:?}");
}

#[test]
fn commits_go_on_without_the_store_and_the_log_follows() {
    let mut home = Home::new();
    home.owns("local");
    let mut store = Store::start();
    let path = home.manifest("local", &format!("{THREE}, {}", store.spec()));
    let text = fs::read_to_string(&path).unwrap() + &Store::secret();
    fs::write(&path, text).unwrap();
    up(&home, &path);
    fill_a_segment(&home);
    wait_for("the first file", || archive(&home)["last"]["file"].is_string());

    store.stop();
    fill_a_segment(&home);
    wait_for("a reason", || why(&home).contains("nobody answers"));
    let began = Instant::now();
    let (primary, standby) = (home.primary(), home.standby());
    let switched = home.run(&["switchover", &standby]);
    assert_eq!(switched.code, Some(0), "{switched:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for the archive");
    let said = home.run(&["logs", &primary, "--tail", "10000"]).out;
    let (_, last) = said.rsplit_once("received fast shutdown request").unwrap();
    assert!(!last.contains("failed too many times"), "it was asked again and again:\n{last}");
    fill_a_segment(&home);
    wait_for("what waits", || archive(&home)["waiting"].as_u64().is_some_and(|it| it > 0));
    let told = home.run(&["status"]);
    assert!(told.out.contains("FAILING") && !told.out.contains(place::SECRET_KEY), "{told:?}");

    store.resume();
    wait_for_all(&home, || store.files());
    wait_for("no complaint", || why(&home).is_empty());
    let files = store.files();
    let segment = files.iter().find(|name| name.len() == 24).unwrap();
    store.barman_restores(segment);
}

#[test]
fn a_standby_that_lacks_log_gets_it_from_the_archive() {
    let mut home = Home::new();
    home.owns("local");
    let place = folder(&home);
    let spec = format!(
        "instances: 3, enableSuperuserAccess: true, postgresql: {{parameters: {{wal_keep_size: \
         '0', max_slot_wal_keep_size: 32MB, min_wal_size: 32MB, max_wal_size: 32MB}}}}, backup: \
         {{barmanObjectStore: {{destinationPath: '{}'}}}}",
        place.display()
    );
    up(&home, &home.manifest("local", &spec));
    let standby = home.standby();
    let data = home.folder().join("local").join(&standby);
    assert_eq!(home.run(&["stop", &standby]).code, Some(0));
    let next = sql(&home, "select pg_walfile_name(pg_current_wal_lsn())");
    for _ in 0..8 {
        fill_a_segment(&home);
    }
    // A checkpoint removes only what is archived.
    wait_for("a primary that has not what it needs next", || {
        sql(&home, "checkpoint");
        sql(&home, &format!("select count(*) from pg_ls_waldir() where name = '{next}'")) == "0"
    });
    assert_eq!(home.run(&["start", &standby]).code, Some(0));
    wait_for("a standby that streams", || {
        let status = home.json(&["status"]);
        let mut all = status["instances"].as_array().unwrap().iter();
        all.any(|it| it["name"] == *standby && it["ready"] == true)
    });
    // The agent says so only if it takes longer than between two looks of it.
    let restored = fs::read_to_string(data.join("postgres.log")).unwrap();
    assert!(restored.contains(&format!("restored log file \"{next}\" from archive")), "{restored}");
    let said = fs::read_to_string(data.join("log/agent.log")).unwrap();
    let since = said.rfind("the agent runs").unwrap();
    assert!(!said[since..].contains("clone"), "it was copied anew: {said}");
}
