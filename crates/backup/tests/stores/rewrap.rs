//! Another key for what is encrypted already: all of it, whatever breaks it off, and nothing else.
//!
//! Never believes that an object opens without having read all of it.

use super::servers::Server;
use bytes::Bytes;
use futures_util::TryStreamExt;
use pgherd_backup::compression::Compression;
use pgherd_backup::destination::{Prefix, ServerName};
use pgherd_backup::encryption::Keyring;
use pgherd_backup::layout::{Form, Key, Layout};
use pgherd_backup::rewrap::{Outcome, Progress, RewrapError, rewrap};
use pgherd_backup::store::Store;
use pgherd_core::backup::BackupId;
use pgherd_core::wal::WalFile;
use tokio::sync::watch;

const OLD: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
/// Larger than what is written in one request, and no multiple of anything.
const LARGE: usize = (37 << 20) + 12_345;

fn layout() -> Layout {
    let (prefix, server) = (Prefix::parse("prod/a b").unwrap(), ServerName::parse("db").unwrap());
    Layout::of(Form::Encrypted, &prefix, &server)
}

fn opened(server: &Server, lines: &[&str]) -> Store {
    let prefix = Prefix::parse("prod/a b").unwrap();
    server.store().encrypted(Keyring::parse(lines.join("\n").as_bytes()).unwrap(), &prefix)
}

fn content(seed: usize, length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251 + seed) % 256).unwrap()).collect()
}

/// What is put there: log of several sizes, one of them empty, and a part of a backup.
fn objects(layout: &Layout) -> Vec<(Key, Bytes)> {
    let log = |number: usize, length| {
        let name = WalFile::parse(&format!("0000000100000000000000{number:02X}")).unwrap();
        (layout.wal(name, Compression::None), content(number, length))
    };
    let id = BackupId::parse("20261122T112233").unwrap();
    vec![
        log(1, 0),
        log(2, 1),
        log(3, 64 << 10),
        log(4, (64 << 10) + 1),
        log(5, 3 << 20),
        (layout.backup_object(&id, "data.tar"), content(6, LARGE)),
        (layout.backup_info(&id), content(7, 900)),
    ]
}

async fn fill(store: &Store, objects: &[(Key, Bytes)]) {
    for (key, content) in objects {
        if content.len() < LARGE {
            store.put_new(key, content.clone()).await.unwrap();
            continue;
        }
        let mut writer = store.writer(key).await.unwrap();
        for some in content.chunks(5 << 20) {
            writer.write(content.slice_ref(some)).await.unwrap();
        }
        writer.finish().await.unwrap();
    }
}

/// Whether all of an object comes out as it went in, also a part of it.
async fn opens(store: &Store, key: &Key, content: &Bytes) -> bool {
    let Ok(Some((_, pieces))) = store.stream(key).await else { return false };
    let Ok(pieces) = pieces.try_collect::<Vec<_>>().await else { return false };
    let end = content.len() as u64;
    let part = store.get_range(key, end / 2..end).await.unwrap();
    assert_eq!(part.as_ref(), &content[content.len() / 2..]);
    pieces.concat() == content.as_ref()
}

async fn opening(store: &Store, objects: &[(Key, Bytes)]) -> usize {
    let mut open = 0;
    for (key, content) in objects {
        open += usize::from(opens(store, key, content).await);
    }
    open
}

async fn run(store: &Store) -> Result<Outcome, RewrapError> {
    rewrap((store, &layout()), watch::channel(Progress::default()).0).await
}

/// Breaks it off as soon as so many objects were written anew; how many were.
async fn broken_off(store: &Store, after: u64) -> u64 {
    let (tell, mut told) = watch::channel(Progress::default());
    let layout = layout();
    let work = rewrap((store, &layout), tell);
    tokio::select! {
        biased;
        now = told.wait_for(|now| now.rewrapped >= after) => now.unwrap().rewrapped,
        done = work => done.unwrap().rewrapped,
    }
}

async fn check(server: &Server) {
    let layout = layout();
    let objects = objects(&layout);
    let (old, both, new) =
        (opened(server, &[OLD]), opened(server, &[NEW, OLD]), opened(server, &[NEW]));
    fill(&old, &objects).await;
    assert_eq!(opening(&new, &objects).await, 0);
    let refused = run(&new).await.unwrap();
    assert_eq!((refused.unopened_in_all, refused.rewrapped), (7, 0));
    assert!(refused.unopened[0].contains("encrypted with key"), "{:?}", refused.unopened);

    // Whatever was done when it was broken off: with both keys everything opens all the time.
    let mut rounds = 0;
    while opening(&new, &objects).await < objects.len() {
        broken_off(&both, 1).await;
        assert_eq!(opening(&both, &objects).await, objects.len());
        rounds += 1;
        assert!(rounds <= objects.len(), "it does not get on");
    }
    assert!(rounds > 1, "it was never broken off");
    assert_eq!(opening(&old, &objects).await, 0, "the old key is of no use any more");

    let done = run(&both).await.unwrap();
    assert_eq!((done.objects, done.rewrapped, done.unopened_in_all), (7, 0, 0));
    assert_eq!(done.key, Keyring::parse(NEW.as_bytes()).unwrap().id());
    assert_eq!(run(&new).await.unwrap(), done);
    // There is nothing beside what was there before.
    let root = layout.base();
    let listed: Vec<_> = both.list(&root, None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn in_a_folder_everything_is_wrapped_anew() {
    check(&Server::folder()).await;
}

#[tokio::test]
async fn on_s3_everything_is_wrapped_anew() {
    check(&Server::s3s()).await;
    check(&Server::moto()).await;
}

#[tokio::test]
async fn on_azure_everything_is_wrapped_anew() {
    check(&Server::azurite()).await;
}

#[tokio::test]
async fn what_is_damaged_or_clear_is_named_and_all_else_is_done() {
    let server = Server::folder();
    let layout = layout();
    let objects = objects(&layout);
    let (old, both) = (opened(&server, &[OLD]), opened(&server, &[NEW, OLD]));
    fill(&old, &objects).await;
    let path = |key: &Key| server.folder.path().join(key.as_str());
    let mut damaged = std::fs::read(path(&objects[1].0)).unwrap();
    damaged[30] ^= 1;
    std::fs::write(path(&objects[1].0), &damaged).unwrap();
    std::fs::write(path(&objects[2].0), "nobody encrypted this, and it is longer than a header is")
        .unwrap();
    let done = run(&both).await.unwrap();
    assert_eq!((done.objects, done.rewrapped, done.unopened_in_all), (7, 5, 2));
    let said = done.unopened.join("\n");
    assert!(said.contains("header is damaged") && said.contains("is not encrypted"), "{said}");
    // What cannot be opened is left as it was found.
    assert_eq!(std::fs::read(path(&objects[1].0)).unwrap(), damaged);
}

#[tokio::test]
async fn only_what_is_encrypted_has_keys_to_wrap() {
    let server = Server::folder();
    let (prefix, name) = (Prefix::parse("p").unwrap(), ServerName::parse("db").unwrap());
    let clear = Layout::new(&prefix, &name);
    let tell = watch::channel(Progress::default()).0;
    let refused = rewrap((&server.store(), &clear), tell).await.unwrap_err();
    assert!(matches!(refused, RewrapError::Clear));
}
