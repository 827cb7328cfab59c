//! Settings that do not take effect are told, and so are commits that wait.

use super::archive::{sql, up};
use super::home::Home;
use std::time::{Duration, Instant};

/// Commits wait for the standby.
const PAIR: &str = "instances: 2, enableSuperuserAccess: true, postgresql: {synchronous: {method: any, \
                    number: 1, dataDurability: required}}";
const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn settings_that_postgresql_refuses_or_takes_up_later_are_told() {
    let mut home = Home::new();
    home.owns("local");
    let parameters = |parameters: &str| {
        let spec = format!(
            "instances: 1, enableSuperuserAccess: true, postgresql: {{parameters: {{{parameters}}}}}"
        );
        up(&home, &home.manifest("local", &spec));
    };
    let warnings = || home.json(&["status"])["warnings"].to_string();
    parameters("wrk_mem: 8MB");
    let told = warnings();
    assert!(told.contains("wrk_mem") && told.contains("it is left out"), "{told}");
    parameters("max_connections: '150'");
    wait_for("a setting that waits for a restart", || {
        warnings().contains("max_connections waits for a restart (pgherd local restart --dir HOME)")
    });
    let told = warnings();
    assert!(!told.contains("wrk_mem"), "{told}");
    assert_eq!(home.run(&["restart"]).code, Some(0));
    wait_for("no warning any more", || warnings() == "[]");
    // Its log was written with more.
    parameters("max_connections: '50'");
    wait_for("a value that stays", || {
        warnings().contains("max_connections = 50 is less than the 150")
    });
    assert_eq!(home.run(&["restart"]).code, Some(0));
    assert_eq!(sql(&home, "show max_connections"), "150");
    parameters("max_connections: '150'");
    wait_for("no warning in the end", || warnings() == "[]");
}

#[test]
fn what_a_superuser_changes_past_the_agent_is_taken_back() {
    let mut home = Home::new();
    home.owns("local");
    up(&home, &home.manifest("local", PAIR));
    let rule = sql(&home, "show synchronous_standby_names");
    assert!(rule.starts_with("ANY 1"), "{rule}");
    sql(&home, "alter system set synchronous_standby_names = ''");
    sql(&home, "alter system set work_mem = '77MB'");
    sql(&home, "select pg_reload_conf()");
    wait_for("the rule for commits", || sql(&home, "show synchronous_standby_names") == rule);
    wait_for("the setting", || sql(&home, "show work_mem") == "4MB");
    sql(&home, "set synchronous_commit = local; alter role streaming_replica nologin");
    sql(&home, "select pg_terminate_backend(pid) from pg_stat_replication");
    wait_for("the standby", || {
        sql(&home, "select count(*) from pg_stat_replication where state = 'streaming'") == "1"
    });
}

#[test]
fn commits_that_wait_for_a_standby_are_told() {
    let mut home = Home::new();
    home.owns("local");
    up(&home, &home.manifest("local", PAIR));
    let commits = || {
        let status = home.json(&["status"]);
        status["commits"].as_str().unwrap().to_owned()
    };
    // A standby may connect once more in its first moments.
    wait_for("commits that survive", || {
        commits() == "a commit survives the loss of any one node (1 of 1 standbys confirm it)"
    });
    assert_eq!(home.run(&["kill", &home.standby()]).code, Some(0));
    wait_for("commits that wait", || {
        commits() == "commits wait: 0 of the 1 standbys that have to confirm them are there"
    });
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + WITHIN;
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
