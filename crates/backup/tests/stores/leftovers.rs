//! What an upload leaves in a folder when its process is killed, and what becomes of that.
//!
//! Never pretends to kill: what uploads is a process of its own, and ends by a signal.

use super::segments::{file, layout};
use super::servers::{Server, patience};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pgherd_backup::base::{Left, clear};
use pgherd_backup::catalogue::{Repository, Swept};
use pgherd_backup::compression::Compression;
use pgherd_backup::credentials::Credentials;
use pgherd_backup::destination::Destination;
use pgherd_backup::layout::{Key, Layout};
use pgherd_backup::store::Store;
use pgherd_core::backup::BackupId;
use pgherd_core::units::Bytes as Size;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Where the process that is to be killed uploads to.
const FOLDER: &str = "PGHERD_TEST_UPLOADS_TO";
const TAKER: &str = "shop-1";
/// More than a part, so that one is written at once.
const CONTENT: usize = 17 << 20;
const DAY: Duration = Duration::from_hours(24);

fn id() -> BackupId {
    BackupId::parse("20261122T112233").unwrap()
}

/// A part of a backup, and something that is of none.
fn keys() -> [Key; 2] {
    let segment = layout().wal(file("000000010000000000000001"), Compression::None);
    [layout().backup_object(&id(), "data.tar"), segment]
}

/// Does nothing unless it is started for this.
#[tokio::test]
async fn uploads_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let destination = Destination::parse(&folder).unwrap();
    let store = Store::open(&destination, &Credentials::Folder, patience()).unwrap();
    let mut writers = Vec::new();
    for key in keys() {
        let mut writer = store.writer(&key).await.unwrap();
        writer.write(Bytes::from(vec![7; CONTENT])).await.unwrap();
        writers.push(writer);
    }
    std::future::pending::<()>().await;
}

/// A folder with what was left in it.
struct Killed {
    server: Server,
    store: Store,
    repository: Repository,
}

impl Killed {
    async fn new() -> Self {
        let server = Server::folder();
        let store = server.store();
        let taker = layout().taker(&id());
        store.create(&taker, Bytes::from_static(TAKER.as_bytes())).await.unwrap();
        let mut uploading = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "stores::leftovers::uploads_until_it_is_killed"])
            .env(FOLDER, server.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let repository = Repository::new(store.clone(), layout());
        let killed = Self { server, store, repository };
        let begun = Instant::now();
        let is_written = |path: PathBuf| path.metadata().is_ok_and(|facts| facts.len() > 0);
        while !killed.left().into_iter().all(is_written) {
            assert_eq!(uploading.try_wait().unwrap(), None, "it ended by itself");
            assert!(begun.elapsed() < Duration::from_mins(2), "it does not upload");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        uploading.kill().unwrap();
        uploading.wait().unwrap();
        killed
    }

    fn left(&self) -> [PathBuf; 2] {
        keys().map(|key| self.server.folder.path().join(format!("{key}#1")))
    }

    fn are_left(&self) -> [bool; 2] {
        self.left().map(|path| path.exists())
    }

    /// Nobody has written to it for so long.
    fn wait(&self, time: Duration) {
        for path in self.left() {
            let file = File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - time).unwrap();
        }
    }

    async fn listed(&self) -> Vec<String> {
        let root = layout().base();
        let listed = self.store.list(&root, None).map_ok(|object| object.key.to_string());
        let wals = layout().wals();
        let wals = self.store.list(&wals, None).map_ok(|object| object.key.to_string());
        listed.chain(wals).try_collect().await.unwrap()
    }
}

#[tokio::test]
async fn nobody_takes_it_for_an_object_and_it_goes_when_it_is_old() {
    let killed = Killed::new().await;
    assert_eq!(killed.are_left(), [true, true]);
    assert_eq!(killed.listed().await, Vec::<String>::new());
    assert_eq!(killed.repository.list().await.unwrap().entries, []);
    // A writer may live.
    assert_eq!(killed.repository.sweep().await.unwrap(), Swept::default());
    killed.wait(DAY.saturating_sub(Duration::from_mins(5)));
    assert_eq!(killed.repository.sweep().await.unwrap(), Swept::default());
    // Somebody is said to take the backup, and may be slow.
    killed.wait(DAY + Duration::from_mins(5));
    let swept = killed.repository.sweep().await.unwrap();
    assert_eq!((swept.files, killed.are_left()), (1, [true, false]));
    assert!(swept.bytes > Size(0));
    assert!(!killed.server.folder.path().join(layout().wals().as_str()).exists());
    // Until nobody is any more.
    killed.store.delete(vec![layout().taker(&id())]).await.unwrap();
    let old = File::options().write(true).open(&killed.left()[0]).unwrap();
    old.set_modified(SystemTime::now() - 2 * DAY).unwrap();
    assert_eq!(killed.repository.sweep().await.unwrap().files, 1);
    let rest: Vec<_> = std::fs::read_dir(killed.server.folder.path()).unwrap().collect();
    assert!(rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn it_goes_at_once_when_its_taker_comes_back() {
    let killed = Killed::new().await;
    let layout: Layout = layout();
    let other = clear(&killed.store, &layout, &id(), "shop-2").await.unwrap();
    assert_eq!((other, killed.are_left()), (Left::Nothing, [true, true]));
    let cleared = clear(&killed.store, &layout, &id(), TAKER).await.unwrap();
    assert_eq!((cleared, killed.are_left()), (Left::Removed, [false, true]));
    assert!(!killed.server.folder.path().join(layout.base().as_str()).exists());
}

#[tokio::test]
async fn servers_are_left_alone() {
    let server = Server::s3s();
    let repository = Repository::new(server.store(), layout());
    assert_eq!(repository.sweep().await.unwrap(), Swept::default());
}
