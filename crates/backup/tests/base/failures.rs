//! What fails leaves nothing that looks like a backup, and damage is told.
//!
//! Never accepts a folder that PostgreSQL would start and that is not whole.

use crate::base::folders::{Fake, Target, back_up, id, layout};
use crate::base::trees::read;
use crate::servers::Server;
use pgherd_backup::base::{BackupError, Left, Options, Packing, Progress, Request, clear, take};
use pgherd_backup::restore::{self, By, Into, RestoreError};
use pgherd_backup::store::Store;
use std::path::Path;
use tokio::sync::watch;

fn files(folder: &Path) -> Vec<String> {
    let tree = read(folder);
    tree.into_iter().filter(|(_, content)| content.is_some()).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_backup_that_fails_or_is_cancelled_leaves_nothing() {
    let server = Server::folder();
    let (store, layout, id) = (server.store(), layout(), id());
    let options = Options::default();
    let request = Request {
        store: &store,
        layout: &layout,
        id: &id,
        name: None,
        by: "test",
        base: None,
        options,
    };
    let mut fake = Fake::new();
    fake.stops = Err("the connection is gone");
    let progress = || watch::Sender::new(Progress::default());
    let failed = take(&request, &mut fake, progress(), std::future::pending()).await.unwrap_err();
    assert!(matches!(failed, BackupError::Stop { .. }), "{failed}");
    assert_eq!(files(server.folder.path()), Vec::<String>::new());

    let (cancel, mut cancelled) = watch::channel(Progress::default());
    let some_is_done = async move {
        cancelled.wait_for(|progress| progress.done.0 > 0).await.unwrap();
    };
    let failed = take(&request, &mut fake, cancel, some_is_done).await.unwrap_err();
    assert!(matches!(failed, BackupError::Cancelled), "{failed}");
    assert_eq!(files(server.folder.path()), Vec::<String>::new());

    fake.stops = Ok(());
    take(&request, &mut fake, progress(), std::future::pending()).await.unwrap();
    let before = files(server.folder.path());
    let failed = take(&request, &mut fake, progress(), std::future::pending()).await.unwrap_err();
    assert!(matches!(failed, BackupError::AlreadyThere(_)), "{failed}");
    assert_eq!(files(server.folder.path()), before);
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_told() {
    let server = Server::folder();
    let (store, layout, id) = (server.store(), layout(), id());
    let options = Options::default();
    let request = Request {
        store: &store,
        layout: &layout,
        id: &id,
        name: None,
        by: "test",
        base: None,
        options,
    };
    // A file where a folder should be.
    std::fs::write(server.folder.path().join("prod"), b"").unwrap();
    let progress = watch::Sender::new(Progress::default());
    let failed = take(&request, &mut Fake::new(), progress, std::future::pending()).await;
    let failed = failed.unwrap_err();
    assert!(matches!(failed, BackupError::Store { .. }), "{failed}");
}

#[tokio::test]
async fn damage_is_found_and_what_was_restored_does_not_start() {
    for packing in [Packing::Plain, Packing::Lz4, Packing::Zstd, Packing::Gzip] {
        let server = Server::folder();
        let store = server.store();
        back_up(&store, &mut Fake::new(), Options { packing, ..Options::default() }).await;
        let folder = server.folder.path().join(layout().backup(&id()).as_str());
        let archive = files(&folder).into_iter().find(|name| name.starts_with("data")).unwrap();
        let archive = folder.join(archive);
        let whole = std::fs::read(&archive).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        for damaged in [&flipped[..], &whole[..whole.len() / 2]] {
            std::fs::write(&archive, damaged).unwrap();
            let target = Target::new();
            let failed = target.restore(&store, Into::Empty).await.unwrap_err();
            let is_told = matches!(
                failed,
                RestoreError::Damaged { .. }
                    | RestoreError::Archive { .. }
                    | RestoreError::Store { .. }
            );
            assert!(is_told, "{packing:?}: {failed}");
            assert!(!target.data().join("global/pg_control").exists());
        }
        std::fs::remove_file(&archive).unwrap();
        let failed = Target::new().restore(&store, Into::Empty).await.unwrap_err();
        assert!(matches!(failed, RestoreError::Unusable { .. }), "{failed}");
    }
}

#[tokio::test]
async fn a_backup_is_verified_without_being_restored() {
    for packing in [Packing::Plain, Packing::Lz4, Packing::Zstd, Packing::Gzip] {
        let server = Server::folder();
        let store = server.store();
        let options = Options { packing, ..Options::default() };
        let taken = back_up(&store, &mut Fake::new(), options).await;
        let verified = async |store: &Store| {
            let (layout, id, options) = (layout(), id(), restore::Options::default());
            let progress = watch::Sender::new(Progress::default());
            restore::verify((store, &layout), &id, options, progress).await.unwrap()
        };
        let found = verified(&store).await;
        assert_eq!((found.files, found.bytes), (taken.files, taken.bytes), "{packing:?}");
        assert_eq!((found.by, found.damages_in_all), (By::Contents, 0));
        let folder = server.folder.path().join(layout().backup(&id()).as_str());
        let archive = files(&folder).into_iter().find(|name| name.starts_with("data")).unwrap();
        let archive = folder.join(archive);
        let whole = std::fs::read(&archive).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        std::fs::write(&archive, &flipped).unwrap();
        let found = verified(&store).await;
        assert_eq!((found.damages_in_all, found.damages.len()), (1, 1), "{found:?}");
        assert!(found.damages[0].contains("data"), "{found:?}");
        // Without our table, its own sums and its end tell, as far as it has any.
        store.delete(vec![layout().index(&id())]).await.unwrap();
        std::fs::write(&archive, &whole).unwrap();
        let found = verified(&store).await;
        assert_eq!((found.by, found.damages_in_all), (By::Archives, 0));
        std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(verified(&store).await.damages_in_all, 1, "{packing:?}");
    }
}

#[tokio::test]
async fn only_who_began_a_backup_clears_up_after_it() {
    let server = Server::folder();
    let (store, layout, id) = (server.store(), layout(), id());
    let half = layout.backup_object(&id, "data.tar");
    let taker = layout.taker(&id);
    store.create(&taker, "me".into()).await.unwrap();
    store.create(&half, "half".into()).await.unwrap();
    assert_eq!(clear(&store, &layout, &id, "you").await.unwrap(), Left::Nothing);
    assert!(store.head(&half).await.unwrap().is_some());
    let options = Options::default();
    let request = Request {
        store: &store,
        layout: &layout,
        id: &id,
        name: None,
        by: "you",
        base: None,
        options,
    };
    let progress = watch::Sender::new(Progress::default());
    let taken = take(&request, &mut Fake::new(), progress, std::future::pending()).await;
    assert!(matches!(taken, Err(BackupError::AlreadyThere(_))), "{taken:?}");
    assert_eq!(clear(&store, &layout, &id, "me").await.unwrap(), Left::Removed);
    assert_eq!(files(server.folder.path()), Vec::<String>::new());
    back_up(&store, &mut Fake::new(), options).await;
    store.create(&taker, "me".into()).await.unwrap();
    assert_eq!(clear(&store, &layout, &id, "me").await.unwrap(), Left::Listed);
    assert!(store.head(&layout.backup_info(&id)).await.unwrap().is_some());
    assert!(store.head(&taker).await.unwrap().is_none());
}

#[tokio::test]
async fn a_damaged_table_of_contents_is_told() {
    let server = Server::folder();
    let store = server.store();
    back_up(&store, &mut Fake::new(), Options::default()).await;
    let index = server.folder.path().join(layout().index(&id()).as_str());
    let whole = std::fs::read(&index).unwrap();
    for length in [0, 10, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&index, &whole[..length]).unwrap();
        let target = Target::new();
        let failed = target.restore(&store, Into::Empty).await.unwrap_err();
        let is_told = matches!(failed, RestoreError::Damaged { .. } | RestoreError::Archive { .. });
        assert!(is_told, "{length}: {failed}");
        assert!(!target.data().join("global/pg_control").exists());
    }
}

/// A file system in memory, if it may be mounted.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(at);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let gone = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(gone.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// One that is known to be too small is not begun; one that gets full meanwhile is not startable,
/// and there is all once there is room.
#[tokio::test]
async fn a_full_disk_ends_a_restore_and_room_lets_it_succeed() {
    let server = Server::folder();
    let store = server.store();
    back_up(&store, &mut Fake::new(), Options::default()).await;
    let target = Target::new();
    // Only root may mount.
    let Some(small) = Disk::mount(&target.data(), 4) else { return };
    let refused = target.restore(&store, Into::Empty).await.unwrap_err();
    assert!(matches!(refused, RestoreError::NoSpace { .. }), "{refused}");
    assert_eq!(read(&target.data()).len(), 0, "nothing is written");
    drop(small);

    // Without its table of contents nobody knows how much it will be.
    store.delete(vec![layout().index(&id())]).await.unwrap();
    let other = Target::new();
    let disk = Disk::mount(&other.data(), 12).unwrap();
    let full = other.restore(&store, Into::Empty).await.unwrap_err();
    let RestoreError::Write { source, .. } = &full else { panic!("{full}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert!(!other.data().join("global/pg_control").exists());
    drop(disk);
    let large = Disk::mount(&other.data(), 64).unwrap();
    let restored = restore_with_room(&other, &store).await;
    assert_eq!(restored.by, By::Archives);
    assert!(other.data().join("global/pg_control").exists());
    drop(large);
}

async fn restore_with_room(target: &Target, store: &Store) -> restore::Restored {
    let space = target.space();
    if space.exists() {
        std::fs::remove_dir_all(space).unwrap();
    }
    target.restore(store, Into::Empty).await.unwrap()
}
