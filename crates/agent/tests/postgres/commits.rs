//! The rule for commits.

use super::rig::{LONG, Rig};
use pgherd_agent::postgres::{commits, flushed, sessions};
use pgherd_core::names::InstanceName;
use pgherd_core::record::Pair;
use std::collections::BTreeSet;
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
        let lsn = commits::obey(primary.acting(), &primary.settings, LONG).await.unwrap();
        let rule = primary.settings.commits.clone().unwrap();
        flushed::wait(primary.acting(), &rule, lsn, LONG).await.unwrap();
        primary.settings.commits = None;
        commits::set_rule(primary.acting(), &primary.settings, LONG).await.unwrap();
    }
    let names = BTreeSet::from(["db-2".to_owned()]);
    assert_eq!(sessions::end_senders(primary.acting(), &names, LONG).await.unwrap(), 1);
    let _client = rig_client(&primary).await;
    assert!(sessions::end_clients(primary.acting(), LONG).await.unwrap() >= 1);
}

async fn rig_client(primary: &super::rig::Instance) -> std::process::Child {
    let mut client = primary.client("app", "select pg_sleep(60)");
    client.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let client = client.spawn().unwrap();
    let busy = "select count(*) = 1 from pg_stat_activity where usename = 'app'";
    primary.until("busy", busy).await;
    client
}
