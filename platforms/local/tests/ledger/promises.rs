//! What the ledger says is true, and what is wrong it finds.
//!
//! Never judges by anything but what a client could see.

use super::server::Server;
use pgherd_local::ledger::{Address, Ledger, LedgerError, Settings, Watch};
use std::path::Path;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_mins(1);
const QUIET: Duration = Duration::from_millis(900);

fn settings(server: &Server, others: &str, authority: &Path) -> Settings {
    let address = Address::parse(&server.uri(others, authority)).unwrap();
    Settings::new(address, server.path("book"))
}

async fn start(server: &Server) -> Ledger {
    Ledger::start(settings(server, "", &server.authority()), WITHIN).await.unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let until = Instant::now() + WITHIN;
    while !condition() {
        assert!(Instant::now() < until, "waited too long");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_the_gap_is_measured() {
    let mut server = Server::start("fsync = on");
    // A host where nobody listens comes first: it is passed over, again and again.
    let settings = settings(&server, "127.0.0.1:1,", &server.authority());
    let ledger = Ledger::start(settings, WITHIN).await.unwrap();
    until(|| ledger.counts().acknowledged > 100).await;
    let begun = Instant::now();
    let server = tokio::task::spawn_blocking(move || {
        server.crash();
        server
    });
    let server = server.await.unwrap();
    let back = Instant::now();
    ledger.settle(back, QUIET, WITHIN).await.unwrap();
    let gap = ledger.longest_gap(begun);
    assert!(gap.from < back && gap.to <= Instant::now(), "{gap:?} {begun:?} {back:?}");
    assert!(gap.length() <= ledger.unluckiest_gap(begun).length());
    let stopped = ledger.stop().await.unwrap();
    let findings = stopped.verify(WITHIN).await.unwrap();
    assert!(findings.is_flawless(), "{findings}");
    assert_eq!(findings.acknowledged, stopped.counts().acknowledged);
    let rows: u64 = server.sql("select count(*) from pgherd_ledger").parse().unwrap();
    assert_eq!(rows, findings.acknowledged + findings.unknown_there);
    let seconds: u64 = stopped.rhythm().per_second().map(u64::from).sum();
    assert_eq!(seconds, findings.acknowledged);
}

#[tokio::test]
async fn rows_that_vanish_or_appear_are_found() {
    let server = Server::start("fsync = off");
    let ledger = start(&server).await;
    until(|| ledger.counts().acknowledged > 50).await;
    let stopped = ledger.stop().await.unwrap();
    assert!(stopped.verify(WITHIN).await.unwrap().is_flawless());
    server.sql("delete from pgherd_ledger where number in (0, 1)");
    server.sql("insert into pgherd_ledger select run, 2 from pgherd_ledger limit 1");
    server.sql("insert into pgherd_ledger select run, -1 from pgherd_ledger limit 1");
    // Another run's rows are none of ours.
    server.sql("insert into pgherd_ledger values (1, 1)");
    let findings = stopped.verify(WITHIN).await.unwrap();
    let found = [&findings.lost, &findings.repeated, &findings.foreign].map(|n| n.first.clone());
    assert_eq!(found, [vec![0, 1], vec![2], vec![u64::MAX]]);
    assert!(!findings.is_consistent());
}

#[tokio::test]
async fn a_commit_that_no_standby_has_is_not_acknowledged() {
    let server = Server::start("fsync = off");
    let ledger = start(&server).await;
    until(|| ledger.counts().acknowledged > 10).await;
    server.set("synchronous_standby_names = 'nobody'");
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    // All four writers: a backend that has not reloaded yet still acknowledges.
    until(|| server.sql(waits) == "4").await;
    let before = ledger.counts();
    // A cancelled wait is answered like a commit, after a warning.
    server.sql("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'");
    until(|| ledger.counts().unknown > before.unknown).await;
    // So is one that is given up: nobody may be told.
    let given_up = ledger.counts();
    until(|| ledger.counts().unknown > given_up.unknown).await;
    assert_eq!(ledger.counts().acknowledged, before.acknowledged);
    server.set("synchronous_standby_names = ''");
    ledger.settle(Instant::now(), QUIET, WITHIN).await.unwrap();
    let stopped = ledger.stop().await.unwrap();
    let findings = stopped.verify(WITHIN).await.unwrap();
    assert!(findings.is_flawless() && findings.unknown_there > 0, "{findings}");
}

#[tokio::test]
async fn a_server_that_only_reads_is_not_used() {
    let server = Server::start("default_transaction_read_only = on");
    let short = Duration::from_secs(2);
    let refused = Ledger::start(settings(&server, "", &server.authority()), short).await;
    assert!(matches!(refused, Err(LedgerError::Find { .. })));
}

#[tokio::test]
async fn a_server_that_proves_nothing_is_not_used() {
    let server = Server::start("");
    if !server.encrypts() {
        // Who cannot show a certificate is not asked for one: the address says so.
        return;
    }
    let short = Duration::from_secs(2);
    let stranger = server.path("stranger.crt");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&stranger, other.cert.pem()).unwrap();
    let refused = Ledger::start(settings(&server, "", &stranger), short).await;
    assert!(matches!(refused, Err(LedgerError::Find { .. })));
}

#[tokio::test]
async fn a_reign_is_watched_from_answer_to_answer() {
    let mut server = Server::start("fsync = off");
    let address = Address::parse(&server.uri("127.0.0.1:1,", &server.authority())).unwrap();
    let watch = Watch::start(&address, Duration::from_millis(10)).unwrap();
    until(|| watch.reigns().first().is_some_and(|reign| reign.to > reign.from)).await;
    let server = tokio::task::spawn_blocking(move || {
        server.crash();
        server
    });
    let _server = server.await.unwrap();
    until(|| watch.reigns().len() == 2).await;
    let reigns = watch.reigns();
    assert!(reigns[0].to < reigns[1].from, "{reigns:?}");
    let all: Vec<(usize, u32)> = reigns.iter().map(|reign| (reign.host, reign.timeline)).collect();
    assert_eq!(all, [(1, 1), (1, 1)]);
}
