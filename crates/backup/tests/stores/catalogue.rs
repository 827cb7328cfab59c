//! Backups are listed, the window is worked out, and retention is carried out, on what a
//! repository really holds.
//!
//! Never takes a backup: descriptions are enough.

use super::contract::chain;
use super::segments::{file, layout};
use super::servers::Server;
use bytes::Bytes;
use expect_test::expect;
use futures_util::TryStreamExt;
use pgherd_backup::backup_info::{BackupInfo, Point};
use pgherd_backup::catalogue::{Catalogue, CatalogueError, Repository};
use pgherd_backup::compression::Compression;
use pgherd_backup::store::Store;
use pgherd_core::backup::retention::{self, Policy, Sight};
use pgherd_core::backup::window::{Missing, Unusable};
use pgherd_core::backup::{BackupId, Hold, Status};
use pgherd_core::units::{Lsn, Moment, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};
use std::collections::BTreeSet;

const DEBIAN: &str = include_str!("../../src/backup_info/samples/3.4.0.info");
const DAY: i64 = 86_400_000_000;

fn id(day: u32) -> BackupId {
    BackupId::parse(&format!("202611{day:02}T000000")).unwrap()
}

async fn put(store: &Store, key: &pgherd_backup::layout::Key, content: &str) {
    store.replace(key, Bytes::from(content.to_owned())).await.unwrap();
}

/// A backup of November 2026 that lies within one segment.
pub(super) async fn backup(store: &Store, day: u32, timeline: u32, number: u64) {
    let at = |offset: u64, micros: i64| Point {
        lsn: Some(Lsn((number << 24) + offset)),
        segment: None,
        time: Some(Moment(1_793_491_200_000_000 + i64::from(day - 1) * DAY + micros)),
    };
    let info = BackupInfo {
        begin: at(0x28, 0),
        end: at(0x100, 5_000_000),
        timeline: Some(Timeline(timeline)),
        segment_size: Some(SegmentSize::DEFAULT),
        status: Some(Status::Done),
        name: Some(format!("day-{day}")),
        ..BackupInfo::default()
    };
    let folder = layout().backup_info(&id(day));
    put(store, &folder, &info.write()).await;
    for name in ["data.tar", "data_0001.tar.gz", "16384.tar"] {
        put(store, &layout().backup_object(&id(day), name), "x").await;
    }
}

async fn segments(store: &Store, timeline: u32, numbers: std::ops::RangeInclusive<u64>) {
    let puts = numbers.map(|number| async move {
        let name = format!("{timeline:08X}00000000{number:08X}");
        let key = layout().wal(file(&name), Compression::Gzip);
        store.replace(&key, Bytes::from_static(b"x")).await.unwrap();
    });
    futures_util::future::join_all(puts).await;
}

/// Four backups, a promotion, a gap, and things that others left.
async fn filled(store: &Store) -> Repository {
    for (day, timeline, number) in [(2, 1, 3), (4, 1, 6), (6, 2, 10), (8, 2, 14)] {
        backup(store, day, timeline, number).await;
    }
    segments(store, 1, 2..=8).await;
    segments(store, 2, 9..=11).await;
    segments(store, 2, 13..=20).await;
    let history = layout().wal(file("00000002.history"), Compression::None);
    put(store, &history, "1\t0/9000100\tno recovery target specified\n").await;
    let label = layout().wal(file("000000010000000000000003.00000028.backup"), Compression::None);
    put(store, &label, "START WAL LOCATION: 0/3000028\n").await;
    put(store, &layout().backup_object(&id(9), "data.tar"), "being taken").await;
    for name in ["000000010000000000000005", "000000010000000000000006"] {
        put(store, &layout().blockmap(Segment::parse(name).unwrap()), "x").await;
    }
    Repository::new(store.clone(), layout())
}

async fn names(store: &Store) -> String {
    let root = layout().base();
    let mut keys: Vec<String> = Vec::new();
    for folder in [root, layout().wals(), layout().blockmaps()] {
        let objects: Vec<_> = store.list(&folder, None).try_collect().await.unwrap();
        keys.extend(
            objects.iter().map(|object| object.key.as_str().replace("prod/eu/app-db/", "")),
        );
    }
    keys.sort();
    keys.iter().map(|key| format!("{key}\n")).collect::<Vec<_>>().concat()
}

pub(super) fn plan(
    catalogue: &Catalogue,
    unusable: &BTreeSet<BackupId>,
    policy: &str,
) -> retention::Plan {
    let (backups, unreadable) = (catalogue.backups(), catalogue.unreadable());
    let sight = Sight {
        policy: Policy::parse(policy).unwrap(),
        at_least: 1,
        backups: &backups,
        unusable,
        unreadable: &unreadable,
    };
    retention::plan(&sight, Moment(1_793_491_200_000_000 + 8 * DAY))
}

async fn goes_its_way(store: &Store) {
    let repository = filled(store).await;
    let catalogue = repository.list().await.unwrap();
    assert_eq!(catalogue.entries.len(), 4);
    let found = ["day-4", "oldest", "latest"].map(|name| catalogue.find(name).unwrap().id.clone());
    assert_eq!(found, [id(4), id(2), id(8)]);
    let (_, window) = repository.window(&catalogue).await.unwrap();
    // When things were stored is not the same twice.
    let shown: String = window
        .intervals
        .iter()
        .map(|one| format!("{} {} {} {}\n", one.timeline, one.from, one.to, one.backup))
        .chain(window.gaps.iter().map(|gap| format!("gap {} {}\n", gap.first, gap.last)))
        .collect();
    expect![[r#"
        1 0/3000100 0/9000000 20261102T000000
        2 0/9000100 0/C000000 20261102T000000
        2 0/E000100 0/15000000 20261108T000000
        gap 00000002000000000000000C 00000002000000000000000C
    "#]]
    .assert_eq(&shown);

    let unusable = window.unusable.iter().map(|one| one.backup.clone()).collect();
    let plan = plan(&catalogue, &unusable, "3d");
    expect![[r#"
        20261102T000000 removed: the window begins after it
        20261104T000000 kept: the window is recovered from it
        20261106T000000 kept: it ended within the window
        20261108T000000 kept: it ended within the window
        log before 000000010000000000000006 removed
    "#]]
    .assert_eq(&plan.to_string());
    repository.set_hold(&id(2), Some(Hold::Standalone)).await.unwrap();
    let refused = repository.prune(&plan).await.unwrap_err();
    assert!(matches!(refused, CatalogueError::HeldSince { .. }), "{}", chain(&refused));
    repository.set_hold(&id(2), None).await.unwrap();
    let pruned = repository.prune(&plan).await.unwrap();
    assert_eq!((pruned.backups, pruned.log), (vec![id(2)], 5));
    expect![[r#"
        base/20261104T000000/16384.tar
        base/20261104T000000/backup.info
        base/20261104T000000/data.tar
        base/20261104T000000/data_0001.tar.gz
        base/20261106T000000/16384.tar
        base/20261106T000000/backup.info
        base/20261106T000000/data.tar
        base/20261106T000000/data_0001.tar.gz
        base/20261108T000000/16384.tar
        base/20261108T000000/backup.info
        base/20261108T000000/data.tar
        base/20261108T000000/data_0001.tar.gz
        base/20261109T000000/data.tar
        pgherd/blockmap/0000000100000000/000000010000000000000006.zst
        wals/0000000100000000/000000010000000000000006.gz
        wals/0000000100000000/000000010000000000000007.gz
        wals/0000000100000000/000000010000000000000008.gz
        wals/00000002.history
        wals/0000000200000000/000000020000000000000009.gz
        wals/0000000200000000/00000002000000000000000A.gz
        wals/0000000200000000/00000002000000000000000B.gz
        wals/0000000200000000/00000002000000000000000D.gz
        wals/0000000200000000/00000002000000000000000E.gz
        wals/0000000200000000/00000002000000000000000F.gz
        wals/0000000200000000/000000020000000000000010.gz
        wals/0000000200000000/000000020000000000000011.gz
        wals/0000000200000000/000000020000000000000012.gz
        wals/0000000200000000/000000020000000000000013.gz
        wals/0000000200000000/000000020000000000000014.gz
    "#]]
    .assert_eq(&names(store).await);
    // A repetition finds nothing left to do.
    assert_eq!(repository.prune(&plan).await.unwrap().log, 0);
}

#[tokio::test]
async fn a_backup_whose_data_an_expiry_rule_removed_replaces_no_other() {
    let server = Server::folder();
    let store = server.store();
    let repository = filled(&store).await;
    store.delete(vec![layout().backup_object(&id(8), "data.tar")]).await.unwrap();
    let catalogue = repository.list().await.unwrap();
    assert_eq!(catalogue.find("latest").unwrap().id, id(6));
    let (_, window) = repository.window(&catalogue).await.unwrap();
    let lost = Unusable { backup: id(8), missing: Missing::Data };
    assert_eq!(window.unusable, [lost]);
    expect![[r#"
        20261102T000000 removed: enough newer ones are there
        20261104T000000 removed: enough newer ones are there
        20261106T000000 kept: it is one of the newest
        20261108T000000 kept: it is one of the newest
        log before 00000002000000000000000A removed
    "#]]
    .assert_eq(&plan(&catalogue, &BTreeSet::from([id(8)]), "1").to_string());
}

#[tokio::test]
async fn a_history_is_read_where_one_is_whole_and_missed_where_none_is() {
    let server = Server::folder();
    let store = server.store();
    let repository = filled(&store).await;
    let catalogue = repository.list().await.unwrap();
    let seen = async || {
        let (_, window) = repository.window(&catalogue).await.unwrap();
        let entered = window.intervals.iter().any(|one| one.from == Lsn(0x900_0100));
        (entered, window.strays.iter().map(|stray| stray.timeline.0).collect::<Vec<_>>())
    };
    assert_eq!(seen().await, (true, vec![]));
    let plain = layout().wal(file("00000002.history"), Compression::None);
    put(&store, &layout().wal(file("00000002.history"), Compression::Gzip), "damaged").await;
    assert_eq!(seen().await, (true, vec![]));
    put(&store, &plain, "").await;
    assert_eq!(seen().await, (false, vec![2]));
    store.delete(vec![plain]).await.unwrap();
    assert_eq!(seen().await, (false, vec![2]));
}

#[tokio::test]
async fn a_repository_in_a_folder_is_listed_and_pruned() {
    goes_its_way(&Server::folder().store()).await;
}

#[tokio::test]
async fn a_repository_on_s3_is_listed_and_pruned() {
    let server = Server::moto();
    goes_its_way(&server.store()).await;
}

#[tokio::test]
async fn a_damaged_description_hides_no_other_and_stops_retention() {
    let server = Server::folder();
    let store = server.store();
    let repository = filled(&store).await;
    put(&store, &layout().backup_info(&id(4)), "status=DONE\n\u{0}garbage").await;
    put(&store, &layout().backup_info(&id(7)), DEBIAN).await;
    put(&store, &layout().backup_object(&id(7), "annotations/keep"), "standalone").await;
    put(&store, &layout().backup_object(&id(8), "annotations/keep"), "whatever").await;
    let catalogue = repository.list().await.unwrap();
    let shown: String = catalogue
        .entries
        .iter()
        .map(|entry| match &entry.backup {
            Ok(backup) => format!("{} {:?} {:?}\n", entry.id, backup.status, entry.hold),
            Err(why) => format!("{} {why}\n", entry.id),
        })
        .collect();
    expect![[r#"
        20261102T000000 Done None
        20261104T000000 the description of backup 20261104T000000 is damaged or not whole: it lacks timeline
        20261106T000000 Done None
        20261107T000000 Done Some(Standalone)
        20261108T000000 Done Some(Full)
    "#]].assert_eq(&shown);
    let plan = plan(&catalogue, &BTreeSet::new(), "1");
    let pruned = repository.prune(&plan).await.unwrap();
    assert_eq!((pruned.backups, pruned.log), (vec![], 0));
}
