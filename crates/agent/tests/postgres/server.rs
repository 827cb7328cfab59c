//! Starting, stopping and reloading a server.

use super::rig::{LONG, Rig};
use pgherd_agent::postgres::control::State;
use pgherd_agent::postgres::server::{self, Exit, Mode, ServerError, Stop};
use rustix::process::Signal;
use std::time::Instant;

#[tokio::test(flavor = "current_thread")]
async fn it_comes_up_as_told_and_stops_cleanly() {
    let rig = Rig::new();
    let mut instance = rig.stopped("db-1").await;
    instance.start(Mode::Standby).await;
    assert_eq!(instance.sql("select pg_is_in_recovery()").await, "t");
    instance.running().stop(&instance.site, Stop::Fast, LONG).await.unwrap();
    instance.start(Mode::ReadWrite).await;
    assert_eq!(instance.sql("select pg_is_in_recovery()").await, "f");
    assert!(!instance.site.data.join("standby.signal").exists());

    let postmaster = instance.running();
    postmaster.request_stop(Stop::Fast).unwrap();
    let control = postmaster.shut_down(&instance.site, LONG).await.unwrap();
    assert_eq!(control.state, State::ShutDown);
    let dead = postmaster.stop(&instance.site, Stop::Fast, LONG).await.unwrap();
    assert_eq!(dead.killed, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn a_second_server_is_refused_and_a_killed_one_leaves_no_lock() {
    let rig = Rig::new();
    let mut instance = rig.primary("db-1").await;
    let error = server::start(&instance.site, Mode::ReadWrite).await.unwrap_err();
    assert!(matches!(error, ServerError::FindNoProcess { .. }), "{error}");

    let pid = instance.running().pid();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert!(matches!(instance.running().ended().await, Exit::Status(_)));
    server::sweep(&instance.site, LONG).await.unwrap();
    // The old id now belongs to somebody who lives: PostgreSQL alone would refuse to start.
    let file = instance.site.data.join("postmaster.pid");
    let left = std::fs::read_to_string(&file).unwrap();
    let own = std::process::id().to_string();
    std::fs::write(&file, left.replacen(&pid.as_raw_pid().to_string(), &own, 1)).unwrap();
    instance.start(Mode::ReadWrite).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_does_not_come_up_says_why() {
    let rig = Rig::new();
    let instance = rig.stopped("db-1").await;
    instance.configure();
    let broken = "shared_preload_libraries = no_such_library";
    std::fs::write(instance.site.data.join("postgresql.conf"), broken).unwrap();
    let postmaster = server::start(&instance.site, Mode::ReadWrite).await.unwrap();
    let error = postmaster.ready(&instance.site, LONG).await.unwrap_err();
    assert!(error.to_string().contains("no_such_library"), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_reload_takes_effect_and_restarts_are_announced() {
    let rig = Rig::new();
    let mut instance = rig.primary("db-1").await;
    instance.set(&[("work_mem", "9MB"), ("max_connections", "150")]).await;
    assert_eq!(instance.configure(), ["pgherd.user.conf"]);
    assert_eq!(instance.configure(), [""; 0]);
    instance.running().reload().unwrap();
    instance.until("reloaded", "select current_setting('work_mem') = '9MB'").await;
    let pending = "select string_agg(name, ' ') from pg_settings where pending_restart";
    assert_eq!(instance.sql(pending).await, "max_connections");
}

#[tokio::test(flavor = "current_thread")]
async fn the_log_is_kept_within_its_bound() {
    let rig = Rig::new();
    let instance = rig.primary("db-1").await;
    instance.run("do $$ begin for n in 1..200 loop raise log 'line %', n; end loop; end $$").await;
    server::bound_log(&instance.site, 1000).unwrap();
    let length = std::fs::metadata(instance.site.log()).unwrap().len();
    assert_eq!(length, 0);
    instance.run("do $$ begin raise log 'after'; end $$").await;
    assert!(server::log_tail(&instance.site).contains("after"));
    let older = std::fs::read_to_string(instance.site.base.join("postgres.log.1")).unwrap();
    assert!(older.contains("line 200"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_start_is_quick() {
    let rig = Rig::new();
    let began = Instant::now();
    let _instance = rig.primary("db-1").await;
    println!("copied and started in {:?}", began.elapsed());
}
