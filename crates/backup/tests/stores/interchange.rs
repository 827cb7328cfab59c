//! Debian's barman-cloud reads what we store, and we read what it stores.
//!
//! Never a program of ours on both sides.

use super::segments::{archive, file, layout, mebibytes, segment};
use super::servers::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use bytes::Bytes;
use pgherd_backup::backup_info::{BackupInfo, Point};
use pgherd_backup::catalogue::Repository;
use pgherd_backup::compression::Compression;
use pgherd_backup::wal::{Fetched, Partials, Pushed};
use pgherd_core::backup::{BackupId, Hold, Status};
use pgherd_core::units::{Lsn, Moment, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};
use std::process::{Command, Output};

struct Barman<'a> {
    server: &'a Server,
}

impl Barman<'_> {
    /// Runs `barman-cloud-NAME OPTIONS s3://.. app-db ARGUMENTS`.
    fn run(&self, name: &str, options: &[&str], arguments: &[&str]) -> Output {
        let url = &self.server.destination.endpoint.as_ref().unwrap().url;
        let program = format!("/usr/bin/barman-cloud-{name}");
        let mut command = Command::new(&program);
        command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .args(["--endpoint-url", url.as_str()])
            .args(options)
            .args([&format!("s3://{BUCKET}/prod/eu"), "app-db"])
            .args(arguments);
        command
            .output()
            .unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask setup --stores`"))
    }

    fn succeeds(&self, name: &str, options: &[&str], arguments: &[&str]) -> String {
        let done = self.run(name, options, arguments);
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

#[tokio::test]
async fn barman_reads_our_log_and_we_read_barmans() {
    let server = Server::moto();
    let barman = Barman { server: &server };
    let local = tempfile::tempdir().unwrap();
    let (source, target) = (local.path().join("source"), local.path().join("target"));
    std::fs::create_dir(&source).unwrap();
    let target = target.to_str().unwrap();
    barman.succeeds("check-wal-archive", &[], &[]);

    let packings = [Compression::None, Compression::Gzip, Compression::Bzip2];
    let options: [&[&str]; 3] = [&[], &["--gzip"], &["--bzip2"]];
    for (at, (compression, options)) in packings.into_iter().zip(options).enumerate() {
        let ours = format!("00000001000000000000000{at}");
        let theirs = format!("00000001000000010000000{at}");
        let archive = archive(server.store(), compression);
        for (name, text) in
            [(&ours, None), (&format!("0000000{}.history", at + 2), Some("1\t0/5\tx\n"))]
        {
            let content =
                text.map_or_else(|| segment(name, mebibytes(1), 0), |text: &str| text.into());
            let path = source.join(name);
            std::fs::write(&path, &content).unwrap();
            let pushed = archive.push(file(name), &path).await.unwrap();
            assert!(matches!(pushed, Pushed::Now { .. }), "{pushed:?}");
            barman.succeeds("wal-restore", &[], &[name, target]);
            assert!(std::fs::read(target).unwrap() == content, "{name} differs");
        }

        let content = segment(&theirs, mebibytes(1), 0);
        let path = source.join(&theirs);
        std::fs::write(&path, &content).unwrap();
        barman.succeeds("wal-archive", options, &[path.to_str().unwrap()]);
        let fetched = archive.fetch(file(&theirs), Partials::Never, target.as_ref()).await.unwrap();
        let key = layout().wal(file(&theirs), compression);
        assert_eq!(fetched, Fetched::Whole { key: key.clone(), size: mebibytes(1).bytes() });
        assert!(std::fs::read(target).unwrap() == content, "{theirs} differs");
        assert_eq!(archive.push(file(&theirs), &path).await.unwrap(), Pushed::Before { key });
    }
    let occupied = barman.run("check-wal-archive", &[], &[]);
    assert_eq!(occupied.status.code(), Some(1));
    let archive = archive(server.store(), Compression::Gzip);
    assert!(archive.occupied(None).await.unwrap().is_some());
    // Ours since it was probed: barman does not see it.
    assert_eq!(
        barman.run("wal-restore", &[], &["000000090000000000000001", target]).status.code(),
        Some(1)
    );
}

#[tokio::test]
async fn barman_lists_holds_and_deletes_our_backups() {
    let server = Server::moto();
    let (barman, store) = (Barman { server: &server }, server.store());
    let repository = Repository::new(store.clone(), layout());
    let ids = ["20261122T112233", "20261123T112233"].map(|id| BackupId::parse(id).unwrap());
    for (number, id) in (3..).zip(&ids) {
        let at = |offset: u64, second: i64| Point {
            lsn: Some(Lsn((number << 24) + offset)),
            segment: Some(Segment::holding(Timeline(1), Lsn(number << 24), SegmentSize::DEFAULT)),
            time: Some(Moment(1_795_346_554_000_000 + second)),
        };
        let info = BackupInfo {
            begin: at(0x28, 0),
            end: at(0x100, 5_000_001),
            timeline: Some(Timeline(1)),
            segment_size: Some(SegmentSize::DEFAULT),
            status: Some(Status::Done),
            version: Some(150_018),
            name: Some("it's \"nightly\"".to_owned()),
            label: Some("START WAL LOCATION: 0/3000028\nLABEL: it's ours\n".to_owned()),
            comments: vec!["pgherd {\"checked\": true}".to_owned()],
            ..BackupInfo::default()
        };
        store
            .put_new(&layout().backup_object(id, "data.tar"), Bytes::from_static(b"x"))
            .await
            .unwrap();
        store.put_new(&layout().backup_info(id), Bytes::from(info.write())).await.unwrap();
        let name = format!("0000000100000000{number:08X}");
        let key = layout().wal(file(&name), Compression::Gzip);
        store.put_new(&key, Bytes::from_static(b"x")).await.unwrap();
    }
    let listed = barman.succeeds("backup-list", &["--format", "json"], &[]);
    for word in ["20261122T112233", "20261123T112233", "it's \\\"nightly\\\"", "0/3000028"] {
        assert!(listed.contains(word), "{word} is not in {listed}");
    }
    barman.succeeds("backup-keep", &["--target", "standalone"], &[ids[0].as_str()]);
    let catalogue = repository.list().await.unwrap();
    assert_eq!(catalogue.entries[0].hold, Some(Hold::Standalone));
    repository.set_hold(&ids[0], None).await.unwrap();
    repository.set_hold(&ids[1], Some(Hold::Full)).await.unwrap();
    let held = barman.succeeds("backup-keep", &["--status"], &[ids[1].as_str()]);
    assert!(held.to_lowercase().contains("full"), "{held}");
    barman.succeeds("backup-delete", &["--retention-policy", "REDUNDANCY 1"], &[]);
    let catalogue = repository.list().await.unwrap();
    assert_eq!(catalogue.entries.iter().map(|entry| &entry.id).collect::<Vec<_>>(), [&ids[1]]);
}
