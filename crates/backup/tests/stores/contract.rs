//! What every store must do, whoever makes it.
//!
//! Never asks for more than the repository needs.

use super::servers::Server;
use bytes::Bytes;
use futures_util::TryStreamExt;
use pgherd_backup::compression::Compression;
use pgherd_backup::destination::{Prefix, ServerName};
use pgherd_backup::layout::{Key, Layout, OwnObject};
use pgherd_backup::store::{Created, Exclusive, Store, StoreError, Writer};
use pgherd_core::units::Bytes as Size;
use pgherd_core::wal::WalFile;
use std::error::Error;

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    check(&Server::folder(), Races::OneWins).await;
}

#[tokio::test]
async fn s3_of_one_maker_keeps_the_contract() {
    check(&Server::s3s(), Races::Lost).await;
}

#[tokio::test]
async fn s3_of_another_maker_keeps_the_contract() {
    check(&Server::moto(), Races::OneWins).await;
}

#[tokio::test]
async fn azure_keeps_the_contract() {
    check(&Server::azurite(), Races::OneWins).await;
}

#[tokio::test]
async fn with_everything_encrypted_all_of_them_keep_it() {
    check(&Server::folder().encrypted(), Races::OneWins).await;
    check(&Server::s3s().encrypted(), Races::Lost).await;
    check(&Server::moto().encrypted(), Races::OneWins).await;
    check(&Server::azurite().encrypted(), Races::OneWins).await;
}

/// What becomes of creations at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Races {
    OneWins,
    /// The server looks first and writes then. Nothing we can do makes up for that.
    Lost,
}

async fn check(server: &Server, races: Races) {
    let exclusive = Exclusive::Honoured;
    let store = server.store();
    let layout = layout("prod/a b+c=%20ü", "app-db");
    assert_eq!(store.folder(&layout.base()).await.unwrap().folders, []);
    assert_eq!(store.probe(&layout.own(OwnObject::Probe)).await.unwrap(), exclusive);
    // Another process finds the object there.
    assert_eq!(server.store().probe(&layout.own(OwnObject::Probe)).await.unwrap(), exclusive);

    creates_once(&store, &layout).await;
    creates_once(&server.store(), &self::layout("unprobed", "app-db")).await;
    reads(&store, &layout).await;
    lists(&store, &layout).await;
    if races == Races::OneWins {
        one_of_many_creates(&store, &layout).await;
    }
    writes_in_parts(&store, &layout).await;
    deletes_many(&store, &self::layout("many", "app-db")).await;
}

fn layout(prefix: &str, server: &str) -> Layout {
    Layout::new(&Prefix::parse(prefix).unwrap(), &ServerName::parse(server).unwrap())
}

fn key(layout: &Layout, name: &str) -> Key {
    layout.wal(WalFile::parse(name).unwrap(), Compression::None)
}

async fn creates_once(store: &Store, layout: &Layout) {
    let key = key(layout, "000000010000000000000001");
    let create = |content: &'static [u8]| store.put_new(&key, Bytes::from_static(content));
    assert_eq!(create(b"first").await.unwrap(), Created::Now);
    assert_eq!(create(b"first").await.unwrap(), Created::WasThere);
    for other in [&b"other"[..], b"first and more", b""] {
        let refused = create(other).await.unwrap_err();
        assert!(matches!(refused, StoreError::Taken { .. }), "{refused}");
    }
    assert_eq!(content(store, &key).await.as_deref(), Some(&b"first"[..]));
    store.replace(&key, Bytes::from_static(b"second")).await.unwrap();
    assert_eq!(content(store, &key).await.as_deref(), Some(&b"second"[..]));
    store.delete(vec![key.clone(), key.clone()]).await.unwrap();
    assert_eq!(content(store, &key).await, None);
    assert_eq!(create(b"third").await.unwrap(), Created::Now);
}

async fn content(store: &Store, key: &Key) -> Option<Bytes> {
    store.get(key, Size(1 << 20)).await.unwrap()
}

async fn reads(store: &Store, layout: &Layout) {
    let (there, absent) = (key(layout, "00000002.history"), key(layout, "00000009.history"));
    store.put_new(&there, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(store.head(&there).await.unwrap().unwrap().size, Size(10));
    assert_eq!(store.head(&absent).await.unwrap(), None);
    assert_eq!(store.get(&absent, Size(10)).await.unwrap(), None);
    assert_eq!(store.get_range(&there, 3..6).await.unwrap().as_ref(), b"345");
    assert_eq!(store.get_range(&there, 8..99).await.unwrap().as_ref(), b"89");
    let refused = store.get(&there, Size(9)).await.unwrap_err();
    assert!(matches!(refused, StoreError::TooLarge { .. }), "{refused}");
    let refused = store.get_range(&absent, 0..1).await.unwrap_err();
    assert!(matches!(refused, StoreError::Read { .. }), "{refused}");
    let empty = key(layout, "00000003.history");
    store.put_new(&empty, Bytes::new()).await.unwrap();
    assert_eq!(store.put_new(&empty, Bytes::new()).await.unwrap(), Created::WasThere);
    assert_eq!(content(store, &empty).await.as_deref(), Some(&b""[..]));
}

async fn lists(store: &Store, layout: &Layout) {
    for name in ["0000000100000001000000A1", "0000000100000001000000A2", "0000000100000001000000A3"]
    {
        store.put_new(&key(layout, name), Bytes::from_static(b"x")).await.unwrap();
    }
    let names = |keys: Vec<Key>| {
        let mut names: Vec<String> = keys.iter().map(|key| key.name().to_owned()).collect();
        names.sort();
        names
    };
    let wals = layout.wals();
    let all: Vec<_> = store.list(&wals, None).try_collect().await.unwrap();
    assert_eq!(
        names(all.into_iter().map(|object| object.key).collect()),
        [
            "000000010000000000000001",
            "0000000100000001000000A1",
            "0000000100000001000000A2",
            "0000000100000001000000A3",
            "00000002.history",
            "00000003.history",
        ]
    );
    let folder = layout.wal_folder(WalFile::parse("0000000100000001000000A1").unwrap());
    let after = key(layout, "0000000100000001000000A1");
    let rest: Vec<_> = store.list(&folder, Some(&after)).try_collect().await.unwrap();
    let rest = names(rest.into_iter().map(|object| object.key).collect());
    assert_eq!(rest, ["0000000100000001000000A2", "0000000100000001000000A3"]);
    let found = store.folder(&wals).await.unwrap();
    assert_eq!(names(found.folders), ["0000000100000000", "0000000100000001"]);
    let objects = found.objects.into_iter().map(|object| object.key).collect();
    assert_eq!(names(objects), ["00000002.history", "00000003.history"]);
}

async fn one_of_many_creates(store: &Store, layout: &Layout) {
    let key = key(layout, "00000004.history");
    let contents: Vec<Bytes> = (0..8).map(|number| Bytes::from(format!("by {number}"))).collect();
    let attempts = contents.iter().map(|content| store.put_new(&key, content.clone()));
    let done = futures_util::future::join_all(attempts).await;
    let winners: Vec<usize> =
        (0..done.len()).filter(|at| matches!(done[*at], Ok(Created::Now))).collect();
    assert_eq!(winners.len(), 1, "{done:?}");
    assert_eq!(content(store, &key).await.as_ref(), contents.get(winners[0]));
}

async fn writes_in_parts(store: &Store, layout: &Layout) {
    let (whole, aborted) = (key(layout, "00000005.history"), key(layout, "00000006.history"));
    let block: Bytes = (0..3_000_017_u32).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    let mut writer: Writer = store.writer(&whole).await.unwrap();
    for _ in 0..13 {
        writer.write(block.clone()).await.unwrap();
    }
    assert_eq!(store.head(&whole).await.unwrap(), None);
    let size = writer.finish().await.unwrap();
    assert_eq!(size, Size(13 * block.len() as u64));
    assert_eq!(store.head(&whole).await.unwrap().unwrap().size, size);
    for at in 0..13 {
        let from = at * block.len() as u64;
        let read = store.get_range(&whole, from..from + block.len() as u64).await.unwrap();
        assert!(read == block, "block {at} differs");
    }
    let mut writer = store.writer(&aborted).await.unwrap();
    for _ in 0..7 {
        writer.write(block.clone()).await.unwrap();
    }
    writer.abort().await.unwrap();
    assert_eq!(store.head(&aborted).await.unwrap(), None);
    let small = store.writer(&aborted).await.unwrap();
    assert_eq!(small.finish().await.unwrap(), Size(0));
}

async fn deletes_many(store: &Store, layout: &Layout) {
    let keys: Vec<Key> =
        (1..=1100).map(|timeline| key(layout, &format!("{timeline:08X}.history"))).collect();
    for some in keys.chunks(50) {
        let puts = some.iter().map(|key| store.replace(key, Bytes::from_static(b"x")));
        futures_util::future::try_join_all(puts).await.unwrap();
    }
    let listed: Vec<_> = store.list(&layout.wals(), None).try_collect().await.unwrap();
    assert_eq!(listed.len(), keys.len());
    store.delete(keys).await.unwrap();
    let listed: Vec<_> = store.list(&layout.wals(), None).try_collect().await.unwrap();
    assert_eq!(listed, []);
}

/// An error with all that caused it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
