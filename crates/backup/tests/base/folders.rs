//! Backups of folders that look like PostgreSQL's, without PostgreSQL.
//!
//! Never says whether PostgreSQL would start in one.

use crate::base::trees::{assert_same, noise, read, write};
use crate::servers::Server;
use pgherd_backup::backup_info::Tablespace;
use pgherd_backup::base::{
    Options, Packing, Pages, Progress, Refused, Request, Session, Started, Stopped, Taken, take,
};
use pgherd_backup::destination::{Prefix, ServerName};
use pgherd_backup::layout::Layout;
use pgherd_backup::restore::{self, By, Into, RestoreError, restore};
use pgherd_backup::store::Store;
use pgherd_core::backup::BackupId;
use pgherd_core::units::{Bytes, Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) fn layout() -> Layout {
    Layout::new(&Prefix::parse("prod").unwrap(), &ServerName::parse("app-db").unwrap())
}

pub(crate) fn id() -> BackupId {
    BackupId::parse("20261122T112233").unwrap()
}

/// A data folder and a tablespace, and a server that says of them what it should.
pub(crate) struct Fake {
    pub(crate) folder: TempDir,
    pub(crate) stops: Result<(), &'static str>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, space) = (folder.path().join("data"), folder.path().join("space"));
        write(&data, "PG_VERSION", b"15\n");
        write(&data, "global/pg_control", &noise(1, 8192));
        write(&data, "base/5/large", &noise(2, (9 << 20) + 5));
        write(&data, "base/5/zeros", &vec![0; 5 << 20]);
        write(&data, "base/5/empty", b"");
        write(&data, "pg_wal/000000010000000000000001", b"not this");
        write(&data, &format!("deep/{}/{}", "n".repeat(120), "m".repeat(120)), b"long name");
        for number in 0..700 {
            write(&data, &format!("base/6/{number}_small"), &noise(number, 300));
        }
        write(&space, "PG_15_202209061/5/16385", &noise(3, 70_000));
        std::fs::create_dir_all(data.join("pg_tblspc")).unwrap();
        std::fs::create_dir_all(data.join("pg_notify")).unwrap();
        Self { folder, stops: Ok(()) }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn space(&self) -> PathBuf {
        self.folder.path().join("space")
    }
}

impl Session for Fake {
    async fn start(&mut self, _label: &str) -> Result<Started, Refused> {
        let data = self.data();
        Ok(Started {
            begin: Lsn(0x800_0028),
            at: Moment(1_795_346_554_018_037),
            timeline: Timeline(1),
            system: SystemId(7_710_954_695_479_462_778),
            segment_size: SegmentSize::DEFAULT,
            version: 150_018,
            pages: Pages::Unverifiable,
            config_file: data.join("postgresql.conf"),
            hba_file: data.join("pg_hba.conf"),
            ident_file: data.join("pg_ident.conf"),
            pgdata: data,
            tablespaces: vec![Tablespace {
                name: "space".to_owned(),
                oid: 16384,
                location: self.space().to_str().unwrap().to_owned(),
            }],
        })
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        self.stops?;
        let label = "START WAL LOCATION: 0/8000028\n".to_owned();
        Ok(Stopped { end: Lsn(0x800_0100), at: Moment(1_795_346_562_014_538), label })
    }
}

pub(crate) async fn back_up(store: &Store, session: &mut impl Session, options: Options) -> Taken {
    let (layout, id) = (layout(), id());
    let request = Request {
        store,
        layout: &layout,
        id: &id,
        name: Some("nightly"),
        by: "test",
        base: None,
        options,
    };
    let (progress, shown) = watch::channel(Progress::default());
    let taken = take(&request, session, progress, std::future::pending()).await.unwrap();
    let shown = *shown.borrow();
    assert!(shown.done >= shown.total && shown.moved <= taken.stored, "{shown:?} {taken:?}");
    taken
}

/// Where a backup is restored to, which goes away with this.
pub(crate) struct Target {
    pub(crate) folder: TempDir,
}

impl Target {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("pgherd-").tempdir().unwrap() }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn space(&self) -> PathBuf {
        self.folder.path().join("space")
    }

    pub(crate) async fn restore(
        &self,
        store: &Store,
        into: Into,
    ) -> Result<restore::Restored, RestoreError> {
        let tablespaces = BTreeMap::from([("space".to_owned(), self.space())]);
        let (layout, id, data) = (layout(), id(), self.data());
        let request = restore::Request {
            store,
            layout: &layout,
            id: &id,
            folder: &data,
            tablespaces: &tablespaces,
            into,
            options: restore::Options::default(),
        };
        restore(&request, watch::Sender::new(Progress::default())).await
    }
}

/// What was restored is what was there, but for what belongs to an instance alone.
pub(crate) fn check(fake: &Fake, data: &Path, space: &Path) {
    let mut restored = read(data);
    assert_eq!(
        restored.remove("backup_label").unwrap().unwrap(),
        b"START WAL LOCATION: 0/8000028\n"
    );
    let manifest = restored.remove("backup_manifest").unwrap().unwrap();
    assert!(String::from_utf8(manifest).unwrap().contains("PG_15_202209061/5/16385"));
    let mut expected = read(&fake.data());
    expected.remove("pg_wal/000000010000000000000001").unwrap();
    assert_same(&expected, &restored);
    assert_same(&read(&fake.space()), &read(space));
    let link = data.join("pg_tblspc/16384");
    assert_eq!(std::fs::read_link(link).unwrap(), space);
}

#[tokio::test]
async fn a_folder_is_restored_as_it_was_however_it_was_packed() {
    let mut fake = Fake::new();
    let both = Packing::ALL
        .into_iter()
        .flat_map(|packing| [(packing, Server::folder()), (packing, Server::folder().encrypted())]);
    for (packing, server) in both {
        let store = server.store();
        let taken = back_up(&store, &mut fake, Options { packing, ..Options::default() }).await;
        assert_eq!(taken.skipped, Vec::<PathBuf>::new());
        let target = Target::new();
        let restored = target.restore(&store, Into::Empty).await.unwrap();
        assert_eq!((restored.by, restored.files), (By::Contents, taken.files));
        check(&fake, &target.data(), &target.space());

        store.delete(vec![layout().index(&id())]).await.unwrap();
        let target = Target::new();
        let restored = target.restore(&store, Into::Empty).await.unwrap();
        assert_eq!((restored.by, restored.files), (By::Archives, taken.files));
        check(&fake, &target.data(), &target.space());
        let refused = target.restore(&store, Into::Empty).await.unwrap_err();
        assert!(matches!(refused, RestoreError::NotEmpty { .. }), "{refused}");
        let refused = target.restore(&store, Into::Existing).await.unwrap_err();
        assert!(matches!(refused, RestoreError::Unusable { .. }), "{refused}");
    }
}

#[tokio::test]
async fn a_backup_reads_no_faster_than_it_may() {
    let mut fake = Fake::new();
    let server = Server::folder();
    // Two files of 14 MiB in all, in chunks of 4 MiB: the last one is begun when the others are paid for.
    let options = Options { rate: Some(Bytes(8 << 20)), ..Options::default() };
    let begun = Instant::now();
    back_up(&server.store(), &mut fake, options).await;
    assert!(begun.elapsed() >= Duration::from_secs_f64(10.0 / 8.0), "{:?}", begun.elapsed());
    let target = Target::new();
    target.restore(&server.store(), Into::Empty).await.unwrap();
    check(&fake, &target.data(), &target.space());
}

#[tokio::test]
async fn little_memory_and_many_archives_make_no_difference() {
    let mut fake = Fake::new();
    write(&fake.data(), "base/5/huge", &vec![7; 66 << 20]);
    let server = Server::folder();
    let store = server.store();
    for (memory, streams, archives) in [(1, 1, 1), (200 << 20, 4, 4)] {
        let memory = Bytes(memory);
        let options = Options { packing: Packing::Lz4, memory, streams, ..Options::default() };
        back_up(&store, &mut fake, options).await;
        let objects = store.folder(&layout().backup(&id())).await.unwrap().objects;
        let of_data = objects.iter().filter(|object| object.key.name().starts_with("data"));
        assert_eq!(of_data.count(), archives);
        let target = Target::new();
        target.restore(&store, Into::Empty).await.unwrap();
        check(&fake, &target.data(), &target.space());
        pgherd_backup::base::sweep(&store, &layout(), &id()).await.unwrap();
        let left: Vec<_> = read(server.folder.path()).into_values().flatten().collect();
        assert!(left.is_empty(), "{} files are left", left.len());
    }
}

#[tokio::test]
async fn a_restore_over_what_is_there_writes_what_differs() {
    let mut fake = Fake::new();
    let server = Server::folder();
    let store = server.store();
    back_up(&store, &mut fake, Options::default()).await;
    let target = Target::new();
    target.restore(&store, Into::Empty).await.unwrap();
    let data = target.data();
    let again = target.restore(&store, Into::Existing).await.unwrap();
    // The file that lets PostgreSQL start is written each time.
    assert_eq!(again.bytes.0 - again.unchanged.0, 8192);

    let mut large = noise(2, (9 << 20) + 5);
    large[6 << 20] ^= 1;
    large.extend(b"more");
    write(&data, "base/5/large", &large);
    write(&data, "base/5/zeros", &vec![0; 1000]);
    write(&data, "stray/folder/file", b"x");
    write(&data, "recovery.signal", b"");
    write(&data, "pg_wal/archive_status/1.done", b"");
    write(&target.space(), "PG_15_202209061/5/other", b"");
    std::fs::remove_file(data.join("base/5/empty")).unwrap();
    std::fs::remove_dir_all(data.join("base/6")).unwrap();
    std::os::unix::fs::symlink("/tmp", data.join("base/6")).unwrap();
    let restored = target.restore(&store, Into::Existing).await.unwrap();
    assert!(restored.unchanged.0 > 4 << 20 && restored.removed >= 6, "{restored:?}");
    check(&fake, &data, &target.space());

    write(&data, "postmaster.pid", b"1\n");
    let refused = target.restore(&store, Into::Existing).await.unwrap_err();
    assert!(matches!(refused, RestoreError::InUse { .. }), "{refused}");
}

/// What barman's tools do with each archive.
#[tokio::test]
async fn pythons_tarfile_reads_all_that_barman_can() {
    const EXTRACT: &str = r#"
import sys, tarfile
mode, target, *archives = sys.argv[1:]
for archive in archives:
    with open(archive, "rb") as packed, tarfile.open(fileobj=packed, mode=mode) as tar:
        tar.extractall(path=target)
"#;
    let mut fake = Fake::new();
    for (packing, mode, suffix) in [(Packing::Gzip, "r|gz", ".gz"), (Packing::Plain, "r|", "")] {
        let server = Server::folder();
        back_up(&server.store(), &mut fake, Options { packing, ..Options::default() }).await;
        let folder = server.folder.path().join(layout().backup(&id()).as_str());
        let target = Target::new();
        for (part, to) in [("data", target.data()), ("16384", target.space())] {
            let archive = folder.join(format!("{part}.tar{suffix}"));
            let arguments = [Path::new(mode), &to, &archive];
            let done = Command::new("python3").args(["-c", EXTRACT]).args(arguments).output();
            let done = done.unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        std::os::unix::fs::symlink(target.space(), target.data().join("pg_tblspc/16384")).unwrap();
        check(&fake, &target.data(), &target.space());
        let mode = target.data().join("base/5").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
