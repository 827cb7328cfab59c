//! A standby whose primary died before it had sent the segment in which its timeline began.

use super::rig::{Instance, LONG, Rig};
use pgherd_agent::postgres::server::{self, Mode};
use pgherd_agent::postgres::wal::{self, Segment, fork, history};
use pgherd_core::units::{Bytes, Lsn, Timeline};
use std::time::{Duration, Instant};

const SEGMENT: Bytes = Bytes(1 << 20);

/// A standby of a dead primary that has all its log, and a segment of its successor's timeline of
/// which only the first `received` bytes have come.
async fn half_changed(rig: &Rig, received: Option<usize>) -> (Instance, Segment) {
    let first = rig.primary("db-1").await;
    let mut second = rig.standby("db-2", &first).await;
    let mut third = rig.standby("db-3", &first).await;
    first.run("create table t as select generate_series(1, 1000) n; select pg_switch_wal()").await;
    first.run("insert into t select generate_series(1, 5000)").await;
    second.until_caught_up(&first).await;
    third.until_caught_up(&first).await;
    first.crash();
    second.seal().await;
    third.seal().await;
    let began = second.promote(2).await.began;
    let segment = Segment::holding(Timeline(2), began, SEGMENT);
    let shared = usize::try_from(began.0 - segment.begins(SEGMENT).0).unwrap();
    assert!(shared > 100_000, "the change must be well inside of a segment, not at {began}");
    let whole = std::fs::read(wal::folder(&second.site.data).join(segment.to_string())).unwrap();
    let received = received.unwrap_or(shared).min(shared);
    let mut content = whole[..received].to_vec();
    content.resize(whole.len(), 0);
    third.place(&segment.to_string(), &content);
    let name = history::file_name(Timeline(2));
    let text = std::fs::read(wal::folder(&second.site.data).join(&name)).unwrap();
    third.place(&name, &text);
    (third, segment)
}

#[tokio::test(flavor = "current_thread")]
async fn it_starts_with_all_it_has() {
    for received in [0, 50_000] {
        let rig = Rig::new();
        let (mut standby, _) = half_changed(&rig, Some(received)).await;
        let replayed = standby.sql("select pg_last_wal_replay_lsn()").await;
        standby.crash();
        standby.start(Mode::Standby).await;
        standby.until("as far", &format!("select pg_last_wal_replay_lsn() >= '{replayed}'")).await;
        assert_eq!(standby.promote(3).await.timeline, Timeline(3));
        assert_eq!(standby.sql("select count(*) from t").await, "6000");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn it_is_promoted_with_all_it_has() {
    let rig = Rig::new();
    let (mut standby, _) = half_changed(&rig, Some(0)).await;
    let began = Instant::now();
    while !server::log_tail(&standby.site).contains("new target timeline is 2") {
        assert!(began.elapsed() < LONG, "{}", server::log_tail(&standby.site));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let promoted = standby.promote(3).await;
    assert_eq!(promoted.timeline, Timeline(3));
    assert_eq!(standby.sql("select count(*) from t").await, "6000");
    standby.run("insert into t values (1); checkpoint").await;
    assert_eq!(standby.ancestors(3), [1, 2]);
}

#[tokio::test(flavor = "current_thread")]
async fn what_can_be_read_is_left_alone() {
    let rig = Rig::new();
    let (standby, segment) = half_changed(&rig, None).await;
    let path = wal::folder(&standby.site.data).join(segment.to_string());
    let before = std::fs::read(&path).unwrap();
    assert_eq!(fork::complete(&standby.site, LONG).await.unwrap(), None);

    // The older file lacks something that the newer one has, as after a tail was fetched.
    let older = Segment::holding(Timeline(1), segment.begins(SEGMENT), SEGMENT);
    let older = wal::folder(&standby.site.data).join(older.to_string());
    let mut content = std::fs::read(&older).unwrap();
    content[50_000..].fill(0);
    std::fs::write(&older, &content).unwrap();
    assert_eq!(fork::complete(&standby.site, LONG).await.unwrap(), None);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    // Neither can be read: nothing is made worse.
    std::fs::write(&path, &content).unwrap();
    let mut shorter = content.clone();
    shorter[20_000..].fill(0);
    std::fs::write(&older, &shorter).unwrap();
    assert_eq!(fork::complete(&standby.site, LONG).await.unwrap(), None);
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert!(segment.begins(SEGMENT) > Lsn(0));
}
