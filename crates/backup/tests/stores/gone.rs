//! A repository that goes away while files of its log are fetched, as a disk that is unmounted.
//!
//! Never the end of the log.

use super::contract::chain;
use super::segments::{archive, file, layout, mebibytes, segment};
use super::servers::Server;
use bytes::Bytes;
use pgherd_backup::compression::Compression;
use pgherd_backup::layout::OwnObject;
use pgherd_backup::store::Retry;
use pgherd_backup::wal::{Archive, Fetched, Partials, WalError};
use pgherd_core::backup::BackupId;
use std::path::Path;

const ONE: &str = "000000010000000000000001";
const TWO: &str = "000000010000000000000002";

fn id() -> BackupId {
    BackupId::parse("20261122T112233").unwrap()
}

fn witnessed(server: &Server) -> Archive {
    archive(server.store(), Compression::Gzip).witnessed_by(layout().witnesses(&id()))
}

async fn fetch(archive: &Archive, name: &str, local: &Path) -> Result<Fetched, WalError> {
    archive.fetch(file(name), Partials::Never, &local.join("fetched")).await
}

fn is_gone(fetched: Result<Fetched, WalError>) {
    let error = fetched.unwrap_err();
    assert_eq!(error.retry(), Retry::Soon);
    let said = chain(&error);
    assert!(said.contains("mount the disk of the folder again"), "{said}");
}

/// As many times as there are kinds of what stays: a mark, a full backup, an increment.
#[tokio::test]
async fn a_folder_that_is_unmounted_is_not_believed_to_lack_a_file() {
    let layout = layout();
    let witnesses = layout.witnesses(&id());
    assert_eq!(witnesses[0], layout.own(OwnObject::System));
    for witness in witnesses {
        let server = Server::folder();
        let place = server.folder.path();
        let local = tempfile::tempdir().unwrap();
        let archive = witnessed(&server);
        let path = local.path().join(ONE);
        std::fs::write(&path, segment(ONE, mebibytes(1), 0)).unwrap();
        archive.push(file(ONE), &path).await.unwrap();
        // Nobody can tell yet.
        is_gone(fetch(&archive, TWO, local.path()).await);
        server.store().replace(&witness, Bytes::from_static(b"x")).await.unwrap();
        let there = fetch(&archive, ONE, local.path()).await.unwrap();
        assert!(matches!(there, Fetched::Whole { .. }), "{there:?}");
        assert_eq!(fetch(&archive, TWO, local.path()).await.unwrap(), Fetched::Absent);

        let away = local.path().join("away");
        std::fs::rename(place, &away).unwrap();
        for name in [ONE, TWO, "00000002.history"] {
            is_gone(fetch(&archive, name, local.path()).await);
        }
        assert!(!place.exists());
        std::fs::create_dir(place).unwrap();
        for name in [ONE, TWO] {
            is_gone(fetch(&archive, name, local.path()).await);
        }
        std::fs::remove_dir(place).unwrap();
        std::fs::rename(&away, place).unwrap();
        assert!(matches!(fetch(&archive, ONE, local.path()).await, Ok(Fetched::Whole { .. })));
        assert_eq!(fetch(&archive, TWO, local.path()).await.unwrap(), Fetched::Absent);
    }
}

#[tokio::test]
async fn a_folder_that_is_gone_is_not_made_anew_by_what_is_written() {
    let server = Server::folder();
    let store = server.store();
    let key = layout().own(OwnObject::System);
    let mut begun = store.writer(&layout().backup_object(&id(), "data.tar")).await.unwrap();
    begun.write(Bytes::from_static(b"x")).await.unwrap();
    begun.abort().await.unwrap();
    let away = tempfile::tempdir().unwrap();
    let place = server.folder.path();
    std::fs::rename(place, away.path().join("away")).unwrap();
    let refused = [
        store.create(&key, Bytes::from_static(b"x")).await.map(drop),
        store.replace(&key, Bytes::from_static(b"x")).await,
        store.writer(&key).await.map(drop),
    ];
    for refused in refused {
        let said = chain(&refused.unwrap_err());
        assert!(said.contains("no such folder"), "{said}");
    }
    assert!(!place.exists());
    std::fs::rename(away.path().join("away"), place).unwrap();
}

/// The disk goes while somebody uses it: what is written then would be gone once it is back.
#[tokio::test]
async fn nothing_is_written_where_the_disk_of_an_open_folder_was_mounted() {
    let server = Server::folder();
    let place = server.folder.path();
    let store = server.store();
    let key = layout().own(OwnObject::System);
    store.replace(&key, Bytes::from_static(b"x")).await.unwrap();
    let away = place.with_extension("away");
    std::fs::rename(place, &away).unwrap();
    std::fs::create_dir(place).unwrap();
    let refused = store.replace(&key, Bytes::from_static(b"y")).await.unwrap_err();
    assert_eq!(refused.retry(), Retry::Later);
    assert!(chain(&refused).contains("mount its disk again"), "{refused:?}");
    assert!(store.writer(&key).await.is_err());
    assert_eq!(std::fs::read_dir(place).unwrap().count(), 0, "nothing was written");

    std::fs::remove_dir(place).unwrap();
    std::fs::rename(&away, place).unwrap();
    store.replace(&key, Bytes::from_static(b"y")).await.unwrap();
    // Another disk with the same content is as good.
    std::fs::rename(place, &away).unwrap();
    std::fs::create_dir(place).unwrap();
    std::fs::write(place.join("copied"), b"").unwrap();
    store.replace(&key, Bytes::from_static(b"y")).await.unwrap();
    std::fs::remove_dir_all(&away).unwrap();
}
