//! `pgherd local restart`: it returns when every server that it is about is another one.

use super::home::Home;
use expect_test::expect;

#[test]
fn a_restart_is_over_when_every_server_is_a_new_one() {
    let mut home = Home::new();
    home.owns("local");
    let up = home.run(&["up", "--instances", "3"]);
    assert_eq!(up.code, Some(0), "{up:?}");

    let before = ["1", "2", "3"].map(|instance| started(&home, instance));
    let all = home.run(&["restart"]);
    let after = ["1", "2", "3"].map(|instance| started(&home, instance));
    expect![[r#"
        exit code 0
        cluster/local restarted
    "#]]
    .assert_eq(&all.told_in_the_end());
    let primary = started(&home, home.primary().trim_start_matches("local-"));
    assert_eq!(after.iter().max(), Some(&primary), "standbys come first: {after:?}");
    assert!(
        before.iter().zip(&after).all(|(before, after)| before < after),
        "{before:?} {after:?}"
    );

    let standby = home.standby();
    assert_eq!(home.run(&["fence", &standby]).code, Some(0));
    let told = |words: &[&str]| home.run(words).told_in_the_end().replace(&standby, "STANDBY");
    let serial = standby.trim_start_matches("local-");
    expect![[r#"
        exit code 4
        error: STANDBY cannot be restarted: it is fenced
        fix: pgherd local unfence --dir HOME N
    "#]]
    .assert_eq(&told(&["restart", &standby]).replace(&format!("HOME {serial}"), "HOME N"));
    let others: Vec<&str> = ["1", "2", "3"].into_iter().filter(|it| *it != serial).collect();
    let before: Vec<String> = others.iter().map(|instance| started(&home, instance)).collect();
    let passed = told(&["restart"]);
    let after: Vec<String> = others.iter().map(|instance| started(&home, instance)).collect();
    expect![[r#"
        exit code 0
        cluster/local restarted
        warning: STANDBY is passed over: it is fenced
    "#]]
    .assert_eq(&passed);
    assert!(
        before.iter().zip(&after).all(|(before, after)| before < after),
        "{before:?} {after:?}"
    );

    assert_eq!(home.run(&["pause"]).code, Some(0));
    expect![[r#"
        exit code 4
        error: cluster local is paused: what is restarted would stay down
        fix: pgherd local resume --dir HOME
    "#]]
    .assert_eq(&told(&["restart"]));
    assert_eq!(home.run(&["resume"]).code, Some(0));

    // It was not asked to restart while it was fenced, and is not late to do so.
    assert_eq!(home.run(&["unfence", &standby]).code, Some(0));
    let back = started(&home, serial);
    assert_eq!(home.run(&["restart", others[0]]).code, Some(0));
    assert_eq!(started(&home, serial), back);
}

/// When the server of an instance was started, so written that earlier is less.
fn started(home: &Home, instance: &str) -> String {
    let sql = "select extract(epoch from pg_postmaster_start_time())";
    let said = home.run(&["psql", instance, "--", "-XAtqc", sql]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out
}
