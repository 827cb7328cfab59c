//! Copies of a running server, and old primaries that are rewound.

use super::rig::{Instance, LONG, Rig};
use pgherd_agent::postgres::clone::{self, CloneError, Copy, OldFolder, Progress, Tablespaces};
use pgherd_agent::postgres::control::{self, State};
use pgherd_agent::postgres::folder::{self, Folder};
use pgherd_agent::postgres::lost_and_found::Kept;
use pgherd_agent::postgres::promote;
use pgherd_agent::postgres::rewind::{self, Rewind, RewindError};
use pgherd_agent::postgres::server::{Mode, Stop};
use pgherd_agent::process::tree::Reaper;
use pgherd_core::units::{SystemId, Timeline, WalPosition};
use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

pub(super) const COPY: Copy<'_> = Copy {
    system_id: None,
    slot: None,
    old: OldFolder::Keep,
    tablespaces: Tablespaces::Kept,
    within: LONG,
};

#[tokio::test(flavor = "current_thread")]
async fn a_copy_is_whole_and_reports_its_progress() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    primary.run("create table t as select generate_series(1, 100000) n").await;
    primary.run("select pg_create_physical_replication_slot('_cnpg_db_2', true)").await;
    let mut copy = rig.instance("db-2");
    copy.settings.receive = primary.upstream();
    let mut seen: Vec<Progress> = Vec::new();
    let system_id = control::read_file(&primary.site.data).unwrap().system_id;
    let order = Copy { system_id: Some(system_id), slot: Some("_cnpg_db_2"), ..COPY };
    clone::clone(&copy.site, &copy.settings, order, &mut |now| seen.push(now)).await.unwrap();
    let last = seen.last().unwrap();
    assert!(last.copied >= last.total && last.total.0 > 20 << 20, "{last:?}");
    copy.start(Mode::Standby).await;
    copy.until_streams_from(&primary).await;
    copy.until_caught_up(&primary).await;
    assert_eq!(copy.sql("select count(*) from t").await, "100000");
}

#[tokio::test(flavor = "current_thread")]
async fn a_failed_copy_leaves_the_old_folder_and_nothing_else() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let mut copy = rig.stopped("db-2").await;
    copy.settings.receive = primary.upstream();
    let before = control::read_file(&copy.site.data).unwrap();
    let order = Copy { system_id: Some(SystemId(1)), ..COPY };
    let error = clone::clone(&copy.site, &copy.settings, order, &mut |_| ()).await.unwrap_err();
    assert!(matches!(error, CloneError::MatchSystem { .. }), "{error}");
    assert_eq!(control::read_file(&copy.site.data).unwrap(), before);
    assert!(!copy.site.staging().exists());

    primary.crash();
    let error = clone::clone(&copy.site, &copy.settings, COPY, &mut |_| ()).await.unwrap_err();
    assert!(matches!(error, CloneError::Copy { .. }), "{error}");
    assert_eq!(control::read_file(&copy.site.data).unwrap(), before);
    assert!(!copy.site.staging().exists());
}

/// An old primary with log that its successor never saw, and that successor on timeline 4.
async fn diverged(rig: &Rig) -> (Instance, Instance) {
    let first = rig.primary("db-1").await;
    let mut second = rig.standby("db-2", &first).await;
    first.run("create table t as select generate_series(1, 1000) n").await;
    second.until_caught_up(&first).await;
    second.seal().await;
    first.run("insert into t select generate_series(1, 100000); update t set n = -1").await;
    second.promote(4).await;
    second.run("insert into t values (4242)").await;
    promote::checkpoint(second.acting(), LONG).await.unwrap();
    (first, second)
}

fn order(second: &Instance) -> Rewind {
    let history =
        pgherd_agent::postgres::wal::history::read(&second.site.data, Timeline(4)).unwrap();
    let fork = WalPosition { timeline: Timeline(1), lsn: history.unwrap().begins().unwrap() };
    Rewind { fork, replay_within: LONG, rewind_within: LONG }
}

async fn rewinds(first: &mut Instance, second: &Instance) {
    first.settings.receive = second.upstream();
    let rewind = order(second);
    let kept = rewind::rewind(&first.site, &first.settings, rewind).await.unwrap();
    let Kept::In(kept) = kept else { panic!("{kept:?}") };
    assert!(std::fs::read_dir(kept).unwrap().count() >= 1);
    assert!(!first.site.rewind_marker().exists());
    assert_eq!(std::fs::read_dir(first.site.data.join("pg_replslot")).unwrap().count(), 0);
    first.start(Mode::Standby).await;
    first.until_streams_from(second).await;
    first.until_caught_up(second).await;
    let sum = "select count(*) || ' ' || sum(n) from t";
    assert_eq!(first.sql(sum).await, second.sql(sum).await);
    first.run("select count(*) from t").await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_old_primary_that_crashed_is_rewound() {
    let rig = Rig::new();
    let (mut first, second) = diverged(&rig).await;
    second.run("select pg_create_physical_replication_slot('_cnpg_db_1', true)").await;
    first.crash();
    rewinds(&mut first, &second).await;
}

#[tokio::test(flavor = "current_thread")]
async fn an_old_primary_that_stopped_is_rewound() {
    let rig = Rig::new();
    let (mut first, second) = diverged(&rig).await;
    first.running().stop(&first.site, Stop::Fast, LONG).await.unwrap();
    let state = control::read_file(&first.site.data).unwrap().state;
    assert_eq!(state, State::ShutDown);
    rewinds(&mut first, &second).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_rewind_that_loses_its_source_leaves_a_marker() {
    let rig = Rig::new();
    let (mut first, second) = diverged(&rig).await;
    folder::claim(&first.site, &first.settings.instance).unwrap();
    first.crash();
    let rewind = order(&second);
    first.settings.receive = second.upstream();
    second.crash();
    let error = rewind::rewind(&first.site, &first.settings, rewind).await.unwrap_err();
    assert!(matches!(error, RewindError::Rewind { .. }), "{error}");
    let seen = folder::inspect(&first.site, &first.settings.instance, &BTreeSet::new()).await;
    let Folder::Ours(ours) = seen.unwrap() else { panic!("not ours") };
    assert_eq!(ours.rewind, folder::Rewind::Unfinished);
}

/// As when the agent is killed while the rewound folder still lacks what the source wrote meanwhile.
#[tokio::test(flavor = "current_thread")]
async fn a_rewind_that_was_broken_off_is_finished() {
    let rig = Rig::new();
    let (mut first, mut second) = diverged(&rig).await;
    first.crash();
    first.settings.receive = second.upstream();
    let rewind = order(&second);
    {
        let mut beginning = pin!(rewind::rewind(&first.site, &first.settings, rewind));
        let marker = first.site.rewind_marker();
        let is_copied = || std::fs::read(&marker).is_ok_and(|content| !content.is_empty());
        let mut look = tokio::time::interval(Duration::from_micros(200));
        loop {
            tokio::select! {
                biased;
                _ = look.tick() => if is_copied() { break },
                ended = &mut beginning => panic!("it was not broken off: {ended:?}"),
            }
        }
    }
    // What was being started when it was broken off may show itself only now.
    let mut quiet = 0;
    while quiet < 3 {
        let dead = Reaper::new(&first.site.data).unwrap().kill(None, LONG).unwrap();
        quiet = if dead.killed == 0 { quiet + 1 } else { 0 };
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(control::read_file(&first.site.data).unwrap().state, State::ShutDown);
    second.run("insert into t values (4243); checkpoint").await;
    // And the source has changed its timeline by then.
    second.running().stop(&second.site, Stop::Fast, LONG).await.unwrap();
    second.start(Mode::Standby).await;
    second.promote(6).await;
    let kept = rewind::rewind(&first.site, &first.settings, rewind).await.unwrap();
    assert_eq!(kept, Kept::Nothing);
    assert!(!first.site.rewind_marker().exists());
    first.start(Mode::Standby).await;
    first.until_streams_from(&second).await;
    first.until_caught_up(&second).await;
    let sum = "select count(*) || ' ' || sum(n) from t";
    assert_eq!(first.sql(sum).await, second.sql(sum).await);
}

/// Run a second time, pg_rewind refuses; the folder is copied anew then.
#[tokio::test(flavor = "current_thread")]
async fn a_rewind_that_died_unseen_at_its_end_is_refused_and_not_waited_for() {
    let rig = Rig::new();
    let (mut first, second) = diverged(&rig).await;
    first.crash();
    first.settings.receive = second.upstream();
    let rewind = order(&second);
    rewind::rewind(&first.site, &first.settings, rewind).await.unwrap();
    first.start(Mode::Standby).await;
    first.crash();
    std::fs::write(first.site.rewind_marker(), "").unwrap();
    let error = rewind::rewind(&first.site, &first.settings, rewind).await.unwrap_err();
    assert!(matches!(error, RewindError::Rewind { .. }), "{error}");
    assert!(first.site.rewind_marker().exists());
}
