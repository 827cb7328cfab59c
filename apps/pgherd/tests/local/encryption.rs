//! Clusters whose repository is encrypted: all that works without works with, nothing is stored in the
//! clear, and what was tampered with or declared otherwise is refused.
//!
//! Never believes that something is encrypted without having looked for it where it would be found.

use super::archive::place::{Store, folder};
use super::archive::{sql, up, wait_for};
use super::home::{Home, PROGRAM};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const ONE: &str = "instances: 1, enableSuperuserAccess: true";
/// What everybody may read who gets at a clear repository.
const SECRET: &str = "the-account-number-that-nobody-may-see";
/// What a group and others may do with a file.
const OF_OTHERS: u32 = 0o077;
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const OTHER: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

fn holding(folder: &Path, wanted: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let content = fs::read(path).unwrap_or_default();
        content.windows(wanted.len()).any(|some| some == wanted.as_bytes())
    };
    files(folder).into_iter().filter(holds).collect()
}

/// The name of what a key is in, made by the command and readable by PostgreSQL's user.
fn key_file(home: &Home) -> PathBuf {
    let path = home.folder().with_file_name("repository.key");
    let made = Command::new(PROGRAM).args(["repository", "key"]).arg(&path).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    if rustix::process::geteuid().is_root() {
        let given = Command::new("chown").arg("postgres:").arg(&path).status().unwrap();
        assert!(given.success());
    }
    path
}

fn with_key(path: &Path, key: &str) {
    let text = fs::read_to_string(path).unwrap();
    let named = format!("metadata: {{annotations: {{pgherd.dev/repositoryKey: '{key}'}}, ");
    fs::write(path, text.replacen("metadata: {", &named, 1)).unwrap();
}

fn why(home: &Home) -> String {
    let status = home.json(&["status"]);
    status["archive"]["failing"]["why"].as_str().unwrap_or_default().to_owned()
}

fn fill(home: &Home) {
    sql(home, "create table ledger (n int primary key, note text)");
    let rows = format!("insert into ledger select n, '{SECRET}' from generate_series(1, 5000) n");
    sql(home, &rows);
    sql(home, "grant select on ledger to app");
}

fn rows(home: &Home, name: &str) -> String {
    let count = format!("select count(*) || ' ' || min(note) from ledger where note = '{SECRET}'");
    let words = ["psql", "--name", name, "--role", "postgres", "--", "-XAtqc", count.as_str()];
    let said = home.run(&words);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().to_owned()
}

/// From the first segment to a restored copy and a restored dump.
fn everything_works(home: &mut Home) {
    fill(home);
    let taken = home.json(&["backup", "--immediate-checkpoint"]);
    assert_eq!(taken["phase"], "completed");
    sql(home, &format!("insert into ledger values (5001, '{SECRET}')"));
    let moment = sql(home, "select clock_timestamp()");
    sql(home, &format!("insert into ledger values (5002, '{SECRET}')"));
    sql(home, "select pg_switch_wal()");
    let verified = home.json(&["backup", "verify", "latest"]);
    assert_eq!((&verified["good"], &verified["checked"]), (&true.into(), &"checksums".into()));
    assert_eq!(home.json(&["backup", "list"]).as_array().unwrap().len(), 1);
    let window = home.run(&["window"]);
    assert!(window.out.contains("no gaps"), "{window:?}");

    let copy = ["restore", "local", "--as", "copy", "--instances", "1", "--to-time", &moment];
    let restored = home.run(&copy);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    home.owns("copy");
    assert_eq!(rows(home, "copy"), format!("5001 {SECRET}"));
    // The copy is encrypted with the same key, and can be backed up and looked at in turn.
    let taken = home.json(&["backup", "--name", "copy", "--immediate-checkpoint"]);
    assert_eq!(taken["phase"], "completed");

    let dumped = home.json(&["dump", "app"]);
    let id = dumped["id"].as_str().unwrap();
    let words = ["dump", "restore", id, "--database", "app", "--into", "back", "--create"];
    let restored = home.run(&words);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let count = ["psql", "--role", "postgres", "--database", "back", "--", "-XAtqc"];
    let counted = home.run(&[&count[..], &["select count(*) from ledger"]].concat());
    assert_eq!(counted.out.trim(), "5002", "{counted:?}");
}

#[test]
fn a_folder_shows_nothing_of_what_is_encrypted_in_it() {
    let mut home = Home::new();
    home.owns("local");
    let (place, key) = (folder(&home), key_file(&home));
    // Nothing is packed: what is not encrypted could be read.
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    let path = home.manifest("local", &format!("{ONE}, {store}"));
    with_key(&path, key.to_str().unwrap());
    up(&home, &path);
    everything_works(&mut home);

    sql(&home, "checkpoint");
    let data = home.folder().join("local/local-1");
    assert!(!holding(&data, SECRET).is_empty(), "what is looked for is not found at all");
    assert_eq!(holding(&place, SECRET), Vec::<PathBuf>::new());
    for said in ["system identifier", "START WAL LOCATION", "LATEST", "backup_label", "\"by\""] {
        assert_eq!(holding(&place, said), Vec::<PathBuf>::new(), "{said}");
    }
    let outside = |path: &PathBuf| !path.to_string_lossy().contains("/pgherd/encrypted/");
    assert_eq!(files(&place).into_iter().filter(outside).count(), 0);
    what_is_tampered_with_is_told(&home, &place);
    what_is_declared_otherwise_is_refused(&home, &path, &place, &key);
}

fn what_is_tampered_with_is_told(home: &Home, place: &Path) {
    let is_data = |path: &PathBuf| path.ends_with("data.tar");
    let data = files(&place.join("local")).into_iter().find(is_data).unwrap();
    let good = fs::read(&data).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&data, &flipped).unwrap();
    let said = home.run(&["backup", "verify", "latest"]);
    assert!(said.code == Some(1) && said.err.contains("is damaged at byte"), "{said:?}");
    let copy = home.run(&["restore", "local", "--as", "never", "--latest"]);
    assert!(copy.code == Some(1) && copy.err.contains("is damaged at byte"), "{copy:?}");
    // Another object of the same size, from the same key.
    fs::write(&data, &good).unwrap();
    let info = |server: &str| {
        let is_info = |path: &PathBuf| path.ends_with("backup.info");
        files(&place.join(server)).into_iter().find(is_info).unwrap()
    };
    let (ours, theirs) = (info("local"), info("copy"));
    let good = fs::read(&ours).unwrap();
    fs::copy(&theirs, &ours).unwrap();
    let said = home.run(&["backup", "verify", "latest"]);
    assert_ne!(said.code, Some(0), "{said:?}");
    fs::write(&ours, good).unwrap();
    assert_eq!(home.run(&["backup", "verify", "latest"]).code, Some(0));
}

fn what_is_declared_otherwise_is_refused(home: &Home, path: &Path, place: &Path, key: &Path) {
    let declared = fs::read_to_string(path).unwrap();
    let before = files(place).len();
    // Without its key.
    let clear = declared
        .replace(&format!("'{}'", key.display()), "")
        .replace("annotations: {pgherd.dev/repositoryKey: }, ", "");
    fs::write(path, &clear).unwrap();
    up(home, path);
    sql(home, "select pg_switch_wal()");
    sql(home, "insert into ledger values (6000, 'x')");
    sql(home, "select pg_switch_wal()");
    wait_for("a refusal", || why(home).contains("is encrypted"));
    let listed = home.run(&["backup", "list"]);
    assert!(listed.code == Some(1) && listed.err.contains("no key is declared"), "{listed:?}");
    assert_eq!(files(place).len(), before, "something was written");
    // With another one.
    let content = fs::read(key).unwrap();
    fs::write(key, format!("{OTHER}\n")).unwrap();
    fs::write(path, &declared).unwrap();
    up(home, path);
    wait_for("a refusal", || why(home).contains("it is encrypted with key"));
    let listed = home.run(&["backup", "list"]);
    assert!(
        listed.code == Some(1) && listed.err.contains("the one that is declared is"),
        "{listed:?}"
    );
    // With a new one before the old one: that is a rotation.
    fs::write(key, [format!("{OTHER}\n").as_bytes(), &content].concat()).unwrap();
    up(home, path);
    wait_for("no complaint", || why(home).is_empty());
    assert_eq!(home.run(&["backup", "verify", "latest"]).code, Some(0));
    everything_is_put_under_the_new_key(home, path, key);
    // One that others may read is refused, and what was declared before goes on.
    fs::set_permissions(key, PermissionsExt::from_mode(0o644)).unwrap();
    let said = home.run(&["up", "--file", path.to_str().unwrap()]);
    assert!(said.code == Some(4) && said.err.contains("chmod 600"), "{said:?}");
    assert_eq!(home.run(&["window"]).code, Some(4));
    fs::set_permissions(key, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(why(home), "");
}

fn everything_is_put_under_the_new_key(home: &Home, path: &Path, key: &Path) {
    let wrapped = home.json(&["backup", "rewrap"]);
    assert!(wrapped["writtenAnew"].as_u64().unwrap() > 5, "{wrapped}");
    assert_eq!(
        (wrapped["unopenedInAll"].as_u64(), wrapped["unopened"].as_array().unwrap().len()),
        (Some(0), 0)
    );
    assert_eq!(home.json(&["backup", "rewrap"])["writtenAnew"], 0);
    fs::write(key, format!("{OTHER}\n")).unwrap();
    up(home, path);
    sql(home, "insert into ledger values (6001, 'x')");
    sql(home, "select pg_switch_wal()");
    assert_eq!(home.run(&["backup", "verify", "latest"]).code, Some(0));
    assert_eq!(home.json(&["dump", "list"]).as_array().unwrap().len(), 1);
    let said = home.run(&["window"]);
    assert!(said.code == Some(0) && said.out.contains("no gaps"), "{said:?}");
    wait_for("no complaint", || why(home).is_empty());
}

#[test]
fn an_archive_that_is_clear_stays_clear_under_its_name() {
    let mut home = Home::new();
    home.owns("local");
    let (place, key) = (folder(&home), key_file(&home));
    let store =
        format!("backup: {{barmanObjectStore: {{destinationPath: '{}'}}}}", place.display());
    let path = home.manifest("local", &format!("{ONE}, {store}"));
    up(&home, &path);
    fill(&home);
    sql(&home, "select pg_switch_wal()");
    wait_for("the first file", || home.json(&["status"])["archive"]["last"]["file"].is_string());
    with_key(&path, key.to_str().unwrap());
    up(&home, &path);
    sql(&home, "insert into ledger values (6000, 'x')");
    sql(&home, "select pg_switch_wal()");
    wait_for("a refusal", || why(&home).contains("is not encrypted"));
    let listed = home.run(&["backup", "list"]);
    assert!(listed.code == Some(1) && listed.err.contains("another serverName"), "{listed:?}");
    assert_eq!(files(&place.join("local/pgherd/encrypted")), Vec::<PathBuf>::new());
    // Under another name it goes on, and nothing of the log was lost on the way.
    let text = fs::read_to_string(&path).unwrap();
    let renamed = text.replace("{destinationPath", "{serverName: closed, destinationPath");
    fs::write(&path, renamed).unwrap();
    up(&home, &path);
    wait_for("no complaint", || why(&home).is_empty());
    let taken = home.json(&["backup", "--immediate-checkpoint"]);
    assert_eq!(taken["phase"], "completed");
    assert_eq!(holding(&place.join("closed"), SECRET), Vec::<PathBuf>::new());
}

#[test]
fn the_same_in_s3_with_a_key_from_a_secret() {
    let mut home = Home::new();
    home.owns("local");
    let store = Store::start();
    let spec = store.spec().replace("wal: {compression: gzip}", "data: {jobs: 2}");
    let path = home.manifest("local", &format!("{ONE}, {spec}"));
    with_key(&path, "s3/repository");
    let text = fs::read_to_string(&path).unwrap() + &Store::secret();
    let whole = text.replace("stringData: {", &format!("stringData: {{repository: '{KEY}', "));
    fs::write(&path, whole).unwrap();
    up(&home, &path);
    everything_works(&mut home);
    assert_eq!(holding(store.folder(), SECRET), Vec::<PathBuf>::new());
    let inside = files(&store.folder().join("backups/prod/shop/pgherd/encrypted"));
    assert!(inside.len() > 5, "{inside:?}");
    let said = home.run(&["status", "-o", "json"]);
    assert!(!said.out.contains(KEY), "{said:?}");
    let logged = holding(&home.folder(), KEY);
    let private = |path: &PathBuf| path.metadata().unwrap().mode() & OF_OTHERS == 0;
    assert!(logged.iter().all(private), "others can read the key in {logged:?}");
}
