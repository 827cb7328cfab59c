//! Backups of a PostgreSQL that build on each other while it is written to, restored and started.
//!
//! Never compares files: what counts is what PostgreSQL and its tools say of them.

use crate::base::folders::Target;
use crate::base::increments::{restored, take_on};
use crate::base::postgres::{Connection, Server, folder, program, succeeds};
use crate::base::real::{archive, filled, recovered};
use crate::servers::Server as Storage;
use pgherd_backup::restore::Into;
use pgherd_backup::restore::recovery::{self, Edge};
use pgherd_core::units::Lsn;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// All that is in it, as PostgreSQL's own tool writes it; unlogged rows are not in any backup.
pub(crate) fn dumped(port: u16) -> Vec<String> {
    let mut command = program("pg_dumpall");
    command.args(["--no-tablespaces", "--no-unlogged-table-data", "-h", "127.0.0.1"]);
    command.args(["-U", "postgres", "-p", &port.to_string()]);
    let said = String::from_utf8(succeeds(&mut command).stdout).unwrap();
    // Newer ones write a key that is another each time.
    said.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect()
}

pub(crate) fn assert_same(expected: &[String], found: &[String], what: u32) {
    let different = expected.iter().zip(found).find(|(one, other)| one != other);
    assert!(different.is_none(), "what came of backup {what} differs: {different:?}");
    assert_eq!(expected.len(), found.len(), "lines of backup {what}");
}

/// What makes life hard for whoever looks for changed pages, one kind after each backup.
async fn change(session: &Connection, round: u32) {
    let all: &[&str] = match round {
        0 => &[
            "update large set t = 'new' where n % 997 = 0",
            "create table later as select n, md5(n::text) from generate_series(1, 5000) n",
            "create index on large (n)",
        ],
        1 => &[
            "truncate later",
            "insert into later select n, 'again' from generate_series(1, 300) n",
            "delete from large where n > 15000",
            "vacuum large",
            "select count(t) from large",
        ],
        2 => &[
            "vacuum full large",
            "drop table later",
            "create database logged",
            "create database copied strategy file_copy",
            "alter table elsewhere set tablespace pg_default",
            "insert into elsewhere select generate_series(1, 50)",
        ],
        3 => &["drop database copied", "cluster large using large_n_idx", "analyze"],
        _ => &[],
    };
    for sql in all {
        session.sql(sql).await;
    }
}

/// Writes rows until it is told to stop.
async fn write(session: Connection, stop: Arc<AtomicBool>, first: u32) -> u32 {
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        session.sql(&format!("insert into ledger values ({next})")).await;
        session.sql(&format!("update large set t = t || 'x' where n = {}", next % 15000)).await;
        next += 1;
    }
    next
}

/// Taken while rows are written; says which row comes next, and how much is stored.
async fn taken(server: &Server, storage: &Storage, number: u32, next: u32) -> (u32, u64) {
    let stop = Arc::new(AtomicBool::new(false));
    let writing = write(server.connect().await, Arc::clone(&stop), next);
    let taking = async {
        let mut session = server.connect().await;
        let of = (number, number.checked_sub(1));
        let taken = take_on(&storage.store(), &mut session, of).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        taken
    };
    let (next, taken) = tokio::join!(writing, taking);
    assert_eq!(taken.unfit, None);
    assert_eq!((taken.bad_pages_in_all, taken.builds_on.is_some()), (0, number > 0));
    (next, taken.stored.0)
}

async fn recovered_from(
    storage: &Storage,
    number: u32,
    (archived, to): (&Path, recovery::Target),
) -> (Target, Server) {
    let target = Target::new();
    restored(&storage.store(), number, (&target, Into::Empty)).await.unwrap();
    let copy = recovered(&target, archived, to);
    copy.connect().await.until("select not pg_is_in_recovery()").await;
    (target, copy)
}

async fn each_of_a_chain_is_restored(storage: &Storage) {
    let base = folder();
    let server = filled(base.path()).await;
    let archived = base.path().join("archive");
    let session = server.connect().await;
    let (mut next, mut rows, mut between) = (1, Vec::new(), Vec::new());
    for number in 0..5 {
        (next, _) = taken(&server, storage, number, next).await;
        let lsn = session.sql("select pg_current_wal_lsn()").await;
        let count = session.sql("select count(*) from ledger").await;
        between.push((Lsn::parse(&lsn).unwrap(), count));
        rows.push(next);
        change(&session, number).await;
        session.sql("checkpoint").await;
    }
    archive(&session).await;
    let expected = dumped(server.port);
    for number in 0..5_u32 {
        // To where the log ends, all of it is as at the source.
        let latest = (archived.as_path(), recovery::Target::Latest);
        let (_target, copy) = recovered_from(storage, number, latest).await;
        assert_same(&expected, &dumped(copy.port), number);
        drop(copy);
        // To a moment between this one and the next.
        let (lsn, count) = &between[number as usize];
        let to = recovery::Target::Lsn(*lsn, Edge::Inclusive);
        let (_target, copy) = recovered_from(storage, number, (&archived, to)).await;
        let session = copy.connect().await;
        assert_eq!(session.sql("select count(*) from ledger").await, *count);
        let can = "select count(*) from pg_available_extensions where name = 'amcheck'";
        if session.sql(can).await == "1" {
            session.sql("create extension amcheck").await;
            session.sql("select bt_index_check('ledger_pkey', true)").await;
        }
        drop(session);
        drop(copy);
        let immediate = (archived.as_path(), recovery::Target::Immediate);
        let (_target, copy) = recovered_from(storage, number, immediate).await;
        let session = copy.connect().await;
        let found: u32 = session.sql("select count(*) from ledger").await.parse().unwrap();
        assert!(found < rows[number as usize], "{found} rows of {rows:?}");
    }
}

#[tokio::test]
async fn each_backup_of_a_chain_in_a_folder_is_restored() {
    each_of_a_chain_is_restored(&Storage::folder()).await;
}

#[tokio::test]
async fn each_backup_of_a_chain_on_s3_is_restored() {
    each_of_a_chain_is_restored(&Storage::s3s()).await;
}

#[tokio::test]
async fn little_is_stored_of_what_changed_little() {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::folder();
    let mut session = server.connect().await;
    let store = storage.store();
    let full = take_on(&store, &mut session, (0, None)).await.unwrap();
    session.sql("update large set t = 'new' where n = 7").await;
    let increment = take_on(&store, &mut session, (1, Some(0))).await.unwrap();
    assert!(increment.stored.0 * 4 < full.stored.0, "{increment:?} after {full:?}");
}

/// A standby copied with other hints than the base: what differs is stored, and the whole is right.
#[tokio::test]
async fn a_backup_of_a_standby_builds_on_one_of_the_primary() {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::folder();
    let session = server.connect().await;
    let copy = base.path().join("standby");
    let port = server.port.to_string();
    let mut command = program("pg_basebackup");
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port, "-R", "-c", "fast", "-D"]);
    let space = base.path().join("standby-space");
    let mapping = format!("{}={}", base.path().join("tablespace").display(), space.display());
    succeeds(command.arg(&copy).arg("-T").arg(mapping));
    let standby = Server::start(&copy);
    // Hints that the log does not tell of, on the primary alone.
    session.sql("insert into elsewhere select generate_series(1, 5000)").await;
    session.sql("select count(*) from elsewhere").await;
    session.sql("select count(t) from large").await;
    session.sql("checkpoint").await;
    let mut primary = server.connect().await;
    take_on(&storage.store(), &mut primary, (0, None)).await.unwrap();
    session.sql("insert into ledger select generate_series(1, 100)").await;
    session.sql("checkpoint").await;
    let lsn = session.sql("select pg_current_wal_lsn()").await;
    let mut second = standby.connect().await;
    second.until(&format!("select pg_last_wal_replay_lsn() >= '{lsn}'")).await;
    second.sql("checkpoint").await;
    let taken = take_on(&storage.store(), &mut second, (1, Some(0))).await.unwrap();
    assert_eq!(taken.unfit, None);
    archive(&session).await;
    let archived = base.path().join("archive");
    let latest = (archived.as_path(), recovery::Target::Latest);
    let (_target, copy) = recovered_from(&storage, 1, latest).await;
    assert_same(&dumped(server.port), &dumped(copy.port), 1);
}
