//! Increments that read only what the log names, against the files that were there.
//!
//! Never with hints that nobody logs: checksums have PostgreSQL log the first one, and no server
//! writes while its files are compared.

use super::deeds::{Deeds, Random};
use crate::base::chains::{assert_same, dumped};
use crate::base::folders::{Target, layout};
use crate::base::increments::{restored, take_on};
use crate::base::postgres::{Server, folder};
use crate::base::real::recovered;
use crate::base::trees::{Tree, read};
use crate::servers::Server as Storage;
use pgherd_backup::base::scan::{Fork, Part, Relation as File};
use pgherd_backup::base::{Looked, Taken};
use pgherd_backup::blockmap::{Past, Range, Unmapped, gather};
use pgherd_backup::compression::Compression;
use pgherd_backup::restore::Into;
use pgherd_backup::restore::recovery::Target as To;
use pgherd_backup::store::Store;
use pgherd_backup::wal::{Archive, Settings};
use pgherd_core::units::{Bytes, Lsn};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};
use std::collections::BTreeSet;
use std::path::Path;

/// How many increments a chain has.
const ROUNDS: &str = "PGHERD_BLOCKMAP_ROUNDS";
/// What is done, and in which order.
const SEED: &str = "PGHERD_BLOCKMAP_SEED";

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |said| said.parse().unwrap())
}

/// What the agent does with each file that PostgreSQL has finished. Some maps get lost.
struct Shipping {
    archive: Archive,
    done: BTreeSet<WalFile>,
}

impl Shipping {
    fn new(store: &Store) -> Self {
        let settings = Settings {
            compression: Compression::Gzip,
            system: None,
            memory: Bytes(64 << 20),
            processors: 1,
        };
        Self { archive: Archive::new(store.clone(), layout(), settings), done: BTreeSet::new() }
    }

    async fn ship(&mut self, from: &Path, mut losing: Option<&mut Random>) {
        let mut lost = 0;
        let mut names: Vec<_> =
            std::fs::read_dir(from).unwrap().map(|one| one.unwrap().path()).collect();
        names.sort();
        for path in names {
            let file = WalFile::parse(path.file_name().unwrap().to_str().unwrap()).unwrap();
            if !self.done.insert(file) {
                continue;
            }
            let (_, map) = self.archive.push_and_map(file, &path).await.unwrap();
            let Some(map) = map else { continue };
            let map = map.unwrap_or_else(|why| panic!("{file}: {why}"));
            let is_lost = losing.as_mut().is_some_and(|random| random.below(12) == 0);
            if lost < 4 && is_lost {
                lost += 1;
            } else {
                self.archive.put_map(map).await.unwrap();
            }
        }
    }
}

fn main_forks(part: Part, tree: &Tree) -> Vec<&String> {
    let is_logged = |name: &str| {
        let (folder, file) = name.rsplit_once('/').unwrap();
        let number = file.split('.').next().unwrap();
        !tree.contains_key(&format!("{folder}/{number}_init"))
    };
    let is_main = |name: &str| File::of(part, name).is_some_and(|file| file.fork == Fork::Main);
    tree.keys().filter(|name| is_main(name) && is_logged(name)).collect()
}

/// Byte for byte.
fn assert_equal((part, live): (Part, &Path), restored: &Path, round: u64) {
    let (live, restored) = (read(live), read(restored));
    assert_eq!(main_forks(part, &live), main_forks(part, &restored), "round {round}");
    for name in main_forks(part, &live) {
        let pages = |tree: &Tree| {
            let whole = tree[name].clone().unwrap();
            whole.chunks(8192).map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        let (live, restored) = (pages(&live), pages(&restored));
        assert_eq!(live.len(), restored.len(), "pages of {name} in round {round}");
        let other = live.iter().zip(&restored).position(|(one, other)| one != other);
        assert_eq!(other, None, "a page of {name} in round {round}");
    }
}

async fn each_is_what_was_there(seed: u64) {
    let base = folder();
    let settings = "max_prepared_transactions = 5\nbgwriter_lru_maxpages = 0\nwal_keep_size = 4\n";
    let mut server = Server::with(base.path(), &["-k", "--wal-segsize=1"], settings);
    let storage = Storage::folder();
    let store = storage.store();
    let archived = base.path().join("archive");
    let mut shipping = Shipping::new(&store);
    let mut deeds = Deeds::new(&mut server, base.path(), Random(seed)).await;
    deeds.indexed().await;
    let mut all: Vec<Taken> = Vec::new();
    for round in 0..=asked(ROUNDS, 8) {
        for _ in 0..=deeds.random.below(8) {
            deeds.any().await;
        }
        if deeds.random.below(4) == 0 {
            deeds.promoted().await;
            for _ in 0..deeds.random.below(3) {
                deeds.any().await;
            }
        }
        deeds.sql("checkpoint").await;
        deeds.archive().await;
        shipping.ship(&archived, Some(&mut deeds.random)).await;
        let number = u32::try_from(round).unwrap();
        let mut session = deeds.server.connect().await;
        let taken = take_on(&store, &mut session, (number, number.checked_sub(1))).await.unwrap();
        let expected = if round == 0 { Looked::Full } else { Looked::ByMap };
        assert_eq!(
            (&taken.looked, taken.bad_pages_in_all),
            (&expected, 0),
            "{seed}, round {round}"
        );
        let target = Target::new();
        restored(&store, number, (&target, Into::Empty)).await.unwrap();
        assert_equal((Part::Data, &deeds.server.data), &target.data(), round);
        let space = base.path().join("tablespace");
        assert_equal((Part::Tablespace(1), &space), &target.space(), round);
        all.push(taken);
    }
    deeds.archive().await;
    drop(deeds);
    let last = u32::try_from(all.len() - 1).unwrap();
    let target = Target::new();
    restored(&store, last, (&target, Into::Empty)).await.unwrap();
    let copy = recovered(&target, &archived, To::Latest);
    copy.connect().await.until("select not pg_is_in_recovery()").await;
    // A sequence goes on behind what it had in stock.
    let rows = |port| {
        let lines = dumped(port).into_iter();
        lines.filter(|line| !line.contains("setval")).collect::<Vec<_>>()
    };
    assert_same(&rows(server.port), &rows(copy.port), last);
}

#[tokio::test]
async fn whatever_changes_increments_by_maps_are_what_was_there() {
    each_is_what_was_there(asked(SEED, 1)).await;
}

#[tokio::test]
async fn and_so_they_are_for_another_seed() {
    each_is_what_was_there(asked(SEED, 1) + 1000).await;
}

/// Without the server's own log, with a map or a segment missing, and with another server's log.
#[tokio::test]
async fn what_is_missing_of_the_log_is_never_overlooked() {
    let base = folder();
    let kept = "wal_keep_size = 1000\n";
    let mut server = Server::with(base.path(), &["-k", "--wal-segsize=1"], kept);
    let storage = Storage::folder();
    let (store, layout) = (storage.store(), layout());
    let mut shipping = Shipping::new(&store);
    let mut deeds = Deeds::new(&mut server, base.path(), Random(7)).await;
    let from = Lsn::parse(&deeds.sql("select pg_current_wal_lsn()").await).unwrap();
    deeds.indexed().await;
    deeds.archive().await;
    let to = Lsn::parse(&deeds.sql("select pg_current_wal_lsn()").await).unwrap();
    // What comes after the last one that is wanted has it archived.
    deeds.archive().await;
    let archived = base.path().join("archive");
    shipping.ship(&archived, None).await;
    let mut session = deeds.server.connect().await;
    let taken = take_on(&store, &mut session, (0, None)).await.unwrap();
    let size = SegmentSize::new(Bytes(1 << 20)).unwrap();
    let (timeline, system) = (taken.started.timeline, taken.started.system);
    // So that all of the last segment is wanted.
    let to = Segment::holding(timeline, to, size).start(size);
    let range = Range { past: Past::none(timeline), from, to, size, system };
    let nothing = tempfile::tempdir().unwrap();
    let asked = async |log: &Path| gather((&store, &layout), log, &range).await;
    let own = deeds.server.data.join("pg_wal");
    let whole = asked(nothing.path()).await.unwrap();
    assert_eq!(asked(&own).await.unwrap(), whole);

    let second = Segment::holding(timeline, from, size).next(size);
    store.delete(vec![layout.blockmap(second)]).await.unwrap();
    assert_eq!(asked(nothing.path()).await.unwrap(), whole);
    let stored = layout.wal(WalFile::Segment(second), Compression::Gzip);
    store.delete(vec![stored]).await.unwrap();
    assert_eq!(asked(nothing.path()).await, Err(Unmapped::Missing(second)));
    assert_eq!(asked(&own).await.unwrap(), whole);

    // The same position in a log that is not the one whose maps are stored.
    let last = Segment::holding(timeline, Lsn(to.0 - 1), size);
    let before = last.previous(size).unwrap();
    let other = tempfile::tempdir().unwrap();
    for one in std::iter::successors(Some(second), |one| Some(one.next(size)))
        .take_while(|one| *one <= last)
    {
        std::fs::copy(archived.join(one.to_string()), other.path().join(one.to_string())).unwrap();
    }
    assert_eq!(asked(other.path()).await.unwrap(), whole);
    let path = other.path().join(before.to_string());
    let mut content = std::fs::read(&path).unwrap();
    let at = content.len() - 100;
    content[at] ^= 1;
    std::fs::write(&path, content).unwrap();
    let refused = asked(other.path()).await.unwrap_err();
    assert!(
        matches!(refused, Unmapped::OfAnother(one) | Unmapped::Unreadable(one, _) if one == before),
        "{refused}"
    );
    assert_eq!(taken.looked, Looked::Full);
}
