//! A cluster that begins with statements that are kept elsewhere.
//!
//! Never looks inside an agent: only at its status and its PostgreSQL.

use super::cluster::Cluster;
use pgherd_api::agent::{InitialDatabase, RunningTask, StatementFile};
use rustix::process::Signal;

#[tokio::test]
async fn statements_that_are_missing_or_wrong_are_named_and_run_once_when_they_are_right() {
    let kept = |database, file: &str, origin: &str| StatementFile {
        database,
        file: file.to_owned(),
        origin: origin.to_owned(),
    };
    let cluster = Cluster::beginning_with(vec![
        kept(InitialDatabase::Postgres, "postgres-1", "key roles of Secret accounts"),
        kept(InitialDatabase::Application, "application-1", "key schema of ConfigMap shop"),
        kept(InitialDatabase::Application, "application-2", "key rows of ConfigMap shop"),
    ])
    .await;
    let told = async |part: &str| {
        cluster
            .wait(part, |found| {
                let failure = found.get(&1).and_then(|status| status.failure.as_ref());
                failure.is_some_and(|failure| failure.why.contains(part))
            })
            .await;
    };
    told("key roles of Secret accounts, which the cluster shall begin with, does not exist").await;
    cluster.show_statements(1, "postgres-1", "create role clerk; create role cook;");
    cluster.show_statements(
        1,
        "application-1",
        "create table dishes (name text); grant insert on dish to cook;",
    );
    cluster.show_statements(1, "application-2", "insert into dishes values ('soup'), ('bread')");
    told("running key schema of ConfigMap shop").await;
    let right = "create table dishes (name text); grant insert on dishes to cook; grant select on dishes to app";
    cluster.show_statements(1, "application-1", right);
    cluster.whole(1).await;
    let found = "select count(*), has_table_privilege('cook', 'dishes', 'insert'), \
                 has_table_privilege('clerk', 'dishes', 'insert') from dishes";
    assert_eq!(cluster.sql(found).await.unwrap(), "2|t|f");
}

#[tokio::test]
async fn an_agent_that_only_makes_a_folder_ends_soon_and_makes_it_anew() {
    let mut cluster = Cluster::beginning_with(vec![StatementFile {
        database: InitialDatabase::Postgres,
        file: "postgres-1".to_owned(),
        origin: "key roles of Secret accounts".to_owned(),
    }])
    .await;
    cluster
        .wait("a folder of its own", |found| {
            let failure = found.get(&1).and_then(|status| status.failure.as_ref());
            failure.is_some_and(|failure| failure.why.contains("does not exist"))
        })
        .await;
    cluster.show_statements(1, "postgres-1", "select pg_sleep(10000)");
    cluster
        .wait("a folder that is being made", |found| {
            let task = found.get(&1).and_then(|status| status.task.as_ref());
            let long = |task: &RunningTask| task.running_milliseconds > 3_000;
            task.is_some_and(|task| task.name.contains("initialise") && long(task))
        })
        .await;
    cluster.signal(1, Signal::TERM);
    cluster.ended(1).await;
    cluster.show_statements(1, "postgres-1", "create table dishes (name text)");
    cluster.run(1);
    cluster.whole(1).await;
}
