//! A cluster that is down and not as `up` and `destroy` left it: other programs, another name,
//! another owner. Each is refused, nothing is changed, and put right again it goes on.

use super::archive::wait_for;
use super::home::{Home, PROGRAM};
use expect_test::expect;
use pgherd_agent::postgres::install;
use pgherd_local::processes;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const NOBODY: u32 = 65_534;

#[test]
fn a_cluster_that_is_not_as_it_was_is_left_alone() {
    let mut home = Home::new();
    home.owns("local");
    let up = home.run(&["up", "--instances", "1"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    let psql = |sql| home.run(&["psql", "--", "-XAtqc", sql]);
    assert_eq!(psql("create table t as select 1 as n").code, Some(0));
    assert_eq!(home.run(&["down"]).code, Some(0));
    // It closes its store when the command has its answer already.
    let folder = home.folder().join("local");
    wait_for("its supervisor's end", || processes::supervisor_of(&folder).unwrap().is_none());
    let before = files(&home.folder());

    other_programs(&home);
    assert_eq!(files(&home.folder()), before);
    another_name(&home);
    assert_eq!(files(&home.folder()), before);
    if rustix::process::geteuid().is_root() {
        another_owner(&home);
    }
    assert_eq!(files(&home.folder()), before);

    let up = home.run(&["up"]);
    assert_eq!(up.code, Some(0), "{up:?}");
    assert_eq!(psql("select n from t").out, "1\n");
}

fn other_programs(home: &Home) {
    let own = install::find(None).unwrap();
    let major = own.version.major;
    let other = another_installation(home, &own);
    let words = ["up", "--pg-bindir", other.to_str().unwrap()];
    let told = home.run(&words).told().replace(other.to_str().unwrap(), "OTHER");
    let found = install::find(Some(&other)).unwrap().version.major;
    assert_eq!(
        told,
        format!(
            "exit code 4\nerror: cluster local was made by PostgreSQL {major} and \"OTHER\" holds {found}: name the programs of {major} with --pg-bindir, or install them\n"
        )
    );
}

/// Programs of another major version: those of this machine, or ones that can only say so.
fn another_installation(home: &Home, own: &install::Installation) -> PathBuf {
    let majors = (14..=18).filter(|major| *major != own.version.major);
    let folders = majors.map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    if let Some(real) = folders.into_iter().find(|it| install::find(Some(it)).is_ok()) {
        return real;
    }
    let said = if own.version.major == 16 { "17.1" } else { "16.1" };
    let folder = home.folder().with_file_name("other");
    // By a shell: a file that is open for writing here could not be run.
    let script = "mkdir -p \"$1\" && for program in \"$2\"/*; do file=\"$1/${program##*/}\" && \
        printf '#!/bin/sh\\necho \"%s (PostgreSQL) %s\"\\n' \"${program##*/}\" \"$3\" > \"$file\" && \
        chmod 755 \"$1\" \"$file\" || exit 1; done";
    let mut shell = Command::new("sh");
    let made = shell.args(["-c", script, "sh"]).arg(&folder).arg(&own.bindir).arg(said);
    assert!(made.status().unwrap().success());
    folder
}

fn another_name(home: &Home) {
    let (folder, copy) = (home.folder().join("local"), home.folder().join("other"));
    let copied = Command::new("cp").arg("-a").arg(&folder).arg(&copy).status();
    assert!(copied.unwrap().success());
    let before = files(&copy);
    expect![[r#"
        exit code 4
        error: "HOME/other" is of cluster local: it was copied or renamed; give it back its name, or name another --dir
    "#]]
    .assert_eq(&home.run(&["up", "--name", "other"]).told());
    expect![[r#"
        exit code 4
        error: HOME/other holds "local-1", which is not ours
        fix: move it away and run this again
    "#]]
    .assert_eq(&home.run(&["destroy", "--yes", "--name", "other"]).told());
    assert_eq!(files(&copy), before);
    fs::remove_dir_all(&copy).unwrap();
}

/// Only the folder was given away: what is in it still belongs to who made the cluster.
fn another_owner(home: &Home) {
    let folder = home.folder().join("local");
    let facts = fs::metadata(&folder).unwrap();
    let owner = facts.uid();
    chown(&folder, Some(NOBODY), None).unwrap();
    expect![[r#"
        exit code 4
        error: reading what is known of cluster local
        cause: reading "HOME/local/cluster.json": its folder's owner may not read it: give the folder and all that is in it to the user who made the cluster (chown -R), or name another --dir
    "#]]
    .assert_eq(&home.run(&["up"]).told());
    let told = home.run(&["destroy", "--yes"]).told();
    expect![[r#"
        exit code 4
        error: HOME/local belongs to user 65534, and the cluster in it to user OWNER
        fix: chown -R OWNER HOME/local, and run this again
    "#]]
    .assert_eq(&told.replace(&owner.to_string(), "OWNER"));
    chown(&folder, Some(owner), Some(facts.gid())).unwrap();
}

/// Root's, whoever runs the test. Nothing in it could be taken for a cluster.
#[test]
fn a_folder_of_root_is_no_cluster() {
    for verb in [&["up"][..], &["destroy", "--yes"]] {
        let mut command = Command::new(PROGRAM);
        let said = command.arg("local").args(verb).args(["--dir", "/", "--name", "usr"]).output();
        let said = said.unwrap();
        let told = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(4), "{told}");
        expect![[r#"
            error: "/usr" belongs to root, as whom PostgreSQL does not run, so it is not a pgherd cluster: move it away, or choose another --dir or --name
        "#]]
        .assert_eq(&told);
    }
}

#[test]
fn a_folder_that_may_not_be_entered_is_told() {
    // Root enters all of them.
    if rustix::process::geteuid().is_root() || fs::read_dir("/root").is_ok() {
        return;
    }
    for verb in [&["up"][..], &["destroy", "--yes"]] {
        let mut command = Command::new(PROGRAM);
        let said = command.arg("local").args(verb).args(["--dir", "/root/clusters"]).output();
        let said = said.unwrap();
        assert_eq!(said.status.code(), Some(2), "{said:?}");
        expect![[r#"
            error: "/root/clusters" cannot be looked at: choose a --dir that this user may enter
            cause: Permission denied (os error 13)
        "#]]
        .assert_eq(&String::from_utf8(said.stderr).unwrap());
    }
}

/// Every file below, how long it is and when it was changed.
fn files(folder: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let facts = fs::symlink_metadata(&path).unwrap();
        if facts.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path, (facts.len(), facts.modified().unwrap()));
        }
    }
    found
}
