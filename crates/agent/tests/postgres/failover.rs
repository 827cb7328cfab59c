//! Sealing, promoting on a chosen timeline, and following through it.

use super::rig::{LONG, Rig};
use pgherd_agent::postgres::config::Receive;
use pgherd_agent::postgres::promote::{self, Opening, PromoteError};
use pgherd_agent::postgres::server::Mode;
use pgherd_agent::postgres::wal::history;
use pgherd_agent::process::clock;
use pgherd_core::units::{Lsn, Time, Timeline};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "current_thread")]
async fn a_sealed_standby_has_all_that_was_acknowledged_and_gets_nothing_more() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    primary.run("create table t (n int)").await;
    for _ in 0..5 {
        primary.run("insert into t select generate_series(1, 1000)").await;
        let lsn = Lsn::parse(&primary.sql("select pg_current_wal_flush_lsn()").await).unwrap();
        standby.until_caught_up(&primary).await;
        let began = Instant::now();
        let sealed = standby.seal().await;
        println!("sealed in {:?}", began.elapsed());
        assert_eq!(sealed.position.timeline, Timeline(1));
        assert!(sealed.position.lsn >= lsn, "{sealed:?} is behind {lsn}");
        assert!(sealed.settled);

        primary.run("insert into t select generate_series(1, 1000)").await;
        primary.run("checkpoint").await;
        let again = standby.seal().await;
        assert_eq!(again.position, sealed.position);
        standby.follow(&primary).await;
        standby.until_streams_from(&primary).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_seal_holds_also_against_a_receiver_that_is_just_being_started() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    primary.run("create table t (n int)").await;
    let sent = "select count(*) = 0 from pg_stat_replication";
    for round in 0..20 {
        standby.follow(&primary).await;
        // Sooner and later after the server was told to receive.
        tokio::time::sleep(Duration::from_millis(round * 7 % 100)).await;
        let sealed = standby.seal().await;
        primary.run("insert into t values (1); select pg_switch_wal()").await;
        primary.until("without a sender", sent).await;
        let again = standby.seal().await;
        assert_eq!(again.position.lsn, sealed.position.lsn, "in round {round}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_promotion_takes_the_timeline_it_was_given_and_a_standby_follows_through_the_gap() {
    let rig = Rig::new();
    let first = rig.primary("db-1").await;
    let mut second = rig.standby("db-2", &first).await;
    let mut third = rig.standby("db-3", &first).await;
    first.run("create table t (n int); insert into t values (1)").await;
    second.until_caught_up(&first).await;
    third.until_caught_up(&first).await;
    first.crash();

    second.seal().await;
    third.seal().await;
    let began = Instant::now();
    let promoted = second.promote(4).await;
    println!("promoted in {:?}", began.elapsed());
    assert_eq!(promoted.timeline, Timeline(4));
    second.run("insert into t values (2)").await;
    println!("first write after {:?}", began.elapsed());
    third.follow(&second).await;
    third.until_streams_from(&second).await;
    println!("the other one streams after {:?}", began.elapsed());
    third.until_caught_up(&second).await;
    assert_eq!(third.sql("select string_agg(n::text, ' ' order by n) from t").await, "1 2");
    let real = history::read(&third.site.data, Timeline(4)).unwrap().unwrap();
    assert_eq!(real.leaves(Timeline(1)), Some(promoted.began));
    let reserved = history::read(&third.site.data, Timeline(3)).unwrap().unwrap();
    assert_eq!(reserved.forks, []);

    // And once more, the other way round.
    second.crash();
    assert_eq!(third.promote(7).await.timeline, Timeline(7));
    third.run("insert into t values (3)").await;
    assert_eq!(third.ancestors(7), [1, 4]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_timeline_that_is_taken_is_refused_before_anything_happens() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    standby.settings.receive = Receive::FromNobody;
    history::reserve_below(&standby.site.data, Timeline(6), standby.site.private()).unwrap();
    let opening = Opening { timeline: Timeline(4), before: Time::NEVER };
    let error =
        promote::promote(standby.acting(), &standby.settings, opening, LONG).await.unwrap_err();
    assert!(matches!(error, PromoteError::TakeTimeline { .. }), "{error}");
    assert_eq!(standby.sql("select pg_is_in_recovery()").await, "t");
    // Reservations that came to nothing are no obstacle to following.
    standby.follow(&primary).await;
    standby.until_streams_from(&primary).await;
    assert_eq!(history::highest(&standby.site.data).unwrap(), None);
}

/// As when the agent stood still between its decision and its deed.
#[tokio::test(flavor = "current_thread")]
async fn a_standby_is_not_opened_when_the_right_to_is_over() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    standby.settings.receive = Receive::FromNobody;
    let opening = Opening { timeline: Timeline(4), before: clock::now() };
    let error =
        promote::promote(standby.acting(), &standby.settings, opening, LONG).await.unwrap_err();
    assert!(matches!(error, PromoteError::KeepTime { .. }), "{error}");
    assert!(!standby.site.data.join("promote").exists());
    assert_eq!(standby.sql("select pg_is_in_recovery()").await, "t");
    standby.follow(&primary).await;
    standby.until_streams_from(&primary).await;
}

/// As when the disk was full, or the machine lost, before PostgreSQL wrote the new history.
#[tokio::test(flavor = "current_thread")]
async fn a_promotion_that_ended_halfway_is_no_obstacle_to_the_next_start() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    primary.run("create table t as select 1 as n").await;
    primary.crash();
    history::reserve_below(&primary.site.data, Timeline(4), primary.site.private()).unwrap();
    primary.settings.receive = Receive::FromNobody;
    primary.start(Mode::Standby).await;
    assert_eq!(primary.promote(4).await.timeline, Timeline(4));
    assert_eq!(primary.sql("select n from t").await, "1");
}

#[tokio::test(flavor = "current_thread")]
async fn a_copy_that_never_saw_the_timelines_between_leads_others_on() {
    let rig = Rig::new();
    let first = rig.primary("db-1").await;
    let mut second = rig.standby("db-2", &first).await;
    first.run("create table t (n int)").await;
    second.until_caught_up(&first).await;
    first.crash();
    second.promote(3).await;
    // It gets the history of timeline 3 and no other.
    let mut copy = rig.copy_of("db-4", &second).await;
    let mut sibling = rig.copy_of("db-5", &second).await;
    second.run("insert into t values (1)").await;
    copy.until_caught_up(&second).await;
    sibling.until_caught_up(&second).await;
    second.crash();
    assert_eq!(copy.promote(9).await.timeline, Timeline(9));
    copy.run("insert into t values (2)").await;
    sibling.follow(&copy).await;
    sibling.until_streams_from(&copy).await;
    sibling.until_caught_up(&copy).await;
    assert_eq!(sibling.sql("select count(*) from t").await, "2");
    for timeline in 2..=9 {
        assert!(history::read(&copy.site.data, Timeline(timeline)).unwrap().is_some());
    }
}
