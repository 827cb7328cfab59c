//! A server that died between the first segment of its new timeline and the history of that.

use super::rig::{Instance, LONG, Rig};
use pgherd_agent::postgres::control;
use pgherd_agent::postgres::server::Mode;
use pgherd_agent::postgres::wal::end::{self, EndError};
use pgherd_agent::postgres::wal::{self, Segment, unbegun};
use pgherd_core::units::{Bytes, Timeline, WalPosition};

const SEGMENT: Bytes = Bytes(1 << 20);
const NEW: Timeline = Timeline(3);

async fn end_of(instance: &Instance) -> Result<WalPosition, EndError> {
    let control = control::read_file(&instance.site.data).unwrap();
    end::find(&instance.site, &control, LONG).await
}

/// A standby that is sealed and dead, with `last` as what its primary did last.
async fn dead_standby(rig: &Rig, last: &str) -> (Instance, WalPosition) {
    let first = rig.primary("db-1").await;
    let mut second = rig.standby("db-2", &first).await;
    first.run("create table t as select generate_series(1, 1000) n; select pg_switch_wal()").await;
    first.run("insert into t select generate_series(1, 5000)").await;
    first.run(last).await;
    second.until_caught_up(&first).await;
    first.crash();
    second.seal().await;
    second.crash();
    let end = end_of(&second).await.unwrap();
    (second, end)
}

fn page() -> usize {
    usize::try_from(wal::PAGE).unwrap()
}

/// Makes the segment that PostgreSQL begins a timeline with: a copy up to the end of the log, whose
/// last page is repeated.
fn prepare(standby: &Instance, end: WalPosition) -> Segment {
    let old = Segment::holding(end.timeline, end.lsn, SEGMENT);
    let new = Segment::holding(NEW, end.lsn, SEGMENT);
    let shared = usize::try_from(end.lsn.0 - new.begins(SEGMENT).0).unwrap();
    let mut content = vec![0; usize::try_from(SEGMENT.0).unwrap()];
    if shared > 0 {
        let copied = std::fs::read(wal::folder(&standby.site.data).join(old.to_string())).unwrap();
        content[..shared].copy_from_slice(&copied[..shared]);
        let next = shared.next_multiple_of(page());
        let last = content[next - page()..next].to_vec();
        content[next..].chunks_exact_mut(page()).for_each(|page| page.copy_from_slice(&last));
    }
    standby.place(&new.to_string(), &content);
    new
}

#[tokio::test(flavor = "current_thread")]
async fn it_comes_up_and_is_promoted_to_that_very_timeline() {
    for last in ["select 1", "select pg_switch_wal()"] {
        let rig = Rig::new();
        let (mut standby, end) = dead_standby(&rig, last).await;
        let segment = prepare(&standby, end);
        let path = wal::folder(&standby.site.data).join(segment.to_string());
        let unknown = end_of(&standby).await.unwrap_err();
        assert!(matches!(unknown, EndError::FindHistory { timeline: NEW }), "{unknown}");
        unbegun::remove(&standby.site.data).unwrap();
        assert!(!path.exists());
        assert_eq!(end_of(&standby).await.unwrap(), end, "after {last}");

        prepare(&standby, end);
        standby.start(Mode::Standby).await;
        assert!(!path.exists());
        assert_eq!(wal::highest_timeline(&standby.site.data).unwrap(), end.timeline);
        assert_eq!(standby.promote(NEW.0).await.began, end.lsn, "after {last}");
        assert_eq!(standby.sql("select count(*) from t").await, "6000");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn log_of_a_timeline_that_lost_its_history_is_kept() {
    let rig = Rig::new();
    let (standby, end) = dead_standby(&rig, "select 1").await;
    let segment = prepare(&standby, end);
    let path = wal::folder(&standby.site.data).join(segment.to_string());
    let unwritten = std::fs::read(&path).unwrap();
    let at = usize::try_from(end.lsn.0 - segment.begins(SEGMENT).0).unwrap();
    let next = at.next_multiple_of(page());
    let position = segment.begins(SEGMENT).0 + next as u64;
    for (at, bytes) in [(at, &[1][..]), (next + 8, &position.to_ne_bytes())] {
        let mut written = unwritten.clone();
        written[at..at + bytes.len()].copy_from_slice(bytes);
        std::fs::write(&path, &written).unwrap();
        unbegun::remove(&standby.site.data).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), written);
        assert!(end_of(&standby).await.is_err());
    }

    // As is an empty segment of a timeline that is known.
    prepare(&standby, end);
    let fork = format!("{}\t{}\tno reason\n", end.timeline, end.lsn);
    standby.place("00000003.history", fork.as_bytes());
    unbegun::remove(&standby.site.data).unwrap();
    assert_eq!(end_of(&standby).await.unwrap(), WalPosition { timeline: NEW, lsn: end.lsn });
}
