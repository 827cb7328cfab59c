//! The rule for commits.

use super::copies::COPY;
use super::rig::{Instance, LONG, Rig};
use pgherd_agent::postgres::clone;
use pgherd_agent::postgres::commits::{self, CommitsError};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Pair;
use rustix::process::{Pid, Signal};
use std::time::Duration;

fn rule(voters: &[&str]) -> Pair {
    let voters = voters.iter().map(|voter| InstanceName::parse(voter).unwrap()).collect();
    Pair { voters, acks: 1 }
}

#[tokio::test(flavor = "current_thread")]
async fn commits_wait_from_the_moment_the_rule_is_set() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    primary.run("create table t (n int)").await;
    let _standby = rig.standby("db-2", &primary).await;
    for round in 0..5 {
        primary.settings.commits = Some(rule(&["db-9"]));
        commits::obey(primary.acting(), &primary.settings, LONG).await.unwrap();
        let mut session = primary.session().await;
        session.run("set synchronous_commit = on", LONG).await.unwrap();
        let insert = format!("insert into t values ({round})");
        let waited = session.run(&insert, Duration::from_millis(300)).await;
        assert!(waited.is_err(), "a commit passed without its standby in round {round}");

        primary.settings.commits = Some(rule(&["db-2", "db-3"]));
        let began = std::time::Instant::now();
        let lsn = commits::obey(primary.acting(), &primary.settings, LONG).await.unwrap();
        println!("obeyed after {:?}", began.elapsed());
        let flushed =
            format!("select count(*) = 1 from pg_stat_replication where flush_lsn >= '{lsn}'");
        primary.until("flushed", &flushed).await;
        primary.settings.commits = None;
        commits::set_rule(primary.acting(), &primary.settings, LONG).await.unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_sender_that_stands_still_cannot_keep_the_old_rule() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let _standby = rig.standby("db-2", &primary).await;
    primary.settings.commits = Some(rule(&["db-2"]));
    commits::obey(primary.acting(), &primary.settings, LONG).await.unwrap();
    let sender: i32 = primary.sql("select pid from pg_stat_replication").await.parse().unwrap();
    let sender = Pid::from_raw(sender).unwrap();
    rustix::process::kill_process(sender, Signal::STOP).unwrap();
    primary.settings.commits = Some(rule(&["db-3"]));
    // It cannot be ended either while it stands still: then the rule is not said to hold.
    let short = Duration::from_millis(1500);
    let error = commits::obey(primary.acting(), &primary.settings, short).await.unwrap_err();
    // Late by its own clock, or while it asks.
    let late = matches!(error, CommitsError::AwaitSenders | CommitsError::WatchSenders { .. });
    assert!(late, "{error}");
    rustix::process::kill_process(sender, Signal::CONT).unwrap();
    commits::obey(primary.acting(), &primary.settings, LONG).await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_checkpointer_that_stands_still_is_waited_for() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let id = "select pid from pg_stat_activity where backend_type = 'checkpointer'";
    let id = Pid::from_raw(primary.sql(id).await.parse().unwrap()).unwrap();
    rustix::process::kill_process(id, Signal::STOP).unwrap();
    primary.settings.commits = Some(rule(&["db-2"]));
    let short = Duration::from_secs(1);
    let error = commits::set_rule(primary.acting(), &primary.settings, short).await.err().unwrap();
    rustix::process::kill_process(id, Signal::CONT).unwrap();
    let late =
        matches!(error, CommitsError::AwaitCheckpointer | CommitsError::WatchCheckpointer { .. });
    assert!(late, "{error}");
    commits::set_rule(primary.acting(), &primary.settings, LONG).await.unwrap();
    primary.run("create table t (n int)").await;
    let mut session = primary.session().await;
    session.run("set synchronous_commit = on", LONG).await.unwrap();
    assert!(session.run("insert into t values (1)", short).await.is_err());
}

/// The checkpointer, standing still: a copy waits for it until it may go on.
async fn stop_checkpointer(primary: &Instance) -> Pid {
    let id = "select pid from pg_stat_activity where backend_type = 'checkpointer'";
    let id = Pid::from_raw(primary.sql(id).await.parse().unwrap()).unwrap();
    rustix::process::kill_process(id, Signal::STOP).unwrap();
    id
}

#[tokio::test(flavor = "current_thread")]
async fn no_commit_counts_on_a_copy_that_is_being_made() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    primary.settings.commits = Some(rule(&["db-2"]));
    commits::obey(primary.acting(), &primary.settings, LONG).await.unwrap();
    let mut copy = rig.instance("db-2");
    copy.settings.receive = primary.upstream();
    let checkpointer = stop_checkpointer(&primary).await;
    let look = async {
        let begun = "select count(*) > 0 from pg_stat_replication";
        primary.until("a copy begins", begun).await;
        let name = primary.sql("select distinct application_name from pg_stat_replication").await;
        rustix::process::kill_process(checkpointer, Signal::CONT).unwrap();
        name
    };
    let mut ignore = |_| ();
    let cloning = clone::clone(&copy.site, &copy.settings, COPY, &mut ignore);
    let (cloned, name) = tokio::join!(cloning, look);
    cloned.unwrap();
    assert_eq!(name, "db-2-uncounted");
}

#[tokio::test(flavor = "current_thread")]
async fn a_new_rule_leaves_copies_alone_that_are_being_made() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    let mut copy = rig.instance("db-2");
    copy.settings.receive = primary.upstream();
    let copying = async {
        let mut ignore = |_| ();
        clone::clone(&copy.site, &copy.settings, COPY, &mut ignore).await
    };
    let rule = async {
        let checkpointer = stop_checkpointer(&primary).await;
        let begun = "select count(*) > 0 from pg_stat_replication where state = 'backup'";
        primary.until("a copy begins", begun).await;
        let sender = primary.sql("select pid from pg_stat_replication").await.parse().unwrap();
        let sender = Pid::from_raw(sender).unwrap();
        // So it is there for longer than any sender may take.
        rustix::process::kill_process(sender, Signal::STOP).unwrap();
        rustix::process::kill_process(checkpointer, Signal::CONT).unwrap();
        primary.settings.commits = Some(rule(&["db-2", "db-3"]));
        let obeyed = commits::obey(primary.acting(), &primary.settings, LONG).await;
        rustix::process::kill_process(sender, Signal::CONT).unwrap();
        obeyed
    };
    let (copied, obeyed) = tokio::join!(copying, rule);
    obeyed.unwrap();
    copied.unwrap();
}
