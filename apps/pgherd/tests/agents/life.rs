//! What a cluster lives through.
//!
//! Never looks inside an agent: only at its status, its files and its PostgreSQL.

use super::cluster::{ASYNCHRONOUS, Cluster};
use pgherd_api::agent::{Role, Status, StoppedAt};
use pgherd_core::intent::{Durability, Switchover};
use pgherd_core::units::Bytes;
use rustix::process::Signal;
use std::time::Instant;

const TABLE: &str = "create table t (n int primary key)";

#[tokio::test]
async fn a_lost_primary_is_replaced_and_comes_back_as_a_standby() {
    let mut cluster = Cluster::start(3, ASYNCHRONOUS).await;
    let first = cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
    let lost = Instant::now();
    cluster.kill(first);
    let outage = cluster.outage(lost, "insert into t values (1)").await;
    eprintln!("node loss: write outage {outage:?}");
    let second = cluster.whole(2).await;
    assert_ne!(first, second);
    cluster.run(first);
    assert_eq!(cluster.whole(3).await, second);
    assert_eq!(cluster.sql("select count(*) from t").await.unwrap(), "1");
}

#[tokio::test]
async fn a_dead_postmaster_is_noticed_at_once() {
    let cluster = Cluster::start(3, Durability::Required { acks: 1 }).await;
    let first = cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
    let lost = Instant::now();
    cluster.kill_postmaster(first);
    let outage = cluster.outage(lost, "insert into t values (1)").await;
    eprintln!("postmaster crash: write outage {outage:?}");
    cluster.whole(3).await;
    assert_eq!(cluster.sql("select count(*) from t").await.unwrap(), "1");
}

#[tokio::test]
async fn a_standby_with_half_a_record_of_a_dead_primary_follows_the_next() {
    let cluster = Cluster::start(3, Durability::Required { acks: 1 }).await;
    let first = cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
    cluster.sql("insert into t values (1)").await.unwrap();
    let before = cluster.status(first).await.unwrap().server.position.unwrap();
    // One record of many segments, whose first ones have come to the standby when it dies.
    let writer = cluster.sql("select pg_logical_emit_message(true, 'x', repeat('x', 400000000))");
    let killed = async {
        cluster
            .wait("half a record", |found| {
                let far = |status: &Status| {
                    let position = status.server.position.map(|it| it.lsn);
                    position.is_some_and(|lsn| lsn.ahead_of(before.lsn) >= Bytes(64 << 20))
                };
                found.iter().all(|(serial, status)| *serial == first || far(status))
            })
            .await;
        cluster.kill_postmaster(first);
    };
    let (written, ()) = tokio::join!(writer, killed);
    assert!(written.is_err(), "the primary died in the middle of it");
    cluster.whole(3).await;
    cluster.sql("insert into t values (2)").await.unwrap();
    cluster
        .wait("all of the log on every standby", |found| {
            let positions = found.values().map(|status| status.server.position);
            let same = positions.collect::<std::collections::BTreeSet<_>>().len() == 1;
            same && found.values().filter(|it| it.server.streaming == Some(true)).count() == 2
        })
        .await;
    assert_eq!(cluster.sql("select count(*) from t").await.unwrap(), "2");
}

#[tokio::test]
async fn a_switchover_hands_the_office_to_the_wished_standby() {
    let cluster = Cluster::start(3, Durability::Preferred { acks: 1 }).await;
    let first = cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
    let target = if first == 3 { 2 } else { 3 };
    let name = cluster.name(target);
    cluster.keeper.specify(|told| {
        told.intent.switchover = Some(Switchover { number: 1, target: Some(name), epoch: None });
    });
    cluster.wait("the switchover", |found| found.values().all(|it| it.switchover_done == 1)).await;
    assert_eq!(cluster.whole(3).await, target);
    cluster.sql("insert into t values (1)").await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_hands_over_first_and_stops_cleanly() {
    let mut cluster = Cluster::start(3, ASYNCHRONOUS).await;
    let first = cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
    let left = Instant::now();
    cluster.signal(first, Signal::TERM);
    let outage = cluster.outage(left, "insert into t values (1)").await;
    eprintln!("SIGTERM: writes succeed elsewhere after {outage:?}");
    assert!(cluster.ended(first).await.success());
    cluster.whole(2).await;
    cluster.run(first);
    cluster.whole(3).await;
}

#[tokio::test]
async fn an_agent_that_reexecutes_itself_keeps_postgresql_and_its_office() {
    let cluster = Cluster::start(3, ASYNCHRONOUS).await;
    let first = cluster.whole(3).await;
    let before = (cluster.pid(first), cluster.postmaster(first));
    let epoch = cluster.keeper.record().unwrap().epoch;
    let incarnation = cluster.status(first).await.unwrap().me.incarnation;
    for round in 1..=3 {
        cluster.signal(first, Signal::USR1);
        cluster.signal(first, Signal::USR1);
        cluster.reexecuted(first, round).await;
        assert_eq!(cluster.whole(3).await, first);
        assert_eq!((cluster.pid(first), cluster.postmaster(first)), before);
    }
    assert_eq!(cluster.status(first).await.unwrap().me.incarnation, incarnation);
    assert_eq!(cluster.keeper.record().unwrap().epoch, epoch);
    cluster.sql(TABLE).await.unwrap();
}

#[tokio::test]
async fn a_deadline_holds_over_a_reexecution() {
    let cluster = Cluster::start(3, ASYNCHRONOUS).await;
    let first = cluster.whole(3).await;
    let postmaster = cluster.postmaster(first);
    let others: Vec<u32> = (1..=3).filter(|serial| *serial != first).collect();
    // From here on nobody gives it more time.
    cluster.keeper.close();
    for other in &others {
        cluster.signal(*other, Signal::STOP);
    }
    cluster.signal(first, Signal::USR1);
    cluster.reexecuted(first, 1).await;
    cluster.dead(postmaster).await;
    for other in &others {
        cluster.signal(*other, Signal::CONT);
    }
    cluster.keeper.open();
    cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_shall_stop_does_so_cleanly_and_starts_again() {
    let mut cluster = Cluster::start(3, Durability::Required { acks: 1 }).await;
    cluster.whole(3).await;
    cluster.sql(TABLE).await.unwrap();
    cluster.keeper.specify(|told| told.intent.stopped = true);
    cluster
        .wait("a stopped cluster", |found| {
            found.len() == 3 && found.values().all(|it| it.role == Role::Stopped)
        })
        .await;
    let primary = cluster.keeper.record().unwrap().holder.instance.serial();
    let stopped = cluster.status(primary).await.unwrap().server.stopped;
    assert_eq!(stopped, Some(StoppedAt::Clean));
    for serial in 1..=3 {
        cluster.signal(serial, Signal::TERM);
        assert!(cluster.ended(serial).await.success());
    }
    cluster.keeper.specify(|told| told.intent.stopped = false);
    for serial in 1..=3 {
        cluster.run(serial);
    }
    cluster.whole(3).await;
    cluster.sql("insert into t values (1)").await.unwrap();
}

#[tokio::test]
async fn one_instance_alone_survives_the_death_of_its_agent() {
    let mut cluster = Cluster::start(1, ASYNCHRONOUS).await;
    cluster.whole(1).await;
    cluster.sql(TABLE).await.unwrap();
    cluster.kill(1);
    cluster.run(1);
    cluster.whole(1).await;
    cluster.sql("insert into t values (1)").await.unwrap();
}
