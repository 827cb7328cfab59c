//! Killing a whole PostgreSQL.

use super::rig::{Instance, LONG, Rig};
use pgherd_agent::postgres::folder;
use pgherd_agent::postgres::server::{Mode, Postmaster};
use pgherd_agent::postgres::session::Session;
use pgherd_agent::process::tool::Tool;
use pgherd_agent::process::tree::Reaper;
use rustix::process::Signal;
use std::time::{Duration, Instant};

async fn connections(instance: &Instance, count: usize) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(instance.session().await);
    }
    sessions
}

#[tokio::test(flavor = "current_thread")]
async fn three_hundred_connections_die_with_their_server() {
    let rig = Rig::new();
    let mut instance = rig.stopped("db-1").await;
    instance.set(&[("max_connections", "320")]).await;
    instance.start(Mode::ReadWrite).await;
    let sessions = connections(&instance, 300).await;
    let mut reaper = Reaper::new(&instance.site.data).unwrap();
    let pid = instance.running().pid();
    let dead = reaper.kill(Some(pid), LONG).unwrap();
    println!("killed {} in {:?}", dead.killed, dead.took);
    assert!(dead.killed > 300);
    assert_eq!(reaper.count().unwrap(), 0);
    drop(sessions);
    instance.start(Mode::ReadWrite).await;
}

#[tokio::test(flavor = "current_thread")]
async fn orphans_of_a_killed_postmaster_are_found_and_reaped() {
    let rig = Rig::new();
    let mut instance = rig.primary("db-1").await;
    instance.run("create table t (n int)").await;
    instance
        .run(
            "create procedure spin() language plpgsql as $$ declare n int := 0; begin \
             loop n := n + 1; insert into t values (n); commit; end loop; end $$",
        )
        .await;
    let mut spinning = instance.session().await;
    // The client goes away; the procedure does not notice.
    let _unanswered = spinning.run("call spin()", Duration::from_millis(200)).await;
    let pid = instance.running().pid();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    instance.running().ended().await;
    let size = || {
        let wal = std::fs::read_dir(instance.site.data.join("pg_wal")).unwrap();
        wal.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap()).max()
    };
    let at_death = size();
    let began = Instant::now();
    while size() == at_death && began.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_ne!(size(), at_death, "the orphan goes on writing");

    let mut reaper = Reaper::new(&instance.site.data).unwrap();
    assert!(reaper.count().unwrap() >= 1);
    let dead = reaper.kill(Some(pid), LONG).unwrap();
    println!("killed {} orphans in {:?}", dead.killed, dead.took);
    assert!(dead.killed >= 1);
    assert_eq!(reaper.count().unwrap(), 0);
    drop(spinning);
    instance.start(Mode::ReadWrite).await;
}

#[tokio::test(flavor = "current_thread")]
async fn children_of_the_server_die_with_it_and_a_shell_in_its_folder_does_not() {
    let rig = Rig::new();
    let mut instance = rig.stopped("db-1").await;
    let started = rig.path().join("started");
    let archive = format!("echo $$ > {0}.new && mv {0}.new {0} && sleep 100", started.display());
    instance.settings.archive.command = Some(archive);
    instance.start(Mode::ReadWrite).await;
    instance.run("create table t as select 1; select pg_switch_wal()").await;
    let began = Instant::now();
    while !started.exists() && began.elapsed() < LONG {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let archiving = std::fs::read_to_string(&started).unwrap();
    let mut shell = std::process::Command::new("sleep")
        .arg("100")
        .current_dir(&instance.site.data)
        .spawn()
        .unwrap();
    let mut reaper = Reaper::new(&instance.site.data).unwrap();
    reaper.kill(instance.postmaster.as_ref().map(Postmaster::pid), LONG).unwrap();
    assert!(!std::path::Path::new("/proc").join(archiving.trim()).exists());
    assert!(shell.try_wait().unwrap().is_none());
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn a_stopped_strangers_id_is_not_touched() {
    let rig = Rig::new();
    let instance = rig.stopped("db-1").await;
    let mut stranger = std::process::Command::new("sh")
        // A grandchild is no child of ours.
        .args(["-c", "sleep 100 & echo $!; wait"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = stranger.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let id = rustix::process::Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    let dead = Reaper::new(&instance.site.data).unwrap().kill(Some(id), LONG);
    let alive = rustix::process::test_kill_process(id).is_ok();
    rustix::process::kill_process(id, Signal::KILL).unwrap();
    stranger.wait().unwrap();
    assert!(alive);
    assert_eq!(dead.unwrap().killed, 0);
}

#[tokio::test(flavor = "current_thread")]
async fn backends_that_end_by_themselves_are_reaped() {
    let rig = Rig::new();
    let instance = rig.primary("db-1").await;
    let postmaster = instance.running().pid().as_raw_pid();
    let children = format!("/proc/{postmaster}/task/{postmaster}/children");
    let children = std::fs::read_to_string(children).unwrap();
    rustix::process::kill_process(instance.running().pid(), Signal::KILL).unwrap();
    instance.running().ended().await;
    let mut reaper = Reaper::new(&instance.site.data).unwrap();
    let began = Instant::now();
    let left = |id: &&str| std::path::Path::new("/proc").join(id).exists();
    while let Some(id) = children.split_whitespace().find(left) {
        assert!(began.elapsed() < LONG, "process {id} is still there");
        reaper.reap_strays().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As when the agent is killed while it copies: the copy must not go on beside the next attempt.
#[tokio::test(flavor = "current_thread")]
async fn a_tool_that_outlived_its_agent_is_found_in_the_folder_it_writes_to() {
    let rig = Rig::new();
    let primary = rig.primary("db-1").await;
    let copy = rig.instance("db-2");
    let staging = folder::begin_staging(&copy.site).unwrap();
    let sockets = primary.site.sockets.display();
    let tool = Tool::new(copy.site.installation.tool("pg_basebackup"))
        .argument("--pgdata")
        .argument(&staging)
        .argument("--dbname")
        .argument(format!("host={sockets} port={} user=postgres", primary.site.port))
        .argument("--max-rate=32k")
        .argument("--checkpoint=fast")
        .working_in(&staging)
        .run_as(copy.site.owner);
    let mut reaper = Reaper::new(&staging).unwrap();
    let mut copying = Box::pin(tool.run(LONG));
    let began = Instant::now();
    // It receives the log in a process of its own.
    while reaper.count().unwrap() < 2 {
        assert!(began.elapsed() < LONG, "it did not begin to copy");
        tokio::select! {
            ended = &mut copying => panic!("it ended: {ended:?}"),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    // A killed agent ends nothing.
    std::mem::forget(copying);
    assert_eq!(reaper.kill(None, LONG).unwrap().killed, 2);
    assert_eq!(reaper.count().unwrap(), 0);
}
