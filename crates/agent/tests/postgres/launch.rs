//! A server that dies with its agent.

use super::rig::{LONG, Rig};
use pgherd_agent::postgres::server::{self, Mode, ServerError};
use pgherd_agent::process::launch::{self, Launcher};
use pgherd_agent::process::tree::Reaper;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

/// Comes before the arguments that are meant for [`becomes_a_bound_server`].
const BOUND_TO: &str = "--bound-to";

/// Not a test of its own: what a copy of this program does in place of an agent's command.
#[test]
fn becomes_a_bound_server() {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != BOUND_TO).skip(1);
    let Some(parent) = arguments.next() else { return };
    let parent = parent.to_string_lossy().parse().unwrap();
    let program = arguments.next().unwrap();
    panic!("{}", launch::become_bound(parent, program, arguments.collect()));
}

#[tokio::test(flavor = "current_thread")]
async fn a_bound_server_dies_with_the_thread_that_started_it() {
    let rig = Rig::new();
    let mut instance = rig.stopped("db-1").await;
    instance.configure();
    // Where PostgreSQL's user can read it. By a process of its own: what a child of another test has
    // open for writing cannot be run.
    let program = rig.path().join("agent");
    let mut copy = std::process::Command::new("cp");
    copy.arg(std::env::current_exe().unwrap()).arg(&program);
    assert!(copy.status().unwrap().success());
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let own = std::process::id().to_string();
    let test = "postgres::launch::becomes_a_bound_server";
    let arguments = [test, "--exact", "--nocapture", "--", BOUND_TO, &own].map(OsString::from);
    instance.site.launcher =
        Some(Launcher { program: program.into(), arguments: arguments.into() });

    let site = instance.site.clone();
    let agent = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let postmaster = server::start(&site, Mode::Standby).await?;
            postmaster.ready(&site, LONG).await
        })
    });
    let started: Result<(), ServerError> = agent.join().unwrap();
    started.unwrap();
    let mut reaper = Reaper::new(&instance.site.data).unwrap();
    let began = Instant::now();
    while reaper.count().unwrap() > 0 {
        assert!(began.elapsed() < LONG, "it outlived its agent");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("gone {:?} after its agent", began.elapsed());
    reaper.reap_strays().unwrap();
}
