//! The log of a server whose agent passes it on.

use super::rig::{Instance, LONG, Rig};
use pgherd_agent::log::follow::Follower;
use pgherd_agent::postgres::config::Profile;
use pgherd_agent::postgres::said::{Record, Said};
use pgherd_agent::postgres::server::{self, Mode, Stop};
use rustix::process::Signal;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const MOST: u64 = 16 << 20;

async fn stopped(rig: &Rig) -> Instance {
    let mut instance = rig.stopped("db-1").await;
    instance.site.profile = Profile::Server;
    instance.settings.profile = Profile::Server;
    instance
}

fn text(said: &Said) -> &str {
    match said {
        Said::Record(record) => &record.message,
        Said::Line(line) => line,
    }
}

/// Reads until somebody has said it, and tells everything until then.
async fn until(follower: &mut Follower, words: &str) -> Vec<Said> {
    let began = Instant::now();
    let mut all = Vec::new();
    loop {
        all.extend(follower.look().unwrap().said);
        if all.iter().any(|said| text(said).contains(words)) {
            return all;
        }
        assert!(began.elapsed() < LONG, "nobody says {words:?}, but {all:#?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn record<'a>(all: &'a [Said], words: &str) -> &'a Record {
    let found = all.iter().find(|said| text(said).contains(words)).unwrap();
    match found {
        Said::Record(record) => record,
        Said::Line(line) => panic!("it is a line: {line:?}"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn everything_it_says_becomes_a_record() {
    let rig = Rig::new();
    let mut instance = stopped(&rig).await;
    // A user's prefix would make it unreadable.
    instance.set(&[("log_line_prefix", "mine "), ("log_checkpoints", "on")]).await;
    instance.start(Mode::ReadWrite).await;
    let mut follower = Follower::open(&instance.site.log(), MOST);
    let all = until(&mut follower, "ready to accept connections").await;
    let postmaster = record(&all, "starting PostgreSQL");
    assert_eq!(postmaster.process_id, instance.running().pid().as_raw_pid().to_string());
    assert_eq!((&*postmaster.backend_type, &*postmaster.user_name), ("postmaster", ""));
    assert!(postmaster.log_time.ends_with(" UTC"), "{postmaster:?}");

    let mut session = instance.session().await;
    session.run("select *\n\tfrom nowhere", LONG).await.unwrap_err();
    let all = until(&mut follower, "does not exist").await;
    let error = record(&all, "does not exist");
    assert_eq!(error.message, "relation \"nowhere\" does not exist");
    assert_eq!((&*error.error_severity, &*error.sql_state_code), ("ERROR", "42P01"));
    assert_eq!((&*error.query, &*error.query_pos), ("select *\n\tfrom nowhere", "16"));
    assert_eq!((&*error.user_name, &*error.database_name), ("postgres", "postgres"));
    assert_eq!((&*error.backend_type, &*error.connection_from), ("client backend", "[local]"));
    assert!(!error.session_id.is_empty() && !error.virtual_transaction_id.is_empty());

    let raise =
        "do $$ begin raise exception E'a:  b\\nc' using detail = 'd', hint = E'h\\ni'; end $$";
    session.run("set log_error_verbosity = 'verbose'", LONG).await.unwrap();
    session.run(raise, LONG).await.unwrap_err();
    let all = until(&mut follower, "a:  b").await;
    let error = record(&all, "a:  b");
    assert_eq!((&*error.message, &*error.detail, &*error.hint), ("a:  b\nc", "d", "h\ni"));
    assert!(error.context.starts_with("PL/pgSQL function"), "{error:?}");
    assert!(error.location.contains("exec_stmt_raise"), "{error:?}");
    assert_eq!(error.query, raise);

    instance.running().stop(&instance.site, Stop::Fast, LONG).await.unwrap();
    let all = until(&mut follower, "database system is shut down").await;
    let lines: Vec<_> = all.iter().filter(|said| matches!(said, Said::Line(_))).collect();
    assert!(lines.is_empty(), "{lines:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_server_says_that_does_not_come_up_is_read_too() {
    let rig = Rig::new();
    let instance = stopped(&rig).await;
    instance.configure();
    let mut follower = Follower::open(&instance.site.log(), MOST);
    for (words, broken) in [
        ("no_such_library", "shared_preload_libraries = no_such_library"),
        ("such_words", "such_words = are"),
    ] {
        std::fs::write(instance.site.data.join("postgresql.conf"), broken).unwrap();
        let postmaster = server::start(&instance.site, Mode::ReadWrite).await.unwrap();
        let error = postmaster.ready(&instance.site, LONG).await.unwrap_err().to_string();
        assert!(!error.contains(['\u{1e}', '\u{1f}']), "{error:?}");
        assert!(error.contains(words), "{error}");
        until(&mut follower, words).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn its_room_is_bounded_and_nothing_is_lost() {
    const SPARED: u64 = 64 << 10;
    let rig = Rig::new();
    let mut instance = stopped(&rig).await;
    instance.start(Mode::ReadWrite).await;
    let say =
        "do $$ begin for n in 1..4000 loop raise log 'line %', repeat('x', 100); end loop; end $$";
    instance.run(say).await;
    let path = instance.site.log();
    let before = std::fs::metadata(&path).unwrap();
    server::bound_log(&instance.site, SPARED).unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(after.len(), before.len());
    assert!(after.blocks() * 512 <= SPARED * 2, "{} blocks", after.blocks());

    let mut follower = Follower::open(&path, MOST);
    instance.run("do $$ begin raise log 'after'; end $$").await;
    until(&mut follower, "after").await;
    follower.remember().unwrap();
    // The agent is away, and PostgreSQL dies meanwhile.
    rustix::process::kill_process(instance.running().pid(), Signal::KILL).unwrap();
    instance.running().ended().await;
    server::sweep(&instance.site, LONG).await.unwrap();
    instance.start(Mode::ReadWrite).await;
    let mut next = Follower::open(&path, MOST);
    let all = until(&mut next, "database system was not properly shut down").await;
    assert!(!all.iter().any(|said| text(said).contains("xxx")), "it begins anew");
}
