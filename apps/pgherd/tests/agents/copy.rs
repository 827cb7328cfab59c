//! A cluster that begins as a copy of another one.
//!
//! Never looks inside an agent: only at its status and its PostgreSQL.

use super::cluster::{ASYNCHRONOUS, Cluster};

#[tokio::test]
async fn a_copy_waits_for_its_source_and_then_lives_on_its_own() {
    let mut source = Cluster::start(1, ASYNCHRONOUS).await;
    source.whole(1).await;
    source.sql("create table t (n int primary key)").await.unwrap();
    source.sql("insert into t select generate_series(1, 1000)").await.unwrap();
    source.kill(1);

    let mut copy = Cluster::copy_of(&source, 3).await;
    let mut told = String::new();
    copy.wait("the reason why there is no copy", |found| {
        let failure = found.get(&1).and_then(|status| status.failure.as_ref());
        told = failure.map(|failure| failure.why.clone()).unwrap_or_default();
        !told.is_empty()
    })
    .await;
    for part in ["copying external cluster origin", "refused", "correct the entry"] {
        assert!(told.contains(part), "{part} is missing: {told}");
    }

    source.run(1);
    let first = copy.whole(3).await;
    assert_eq!(first, 1);
    let status = copy.status(first).await.unwrap();
    assert_eq!(status.failure, None);
    assert_eq!(copy.sql("select count(*) from t").await.unwrap(), "1000");
    copy.sql("insert into t values (1001)").await.unwrap();
    // The source made timeline 2 when it was made, and 3 when it came back; the copy made one of
    // its own, and was then opened on another one.
    let record = copy.keeper.record().unwrap();
    assert_eq!((record.epoch.0, record.timeline.0), (1, 5));
    assert_eq!(record.system_id, source.keeper.record().unwrap().system_id);

    copy.kill(first);
    copy.whole(2).await;
    copy.run(first);
    copy.whole(3).await;
    assert_eq!(copy.sql("select count(*) from t").await.unwrap(), "1001");
    source.whole(1).await;
    assert_eq!(source.sql("select count(*) from t").await.unwrap(), "1000");
}
