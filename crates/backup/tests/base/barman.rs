//! Debian's barman-cloud restores what we back up, and we restore what it backs up.
//!
//! Never a program of ours on both sides.

use crate::base::folders::{Target, back_up, id, layout};
use crate::base::postgres::{command, folder, give_away, program, succeeds};
use crate::base::real::{archive, filled, recover, recovered};
use crate::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, Server as Storage};
use pgherd_backup::base::{Options, Packing, Progress};
use pgherd_backup::restore::{self, By, Into, recovery, restore};
use pgherd_core::backup::BackupId;
use std::collections::BTreeMap;
use std::process::Command;
use tokio::sync::watch;

fn barman(storage: &Storage, name: &str) -> Command {
    let mut command = command(format!("/usr/bin/barman-cloud-{name}"));
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
