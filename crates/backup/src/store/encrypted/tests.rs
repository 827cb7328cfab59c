//! What the layer looks like from above and from below, in a folder.
//!
//! Never repeats what the contract of stores checks for every kind of them.

use super::super::{Created, Patience, StoreError};
use super::*;
use crate::compression::Compression;
use crate::credentials::Credentials;
use crate::destination::{Destination, Place, ServerName};
use crate::encryption::{FormError, NewKey, refuse_other_form};
use crate::layout::{Form, Layout, OwnObject};
use futures_util::TryStreamExt;
use pgherd_core::units::Bytes as Size;
use pgherd_core::wal::WalFile;
use std::path::PathBuf;
use tempfile::TempDir;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

struct Way {
    folder: TempDir,
    prefix: Prefix,
}

impl Way {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), prefix: Prefix::parse("prod").unwrap() }
    }

    fn clear(&self) -> Store {
        let place = Place::Folder(self.folder.path().to_owned());
        let destination = Destination { place, prefix: self.prefix.clone(), endpoint: None };
        let patience = Patience::carrying(Size(1 << 20));
        Store::open(&destination, &Credentials::Folder, patience).unwrap()
    }

    fn store(&self) -> Store {
        self.with(KEY)
    }

    fn with(&self, keys: &str) -> Store {
        self.clear().encrypted(Keyring::parse(keys.as_bytes()).unwrap(), &self.prefix)
    }

    fn layout(&self, form: Form) -> Layout {
        Layout::of(form, &self.prefix, &ServerName::parse("app-db").unwrap())
    }

    fn key(&self, name: &str) -> Key {
        self.layout(Form::Encrypted).wal(WalFile::parse(name).unwrap(), Compression::None)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.path().join(key.as_str())
    }
}

const ONE: &str = "00000001.history";
const TWO: &str = "00000002.history";

fn content(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from(at / 11 % 253).unwrap()).collect()
}

#[tokio::test]
async fn everything_above_sees_what_it_would_see_without() {
    let (way, length) = (Way::new(), (3 << 20) + 17);
    let (store, clear) = (way.store(), content(length));
    let (one, two) = (way.key(ONE), way.key(TWO));
    assert_eq!(store.put_new(&one, clear.clone()).await.unwrap(), Created::Now);
    assert_eq!(store.put_new(&one, clear.clone()).await.unwrap(), Created::WasThere);
    let refused = store.put_new(&one, content(length - 1)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Taken { .. }), "{refused}");
    let mut writer = store.writer(&two).await.unwrap();
    for some in clear.chunks(1_000_003) {
        writer.write(Bytes::copy_from_slice(some)).await.unwrap();
    }
    let size = Size(length as u64);
    assert_eq!(writer.finish().await.unwrap(), size);
    for key in [&one, &two] {
        let stored = std::fs::read(way.path(key)).unwrap();
        assert!(stored.len() > length && !stored.windows(16).any(|some| some == &clear[..16]));
        assert_eq!(store.head(key).await.unwrap().unwrap().size, size);
        assert!(store.get(key, size).await.unwrap().unwrap() == clear);
        let refused = store.get(key, Size(size.0 - 1)).await.unwrap_err();
        assert!(matches!(refused, StoreError::TooLarge { size: found, .. } if found == size));
        let (object, pieces) = store.stream(key).await.unwrap().unwrap();
        assert_eq!(object.size, size);
        let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
        assert!(pieces.concat() == clear);
        // From an end of the object to the other, near its header and far from it, twice.
        for store in [way.store(), store.clone(), store.clone()] {
            for (from, to) in [(0, 1), (70_000, 70_001), (2 << 20, (2 << 20) + 99), (0, length)] {
                let found = store.get_range(key, from as u64..to as u64).await.unwrap();
                assert!(found == clear[from..to], "{from} to {to}");
            }
            let (near, end) = (length as u64 - 7, length as u64 + 1000);
            assert!(store.get_range(key, near..end).await.unwrap() == clear[length - 7..]);
        }
    }
    let listed = store.folder(&way.layout(Form::Encrypted).wals()).await.unwrap();
    assert!(listed.objects.iter().all(|object| object.size == size));
    let empty = store.writer(&way.key("00000003.history")).await.unwrap();
    assert_eq!(empty.finish().await.unwrap(), Size(0));
    let read = store.get(&way.key("00000003.history"), Size(0)).await.unwrap();
    assert_eq!(read.as_deref(), Some(&b""[..]));
}

#[tokio::test]
async fn another_object_in_its_place_is_read_anew() {
    let way = Way::new();
    let (store, key, length) = (way.store(), way.key(ONE), 1 << 20);
    store.replace(&key, content(length)).await.unwrap();
    assert!(store.get_range(&key, 0..9).await.unwrap() == content(9));
    // Another process, with a key that it drew itself.
    way.store().replace(&key, Bytes::from(vec![b'x'; length])).await.unwrap();
    assert_eq!(store.get_range(&key, 600_000..600_003).await.unwrap().as_ref(), b"xxx");
}

#[tokio::test]
async fn what_was_exchanged_or_planted_is_named() {
    let way = Way::new();
    let (store, one, two) = (way.store(), way.key(ONE), way.key(TWO));
    store.replace(&one, content(100)).await.unwrap();
    store.replace(&two, content(100)).await.unwrap();
    std::fs::copy(way.path(&one), way.path(&two)).unwrap();
    let said = |refused: StoreError| said_in_all(&refused);
    let refused = said(store.get(&two, Size(1000)).await.unwrap_err());
    assert!(refused.contains("00000002.history") && refused.contains("at byte 64"), "{refused}");
    assert!(store.get_range(&two, 0..10).await.is_err());
    let (_, pieces) = store.stream(&two).await.unwrap().unwrap();
    assert!(pieces.try_collect::<Vec<Bytes>>().await.is_err());
    std::fs::write(way.path(&two), "planted").unwrap();
    let refused = said(store.get(&two, Size(1000)).await.unwrap_err());
    assert!(refused.contains("it is not encrypted, and a key is declared"), "{refused}");
    let (_, pieces) = store.stream(&two).await.unwrap().unwrap();
    assert!(pieces.try_collect::<Vec<Bytes>>().await.is_err());
    let new = NewKey::draw().unwrap();
    let refused = said(way.with(&new.line).get(&one, Size(1000)).await.unwrap_err());
    let theirs = Keyring::parse(KEY.as_bytes()).unwrap().id();
    let named = [theirs, new.id].iter().all(|id| refused.contains(&id.to_string()));
    assert!(named, "{refused}");
    // Behind a new one the old key still opens, and what is written from then on is under the new one.
    let both = way.with(&format!("{}\n{KEY}", *new.line));
    assert!(both.get(&one, Size(1000)).await.unwrap().unwrap() == content(100));
    both.replace(&two, content(5)).await.unwrap();
    assert!(store.get(&two, Size(1000)).await.is_err());
    assert!(way.with(&new.line).get(&two, Size(1000)).await.unwrap().unwrap() == content(5));
}

#[tokio::test]
async fn a_repository_is_moved_as_a_whole() {
    let way = Way::new();
    let key = way.key(ONE);
    way.store().replace(&key, content(100)).await.unwrap();
    let moved = Way { folder: tempfile::tempdir().unwrap(), prefix: Prefix::parse("a/b").unwrap() };
    let there = moved.key(ONE);
    std::fs::create_dir_all(moved.path(&there).parent().unwrap()).unwrap();
    std::fs::copy(way.path(&key), moved.path(&there)).unwrap();
    assert!(moved.store().get(&there, Size(1000)).await.unwrap().unwrap() == content(100));
}

#[tokio::test]
async fn both_forms_are_never_in_one_place() {
    let mark = |layout: &Layout| layout.own(OwnObject::System);
    for written in [Form::Clear, Form::Encrypted] {
        let way = Way::new();
        let (clear, encrypted) = (way.layout(Form::Clear), way.layout(Form::Encrypted));
        refuse_other_form(&way.clear(), &clear).await.unwrap();
        refuse_other_form(&way.store(), &encrypted).await.unwrap();
        let (store, layout) = match written {
            Form::Clear => (way.clear(), &clear),
            Form::Encrypted => (way.store(), &encrypted),
        };
        let segment = WalFile::parse("000000010000000000000001").unwrap();
        let all = [mark(layout), layout.wal(segment, Compression::None), layout.stream().clone()];
        for key in all {
            store.replace(&key, content(10)).await.unwrap();
            refuse_other_form(&store, layout).await.unwrap();
            let (refused, named) = match written {
                Form::Clear => match refuse_other_form(&way.store(), &encrypted).await {
                    Err(FormError::Clear { key: named }) => (true, named),
                    _ => (false, key.clone()),
                },
                Form::Encrypted => match refuse_other_form(&way.clear(), &clear).await {
                    Err(FormError::Encrypted { key: named }) => (true, named),
                    _ => (false, key.clone()),
                },
            };
            assert!(refused, "{key} is not noticed");
            assert_eq!(named, key);
            store.delete(vec![key]).await.unwrap();
        }
    }
}

fn said_in_all(error: &StoreError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}
