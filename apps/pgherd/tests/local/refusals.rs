//! Bad input: each one sentence that says what, why and how to fix it, and nothing is touched.

use super::home::Home;
use expect_test::{Expect, expect};

fn refused(words: &[&str], told: &Expect) {
    let home = Home::new();
    told.assert_eq(&home.run(words).told());
    assert!(!home.folder().exists(), "something was made");
}

fn manifest_refused(name: &str, spec: &str, told: &Expect) {
    let home = Home::new();
    let path = home.manifest(name, spec);
    told.assert_eq(&home.run(&["up", "--file", path.to_str().unwrap()]).told());
    assert!(!home.folder().exists(), "something was made");
}

#[test]
fn a_cluster_has_at_least_one_instance() {
    refused(
        &["up", "--instances", "0"],
        &expect![[r#"
        exit code 2
        error: --instances 0 is refused
        cause: a cluster has at least one instance
        fix: write a number from 1 to 9, for example --instances 3
    "#]],
    );
    manifest_refused(
        "db",
        "instances: 0",
        &expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: spec.instances is 0, but a cluster has at least one instance: write a number from 1 to 9, for example 3
    "#]],
    );
}

#[test]
fn names_are_dns_labels() {
    refused(
        &["up", "-n", "Bad_Name"],
        &expect![[r#"
        exit code 2
        error: invalid value 'Bad_Name' for '--name <NAME>': cluster name "Bad_Name" is not a DNS label: use at most 50 lower-case letters, digits and '-', starting with a letter and not ending with '-'
        fix: for example --name bad-name

        For more information, try '--help'.
    "#]],
    );
    refused(
        &["up", "-n", "Bad_Name", "-o", "json"],
        &expect![[r#"
        exit code 2
        {
          "kind": "Status",
          "apiVersion": "v1",
          "status": "Failure",
          "message": "invalid value 'Bad_Name' for '--name <NAME>': cluster name \"Bad_Name\" is not a DNS label: use at most 50 lower-case letters, digits and '-', starting with a letter and not ending with '-'",
          "reason": "Invalid",
          "details": {
            "fix": "for example --name bad-name"
          },
          "code": 2
        }
    "#]],
    );
    manifest_refused(
        "Bad_Name",
        "instances: 1",
        &expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: metadata.name is refused: cluster name "Bad_Name" is not a DNS label: use at most 50 lower-case letters, digits and '-', starting with a letter and not ending with '-'
    "#]],
    );
}

#[test]
fn unknown_and_wrongly_typed_fields_are_named() {
    manifest_refused(
        "db",
        "instanses: 3",
        &expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: line 4: spec.instanses is not a field: did you mean instances?
    "#]],
    );
    manifest_refused(
        "db",
        "instances: three",
        &expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: line 4: spec.instances is "three" (text), but a whole number is needed: write one, for example 3
    "#]],
    );
}

#[test]
fn settings_that_are_ours_are_refused() {
    let spec = "instances: 1, postgresql: {parameters: {port: '5433', fsync: 'off'}}";
    manifest_refused(
        "db",
        spec,
        &expect![[r#"
        exit code 2
        error: the manifest is refused
        cause: spec.postgresql.parameters.fsync is off, but has to be on, because a commit has to survive a power cut on the standby that confirms it: remove it; spec.postgresql.parameters.port cannot be set, because the cluster places every instance: remove it
    "#]],
    );
}

#[test]
fn without_postgresql_there_is_no_cluster() {
    refused(
        &["up", "--pg-bindir", "/nowhere"],
        &expect![[r#"
        exit code 4
        error: "/nowhere" has no postgres: install the whole server (Debian: apt-get install postgresql-15) or name another folder in PGHERD_PG_BINDIR
    "#]],
    );
}

#[test]
fn a_cluster_that_is_not_there_is_not_found() {
    refused(
        &["kill", "1"],
        &expect![[r#"
        exit code 3
        error: cluster local not found
        cause: HOME/local holds no cluster
        fix: pgherd local up --dir HOME makes one, pgherd local list --dir HOME shows those there are
    "#]],
    );
    refused(
        &["destroy", "--yes"],
        &expect![[r#"
        exit code 3
        error: cluster local not found
        cause: HOME/local holds no cluster
        fix: pgherd local up --dir HOME makes one, pgherd local list --dir HOME shows those there are
    "#]],
    );
    refused(
        &["status", "-o", "json"],
        &expect![[r#"
        exit code 3
        {
          "kind": "Status",
          "apiVersion": "v1",
          "status": "Failure",
          "message": "cluster local not found",
          "reason": "NotFound",
          "details": {
            "cause": "HOME/local holds no cluster",
            "fix": "pgherd local up --dir HOME makes one, pgherd local list --dir HOME shows those there are"
          },
          "code": 3
        }
    "#]],
    );
}

#[test]
fn a_manifest_of_another_cluster_makes_nothing() {
    let home = Home::new();
    let path = home.manifest("shop", "instances: 1");
    let said = home.run(&["up", "-n", "other", "--file", path.to_str().unwrap()]);
    expect![[r#"
        exit code 2
        error: the manifest is of cluster shop, and this is other
        fix: --name shop
    "#]]
    .assert_eq(&said.told());
    assert!(!home.folder().exists(), "something was made");
}

#[test]
fn a_link_is_no_folder_of_a_cluster() {
    let home = Home::new();
    let (elsewhere, link) = (home.folder().join("elsewhere"), home.folder().join("local"));
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
    for words in [&["up"][..], &["destroy", "--yes"]] {
        let said = home.run(words);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert!(said.err.contains("is a symbolic link"), "{said:?}");
    }
    assert!(std::fs::read_dir(&elsewhere).unwrap().next().is_none(), "something was made");
}

#[test]
fn a_folder_with_something_else_in_it_is_left_alone() {
    let home = Home::new();
    let foreign = home.folder().join("local");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("thesis.tex"), "years of work").unwrap();
    for words in [&["up"][..], &["destroy", "--yes"]] {
        // The reason depends on whose it is, and that on who runs the test.
        let said = home.run(words);
        assert_eq!(said.code, Some(4), "{said:?}");
        assert!(said.err.contains("HOME/local") && said.err.contains("move it away"), "{said:?}");
    }
    assert_eq!(std::fs::read_to_string(foreign.join("thesis.tex")).unwrap(), "years of work");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut home = Home::new();
    home.owns("local");
    let said = home.run(&["up", "--instances", "1", "--port", &port]);
    expect![[r#"
        exit code 4
        error: port PORT, which local-1 needs, is taken by another program: stop that program, or choose other ports with `pgherd local up --dir HOME --port N`
    "#]].assert_eq(&said.told().replace(&port, "PORT"));
}
