//! Backups of a PostgreSQL that is being written to, restored and started.
//!
//! Never compares files: what counts is what PostgreSQL and its tools say of them.

use crate::base::folders::{Target, back_up};
use crate::base::postgres::{Connection, Server, folder, give_away, program};
use crate::servers::Server as Storage;
use pgherd_backup::base::{BadPage, Options, Packing};
use pgherd_backup::restore::recovery::{self, Edge, Recovery, Then};
use pgherd_backup::restore::{By, Into, Restored};
use pgherd_core::backup::choice::Along;
use pgherd_core::units::Lsn;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A table of several files' chunks, one in a tablespace, and an unlogged one.
pub(crate) async fn filled(base: &Path) -> Server {
    let space = base.join("tablespace");
    std::fs::create_dir(&space).unwrap();
    give_away(&space);
    let server = Server::new(base);
    let session = server.connect().await;
    session.sql(&format!("create tablespace space location '{}'", space.display())).await;
    session.sql("create table ledger (n int primary key)").await;
    session
        .sql(
            "create table large as select n, repeat(md5(n::text), 20) as t \
                 from generate_series(1, 20000) n",
        )
        .await;
    session.sql("create table elsewhere (n int) tablespace space").await;
    session.sql("insert into elsewhere select generate_series(1, 1000)").await;
    session.sql("create unlogged table fleeting as select generate_series(1, 1000) n").await;
    session.sql("checkpoint").await;
    server
}

/// Writes rows until it is told to stop; says how many.
async fn write(session: Connection, stop: Arc<AtomicBool>) -> u32 {
    let mut rows = 0;
    while !stop.load(Ordering::Relaxed) {
        rows += 1;
        session.sql(&format!("insert into ledger values ({rows})")).await;
        session.sql(&format!("update large set t = t || 'x' where n = {}", rows % 20000)).await;
    }
    rows
}

/// All that was committed so far is in the archive.
pub(crate) async fn archive(session: &Connection) {
    let last = session.sql("select pg_walfile_name(pg_current_wal_lsn())").await;
    session.sql("create table if not exists switched ()").await;
    session.sql("select pg_switch_wal()").await;
    session.until(&format!("select last_archived_wal >= '{last}' from pg_stat_archiver")).await;
}

/// Proves what was restored with PostgreSQL's own tool, and starts it from the archive.
pub(crate) fn recovered(target: &Target, archive: &Path, to: recovery::Target) -> Server {
    let data = target.data();
    give_away(target.folder.path());
    let verified = program("pg_verifybackup").arg("-n").arg(&data).output().unwrap();
    // The one of version 18 that tests can have crashes, whatever it is given.
    assert!(verified.status.success() || verified.status.code().is_none(), "{verified:?}");
    recover(&data, archive, to)
}

pub(crate) fn recover(data: &Path, archive: &Path, to: recovery::Target) -> Server {
    let restore_command = format!("cp {}/%f %p", archive.display());
    let then = Then::Promote;
    let wanted = Recovery { restore_command, target: to, along: Along::Latest, then };
    let lines = recovery::lines(&recovery::settings(&wanted)) + "archive_mode = off\n";
    std::fs::write(data.join("postgresql.auto.conf"), lines).unwrap();
    std::fs::write(data.join(recovery::SIGNAL), "").unwrap();
    Server::start(data)
}

async fn backed_up_while_written(storage: &Storage, packing: Packing) {
    let base = folder();
    let server = filled(base.path()).await;
    let store = storage.store();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = write(server.connect().await, Arc::clone(&stop));
    let taking = async {
        let mut session = server.connect().await;
        let taken = back_up(&store, &mut session, Options { packing, ..Options::default() }).await;
        stop.store(true, Ordering::Relaxed);
        taken
    };
    let (rows, taken) = tokio::join!(writing, taking);
    assert_eq!((taken.bad_pages_in_all, taken.skipped.len()), (0, 0), "{taken:?}");
    let session = server.connect().await;
    archive(&session).await;

    for by in [By::Contents, By::Archives] {
        let target = Target::new();
        let restored = target.restore(&store, Into::Empty).await.unwrap();
        assert_eq!(restored.by, by);
        let copy = recovered(&target, &base.path().join("archive"), recovery::Target::Latest);
        let copy = copy.connect().await;
        copy.until("select not pg_is_in_recovery()").await;
        for sql in [
            "select count(*) || '-' || coalesce(max(n), 0) from ledger",
            "select sum(hashtext(t)) from large",
            "select sum(n) from elsewhere",
        ] {
            assert_eq!(copy.sql(sql).await, session.sql(sql).await, "{sql}");
        }
        assert_eq!(copy.sql("select count(*) from ledger").await, rows.to_string());
        assert_eq!(copy.sql("select count(*) from fleeting").await, "0");
        store
            .delete(vec![crate::base::folders::layout().index(&crate::base::folders::id())])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_backup_in_a_folder_is_restored_and_has_every_row() {
    backed_up_while_written(&Storage::folder(), Packing::Gzip).await;
}

#[tokio::test]
async fn a_backup_on_s3_is_restored_and_has_every_row() {
    backed_up_while_written(&Storage::s3s(), Packing::Lz4).await;
}

#[tokio::test]
async fn recovery_ends_where_it_was_told_to() {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::folder();
    let store = storage.store();
    back_up(&store, &mut server.connect().await, Options::default()).await;
    let session = server.connect().await;
    session.sql("insert into ledger values (1)").await;
    let lsn = Lsn::parse(&session.sql("select pg_current_wal_lsn()").await).unwrap();
    session.sql("select pg_create_restore_point('before the ''change''')").await;
    session.sql("insert into ledger values (2)").await;
    archive(&session).await;
    let named = recovery::Target::Name("before the 'change'".to_owned());
    let reached = [
        (recovery::Target::Immediate, "0"),
        (recovery::Target::Lsn(lsn, Edge::Inclusive), "1"),
        (named, "1"),
        (recovery::Target::Latest, "2"),
    ];
    for (to, rows) in reached {
        let target = Target::new();
        target.restore(&store, Into::Empty).await.unwrap();
        let copy = recovered(&target, &base.path().join("archive"), to.clone());
        let copy = copy.connect().await;
        copy.until("select not pg_is_in_recovery()").await;
        assert_eq!(copy.sql("select count(*) from ledger").await, rows, "{to:?}");
    }
}

#[tokio::test]
async fn a_page_that_is_damaged_on_disk_is_named() {
    let base = folder();
    let mut server = filled(base.path()).await;
    let session = server.connect().await;
    let path = session.sql("select pg_relation_filepath('large')").await;
    let other = session.sql("select pg_relation_filepath('elsewhere')").await;
    drop(session);
    server.stop();
    for (path, block) in [(&path, 700), (&path, 3), (&other, 1)] {
        let mut options = std::fs::File::options();
        let file = options.read(true).write(true).open(server.data.join(path)).unwrap();
        let at = block * 8192 + 5000;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
    server.run();
    let storage = Storage::folder();
    let mut session = server.connect().await;
    let mut taken = back_up(&storage.store(), &mut session, Options::default()).await;
    taken.bad_pages.sort_by_key(|page| (page.path != path, page.block));
    let bad = |path: &String, block| BadPage { path: path.clone(), block };
    assert_eq!(taken.bad_pages, [bad(&path, 3), bad(&path, 700), bad(&other, 1)]);
    assert_eq!(taken.bad_pages_in_all, 3);
}

#[tokio::test]
async fn a_cluster_that_went_on_is_put_back_to_its_backup() {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::folder();
    let store = storage.store();
    back_up(&store, &mut server.connect().await, Options::default()).await;
    let archived = base.path().join("archive");
    archive(&server.connect().await).await;
    let target = Target::new();
    target.restore(&store, Into::Empty).await.unwrap();
    let mut copy = recovered(&target, &archived, recovery::Target::Immediate);
    let session = copy.connect().await;
    session.until("select not pg_is_in_recovery()").await;
    session.sql("delete from large where n % 2 = 0").await;
    session.sql("create table later as select generate_series(1, 10000)").await;
    session.sql("checkpoint").await;
    drop(session);
    copy.stop();
    let restored: Restored = target.restore(&store, Into::Existing).await.unwrap();
    assert!(restored.unchanged.0 > 0 && restored.removed > 0, "{restored:?}");
    let copy = recovered(&target, &archived, recovery::Target::Immediate);
    let session = copy.connect().await;
    session.until("select not pg_is_in_recovery()").await;
    assert_eq!(session.sql("select count(*) from large").await, "20000");
    assert_eq!(session.sql("select to_regclass('later') is null").await, "t");
}
