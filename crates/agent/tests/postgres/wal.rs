//! Where the log of a dead server ends.

use super::rig::{Instance, LONG, Rig};
use pgherd_agent::postgres::control;
use pgherd_agent::postgres::server::Mode;
use pgherd_agent::postgres::wal::end;
use pgherd_core::units::{Lsn, Timeline, WalPosition};

async fn found(instance: &Instance) -> WalPosition {
    let control = control::read_file(&instance.site.data).unwrap();
    end::find(&instance.site, &control, LONG).await.unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn the_end_of_a_crashed_primary_is_where_recovery_comes_to() {
    let rig = Rig::new();
    let mut primary = rig.primary("db-1").await;
    primary.run("create table t (n int, filler text)").await;
    for round in 0..6 {
        let statement = match round {
            0 => "insert into t select n, repeat('x', 1000) from generate_series(1, 3000) n",
            1 => "select pg_switch_wal()",
            // A record of many pages.
            2 => "select pg_logical_emit_message(true, 'x', repeat('x', 3000000))",
            3 => "create index on t (n); checkpoint; insert into t values (1)",
            4 => "vacuum full t",
            _ => "select pg_logical_emit_message(true, 'x', 'y'); select pg_switch_wal()",
        };
        primary.run(statement).await;
        let flushed = Lsn::parse(&primary.sql("select pg_current_wal_flush_lsn()").await).unwrap();
        primary.crash();
        let end = found(&primary).await;
        assert_eq!(end.timeline, Timeline(1));
        assert!(end.lsn >= flushed, "after {statement}: {end} is before {flushed}");
        // A standby that receives from nobody comes to the very same position.
        primary.start(Mode::Standby).await;
        let idle = "select coalesce(bool_or(wait_event = 'RecoveryRetrieveRetryInterval' or \
                    wait_event = 'RecoveryWalStream'), false) \
                    from pg_stat_activity where backend_type = 'startup'";
        primary.until("idle", idle).await;
        let replayed = primary.sql("select pg_last_wal_replay_lsn()").await;
        assert_eq!(end.lsn.to_string(), replayed, "after {statement}");
        primary.crash();
        assert_eq!(found(&primary).await, end, "after {statement}, once more");
        primary.start(Mode::ReadWrite).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_end_of_a_promoted_server_is_on_its_new_timeline() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut standby = rig.standby("db-2", &primary).await;
    primary.run("create table t (n int)").await;
    standby.until_caught_up(&primary).await;
    let promoted = standby.promote(3).await;
    standby.run("insert into t values (1)").await;
    let flushed = Lsn::parse(&standby.sql("select pg_current_wal_flush_lsn()").await).unwrap();
    standby.crash();
    let end = found(&standby).await;
    assert_eq!(end.timeline, promoted.timeline);
    assert!(end.lsn >= flushed && end.lsn > promoted.began);
    primary.crash();
    assert_eq!(found(&primary).await.timeline, Timeline(1));
}
