//! Debian's barman-cloud restores what we back up, and we restore what it backs up.
//!
//! Never a program of ours on both sides.

use crate::base::folders::{Target, back_up, id, layout};
use crate::base::postgres::{command, folder, give_away, program, succeeds};
use crate::base::real::{archive, filled, recover, recovered};
use crate::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, Server as Storage, installed};
use pgherd_backup::base::{Options, Packing, Progress};
use pgherd_backup::catalogue::Repository;
use pgherd_backup::compression::Compression;
use pgherd_backup::restore::{self, By, Into, recovery, restore};
use pgherd_backup::wal::{Archive, Fetched, Partials, Settings};
use pgherd_core::backup::BackupId;
use pgherd_core::backup::retention::{Cut, Fate, Plan, Remove};
use pgherd_core::units::{Bytes, Lsn};
use pgherd_core::wal::WalFile;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use tokio::sync::watch;

/// Which barman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Debian,
    Newest,
}

fn barman(storage: &Storage, name: &str) -> Command {
    of(Version::Debian, storage, name)
}

fn of(version: Version, storage: &Storage, name: &str) -> Command {
    let mut command = match version {
        Version::Debian => command(format!("/usr/bin/barman-cloud-{name}")),
        Version::Newest => {
            // Debian's Python has what both need.
            let mut command = command("/usr/bin/python3");
            let module = match name {
                "wal-archive" => "walarchive".to_owned(),
                "wal-restore" => "walrestore".to_owned(),
                _ => name.replace('-', "_"),
            };
            command.env("PYTHONPATH", installed("barman-3.19.1"));
            command.args(["-m", &format!("barman.clients.cloud_{module}")]);
            command
        }
    };
    let url = &storage.destination.endpoint.as_ref().unwrap().url;
    command
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .args(["--endpoint-url", url.as_str()]);
    command
}

fn url() -> String {
    format!("s3://{BUCKET}/prod")
}

#[tokio::test]
async fn barman_restores_our_backup() {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::moto();
    let store = storage.store();
    for packing in [Packing::Gzip, Packing::Plain] {
        let options = Options { packing, ..Options::default() };
        back_up(&store, &mut server.connect().await, options).await;
        archive(&server.connect().await).await;
        let listed = succeeds(barman(&storage, "backup-list").args([&url(), "app-db"]));
        assert!(String::from_utf8_lossy(&listed.stdout).contains(id().as_str()));
        let target = Target::new();
        give_away(target.folder.path());
        let space = format!("space:{}", target.space().display());
        let mut restored = barman(&storage, "restore");
        restored.args(["--tablespace", &space, &url(), "app-db", id().as_str()]);
        succeeds(restored.arg(target.data()));
        let copy = recovered(&target, &base.path().join("archive"), recovery::Target::Latest);
        let copy = copy.connect().await;
        copy.until("select not pg_is_in_recovery()").await;
        assert_eq!(copy.sql("select sum(n) from elsewhere").await, "500500");
        assert_eq!(copy.sql("select count(*) from large").await, "20000");
        pgherd_backup::base::sweep(&store, &layout(), &id()).await.unwrap();
    }
}

#[tokio::test]
async fn we_restore_barmans_backup() {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::moto();
    let store = storage.store();
    let port = server.port.to_string();
    for packing in [Some("-z"), None, Some("-j")] {
        let mut backup = barman(&storage, "backup");
        backup.args(["--immediate-checkpoint", "-h", "127.0.0.1", "-U", "postgres", "-p", &port]);
        succeeds(backup.args(packing).args([&url(), "app-db"]));
        archive(&server.connect().await).await;
        let folders = store.folder(&layout().base()).await.unwrap().folders;
        let [folder] = folders.as_slice() else { panic!("{folders:?}") };
        let id = BackupId::parse(folder.name()).unwrap();
        let target = Target::new();
        let request = restore::Request {
            store: &store,
            layout: &layout(),
            id: &id,
            folder: &target.data(),
            tablespaces: &BTreeMap::from([("space".to_owned(), target.space())]),
            into: Into::Empty,
            options: restore::Options::default(),
        };
        let restored = restore(&request, watch::Sender::new(Progress::default())).await.unwrap();
        assert_eq!(restored.by, By::Archives);
        give_away(target.folder.path());
        let copy = recover(&target.data(), &base.path().join("archive"), recovery::Target::Latest);
        let session = copy.connect().await;
        session.until("select not pg_is_in_recovery()").await;
        assert_eq!(session.sql("select sum(n) from elsewhere").await, "500500");
        assert_eq!(session.sql("select count(*) from large").await, "20000");
        drop(session);
        let mut copy = copy;
        copy.stop();
        succeeds(program("pg_checksums").arg("--check").arg("-D").arg(&copy.data));
        pgherd_backup::base::sweep(&store, &layout(), &id).await.unwrap();
    }
}

/// One repository, two programs that do not know of each other.
#[tokio::test]
async fn either_restores_to_a_moment_what_the_other_wrote_and_deletes_beside_it() {
    for version in [Version::Debian, Version::Newest] {
        beside_each_other(version).await;
    }
}

async fn beside_each_other(version: Version) {
    let base = folder();
    let server = filled(base.path()).await;
    let storage = Storage::moto();
    let store = storage.store();
    let session = server.connect().await;
    back_up(&store, &mut server.connect().await, Options::default()).await;
    let port = server.port.to_string();
    let mut backup = of(version, &storage, "backup");
    backup.args(["--immediate-checkpoint", "-h", "127.0.0.1", "-U", "postgres", "-p", &port]);
    succeeds(backup.args([&url(), "app-db"]));
    session.sql("insert into ledger values (1)").await;
    let moment = Lsn::parse(&session.sql("select pg_current_wal_lsn()").await).unwrap();
    session.sql("delete from large").await;
    archive(&session).await;

    let repository = Repository::new(store.clone(), layout());
    let listed = repository.list().await.unwrap();
    let ids: Vec<BackupId> = listed.entries.iter().map(|entry| entry.id.clone()).collect();
    let [ours, theirs] = ids.as_slice() else { panic!("{version:?}: {listed:?}") };
    assert_eq!((ours, listed.unreadable().len()), (&id(), 0), "{version:?}");
    let told = succeeds(of(version, &storage, "backup-list").args([&url(), "app-db"]));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains(ours.as_str()) && told.contains(theirs.as_str()), "{version:?}: {told}");

    // Every other file of the log is archived by them, and all are fetched by either.
    let (by_us, by_them) = (base.path().join("by-us"), base.path().join("by-them"));
    exchange_log(version, &storage, (&base.path().join("archive"), &by_us, &by_them)).await;
    let to = || recovery::Target::Lsn(moment, recovery::Edge::Inclusive);
    let target = Target::new();
    give_away(target.folder.path());
    let space = format!("space:{}", target.space().display());
    let mut restored = of(version, &storage, "restore");
    restored.args(["--tablespace", &space, &url(), "app-db", ours.as_str()]);
    succeeds(restored.arg(target.data()));
    is_as_it_was(recover(&target.data(), &by_them, to())).await;

    let target = Target::new();
    let request = restore::Request {
        store: &store,
        layout: &layout(),
        id: theirs,
        folder: &target.data(),
        tablespaces: &BTreeMap::from([("space".to_owned(), target.space())]),
        into: Into::Empty,
        options: restore::Options::default(),
    };
    restore(&request, watch::Sender::new(Progress::default())).await.unwrap();
    give_away(target.folder.path());
    is_as_it_was(recover(&target.data(), &by_us, to())).await;

    succeeds(of(version, &storage, "backup-delete").args(["-b", ours.as_str(), &url(), "app-db"]));
    let listed = repository.list().await.unwrap();
    assert_eq!(listed.entries.iter().map(|entry| &entry.id).collect::<Vec<_>>(), [theirs]);
    let (_, window) = repository.window(&listed).await.unwrap();
    assert!(window.gaps.is_empty() && window.unusable.is_empty(), "{version:?}: {window:?}");
    let removed = Fate::Removed(Remove::Surplus);
    let plan = Plan { backups: vec![(theirs.clone(), removed)], wal: Cut::default() };
    repository.prune(&plan).await.unwrap();
    let told = succeeds(of(version, &storage, "backup-list").args([&url(), "app-db"]));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(!told.contains(theirs.as_str()) && !told.contains(ours.as_str()), "{told}");
}

async fn exchange_log(
    version: Version,
    storage: &Storage,
    (all, by_us, by_them): (&Path, &Path, &Path),
) {
    for folder in [by_us, by_them] {
        std::fs::create_dir(folder).unwrap();
        give_away(folder);
    }
    let settings = Settings {
        compression: Compression::Gzip,
        system: None,
        memory: Bytes(64 << 20),
        processors: 2,
    };
    let ours = Archive::new(storage.store(), layout(), settings);
    let names = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    for (number, name) in names.iter().enumerate() {
        let (file, path) = (WalFile::parse(name).unwrap(), all.join(name));
        if number.is_multiple_of(2) {
            ours.push(file, &path).await.unwrap();
        } else {
            let mut archive = of(version, storage, "wal-archive");
            succeeds(archive.args(["-z", &url(), "app-db"]).arg(&path));
        }
    }
    // PostgreSQL never asks for the labels of backups, and barman does not find them.
    for name in names.iter().filter(|name| name.len() == 24) {
        let target = by_us.join(name);
        let fetched = ours.fetch(WalFile::parse(name).unwrap(), Partials::Never, &target).await;
        assert!(matches!(fetched, Ok(Fetched::Whole { .. })), "{name}: {fetched:?}");
        let mut restore = of(version, storage, "wal-restore");
        succeeds(restore.args([&url(), "app-db", name]).arg(by_them.join(name)));
        let content = std::fs::read(all.join(name)).unwrap();
        for folder in [by_us, by_them] {
            assert!(std::fs::read(folder.join(name)).unwrap() == content, "{name} differs");
        }
    }
    give_away(by_us);
}

/// Before all was deleted, and with the row that was committed last.
async fn is_as_it_was(copy: crate::base::postgres::Server) {
    let copy = copy.connect().await;
    copy.until("select not pg_is_in_recovery()").await;
    assert_eq!(copy.sql("select count(*) from ledger").await, "1");
    assert_eq!(copy.sql("select count(*) from large").await, "20000");
    assert_eq!(copy.sql("select sum(n) from elsewhere").await, "500500");
}
