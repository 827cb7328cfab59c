//! Backups that build on each other, of folders that look like PostgreSQL's.
//!
//! Never says whether PostgreSQL would start in one: what was there is compared, byte for byte.

use crate::base::folders::{Target, layout};
use crate::base::trees::{Tree, assert_same, noise, read, write};
use crate::servers::Server;
use pgherd_backup::base::{
    BackupError, Left, Options, Pages, Progress, Refused, Request, Session, Started, Stopped,
    Taken, Unfit, clear, sweep, take,
};
use pgherd_backup::catalogue::Repository;
use pgherd_backup::layout::Layout;
use pgherd_backup::restore::{self, Into, RestoreError, Restored, restore, verify};
use pgherd_backup::store::Store;
use pgherd_core::backup::increment::chain;
use pgherd_core::backup::retention::{Policy, Sight, without};
use pgherd_core::backup::{BackupId, Hold};
use pgherd_core::units::{Lsn, Moment, SystemId, Timeline};
use pgherd_core::wal::SegmentSize;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::sync::watch;

const PAGE: usize = 8192;

pub(crate) fn id(number: u32) -> BackupId {
    BackupId::parse(&format!("20261122T1122{number:02}")).unwrap()
}

/// Takes one that builds on another one.
pub(crate) async fn take_on(
    store: &Store,
    session: &mut impl Session,
    (number, base): (u32, Option<u32>),
) -> Result<Taken, BackupError> {
    let (layout, own, base) = (layout(), id(number), base.map(id));
    let request = Request {
        store,
        layout: &layout,
        id: &own,
        name: None,
        by: "test",
        base: base.as_ref(),
        options: Options::default(),
    };
    let progress = watch::Sender::new(Progress::default());
    take(&request, session, progress, std::future::pending()).await
}

/// A folder whose pages say when they were changed, and a server that says the same.
struct Cluster {
    folder: TempDir,
    begin: u64,
}

fn page(lsn: u64, seed: u64) -> Vec<u8> {
    let mut page = noise(seed, PAGE);
    let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap().to_le_bytes();
    page[..4].copy_from_slice(&half(lsn >> 32));
    page[4..8].copy_from_slice(&half(lsn));
    page
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Self { folder, begin: 0x800_0028 };
        let (data, space) = (cluster.data(), cluster.space());
        write(&data, "PG_VERSION", b"15\n");
        write(&data, "global/pg_control", &noise(1, PAGE));
        write(&data, "pg_xact/0000", &noise(2, 1000));
        std::fs::create_dir_all(data.join("pg_notify")).unwrap();
        let relation = |pages: u64| (0..pages).flat_map(|n| page(n + 1, n)).collect::<Vec<_>>();
        write(&data, "base/5/16385", &relation(1100));
        write(&data, "base/5/16385_vm", &noise(3, PAGE));
        write(&data, "base/5/16386", &relation(9));
        write(&data, "base/5/16387", b"");
        write(&space, "PG_15_202209061/5/16388", &relation(20));
        cluster
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn space(&self) -> PathBuf {
        self.folder.path().join("space")
    }

    fn put(&self, file: &str, block: u64, content: &[u8]) {
        let file = std::fs::File::options().write(true).open(self.data().join(file)).unwrap();
        file.write_all_at(content, block * PAGE as u64).unwrap();
    }

    /// Time goes on: what is changed from now on was changed after the last backup began.
    fn goes_on(&mut self) {
        self.begin += 1000;
    }

    fn trees(&self) -> (Tree, Tree) {
        (read(&self.data()), read(&self.space()))
    }
}

impl Session for Cluster {
    async fn start(&mut self, _label: &str) -> Result<Started, Refused> {
        let data = self.data();
        Ok(Started {
            begin: Lsn(self.begin),
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
            tablespaces: vec![pgherd_backup::backup_info::Tablespace {
                name: "space".to_owned(),
                oid: 16384,
                location: self.space().to_str().unwrap().to_owned(),
            }],
        })
    }

    async fn stop(&mut self) -> Result<Stopped, Refused> {
        let label = format!("START WAL LOCATION: {}\n", Lsn(self.begin));
        Ok(Stopped { end: Lsn(self.begin + 10), at: Moment(1_795_346_562_014_538), label })
    }
}

pub(crate) async fn restored(
    store: &Store,
    number: u32,
    (target, into): (&Target, Into),
) -> Result<Restored, RestoreError> {
    let (layout, id, data) = (layout(), id(number), target.data());
    let request = restore::Request {
        store,
        layout: &layout,
        id: &id,
        folder: &data,
        tablespaces: &BTreeMap::from([("space".to_owned(), target.space())]),
        into,
        options: restore::Options::default(),
    };
    restore(&request, watch::Sender::new(Progress::default())).await
}

fn check(expected: &(Tree, Tree), target: &Target) {
    let mut data = read(&target.data());
    assert!(data.remove("backup_label").is_some() && data.remove("backup_manifest").is_some());
    data.remove("pg_tblspc");
    data.remove("pg_wal");
    assert_same(&expected.0, &data);
    assert_same(&expected.1, &read(&target.space()));
}

async fn verified(store: &Store, number: u32) -> restore::Verified {
    let (layout, options) = (layout(), restore::Options::default());
    let progress = watch::Sender::new(Progress::default());
    verify((store, &layout), &id(number), options, progress).await.unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let tree = read(folder);
    tree.into_iter().filter(|(_, content)| content.is_some()).map(|(name, _)| name).collect()
}

#[derive(Debug, Clone)]
enum Change {
    /// In the log, as most changes are.
    Page {
        file: usize,
        block: u64,
    },
    /// Not in the log.
    Hint {
        file: usize,
        block: u64,
    },
    /// Allocated, and nothing in it yet.
    Zeros {
        file: usize,
        block: u64,
    },
    Truncate {
        file: usize,
        pages: u64,
    },
    Extend {
        file: usize,
        pages: u64,
    },
    Drop {
        file: usize,
    },
    /// A file that was copied with what its pages said.
    Copy {
        from: usize,
        to: usize,
    },
    Map,
}

const FILES: [&str; 5] =
    ["base/5/16385", "base/5/16386", "base/5/16387", "base/6/16385", "base/5/16385.1"];

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let (file, block) = (0..FILES.len(), 0..1200_u64);
    let at = (file.clone(), block.clone());
    let change = prop_oneof![
        8 => at.clone().prop_map(|(file, block)| Change::Page { file, block }),
        2 => at.clone().prop_map(|(file, block)| Change::Hint { file, block }),
        2 => at.clone().prop_map(|(file, block)| Change::Zeros { file, block }),
        1 => at.clone().prop_map(|(file, pages)| Change::Truncate { file, pages }),
        1 => (file.clone(), 0..600_u64).prop_map(|(file, pages)| Change::Extend { file, pages }),
        1 => file.clone().prop_map(|file| Change::Drop { file }),
        1 => (file.clone(), file).prop_map(|(from, to)| Change::Copy { from, to }),
        1 => Just(Change::Map),
    ];
    proptest::collection::vec(change, 0..25)
}

fn make(cluster: &Cluster, change: &Change, number: u64) {
    let path = |file: usize| cluster.data().join(FILES[file]);
    let pages = |file: usize| path(file).metadata().map_or(0, |it| it.len() / PAGE as u64);
    let lsn = cluster.begin + number;
    let open = |file: usize| std::fs::File::options().write(true).open(path(file)).ok();
    match *change {
        Change::Page { file, block } if block < pages(file) => {
            cluster.put(FILES[file], block, &page(lsn, lsn + block));
        }
        Change::Zeros { file, block } if block < pages(file) => {
            cluster.put(FILES[file], block, &[0; PAGE]);
        }
        Change::Hint { file, block } if block < pages(file) => {
            let mut whole = std::fs::read(path(file)).unwrap();
            whole[usize::try_from(block).unwrap() * PAGE + 5000] ^= 1;
            std::fs::write(path(file), whole).unwrap();
        }
        Change::Truncate { file, pages: left } if left < pages(file) => {
            open(file).unwrap().set_len(left * PAGE as u64).unwrap();
        }
        Change::Extend { file, pages: more } if path(file).exists() => {
            let from = pages(file);
            for block in 0..more {
                cluster.put(FILES[file], from + block, &page(lsn, lsn * 7 + block));
            }
        }
        Change::Drop { file } => drop(std::fs::remove_file(path(file))),
        Change::Copy { from, to } if from != to && path(from).exists() => {
            std::fs::create_dir_all(path(to).parent().unwrap()).unwrap();
            std::fs::copy(path(from), path(to)).unwrap();
        }
        Change::Map => write(&cluster.data(), "base/5/16385_vm", &noise(lsn, PAGE)),
        Change::Page { .. }
        | Change::Zeros { .. }
        | Change::Hint { .. }
        | Change::Truncate { .. }
        | Change::Extend { .. }
        | Change::Copy { .. } => {}
    }
}

async fn each_is_restored_as_it_was(rounds: Vec<Vec<Change>>) {
    let (mut cluster, server) = (Cluster::new(), Server::folder());
    let store = server.store();
    take_on(&store, &mut cluster, (0, None)).await.unwrap();
    let mut all = vec![cluster.trees()];
    for (number, changes) in (1..).zip(rounds) {
        for (at, change) in (0..).zip(&changes) {
            make(&cluster, change, at);
        }
        cluster.goes_on();
        let taken = take_on(&store, &mut cluster, (number, Some(number - 1))).await.unwrap();
        assert_eq!((taken.unfit, taken.builds_on), (None, Some(id(number - 1))));
        all.push(cluster.trees());
    }
    let existing = Target::new();
    restored(&store, 0, (&existing, Into::Empty)).await.unwrap();
    for (number, expected) in (0..).zip(&all) {
        let target = Target::new();
        restored(&store, number, (&target, Into::Empty)).await.unwrap();
        check(expected, &target);
        // Over the one before, and over itself.
        restored(&store, number, (&existing, Into::Existing)).await.unwrap();
        check(expected, &existing);
        let again = restored(&store, number, (&existing, Into::Existing)).await.unwrap();
        assert_eq!(again.bytes.0 - again.unchanged.0, 8192);
        let found = verified(&store, number).await;
        assert_eq!((found.damages_in_all, found.bytes), (0, again.bytes), "{:?}", found.damages);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_changes_each_backup_is_restored_as_it_was(
        rounds in proptest::collection::vec(changes(), 1..4)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(each_is_restored_as_it_was(rounds));
    }
}

#[tokio::test]
async fn only_what_has_changed_is_stored_and_barman_does_not_see_it() {
    let (mut cluster, server) = (Cluster::new(), Server::folder());
    let store = server.store();
    let full = take_on(&store, &mut cluster, (0, None)).await.unwrap();
    cluster.put("base/5/16385", 700, &page(cluster.begin, 5));
    cluster.goes_on();
    let increment = take_on(&store, &mut cluster, (1, Some(0))).await.unwrap();
    assert_eq!(increment.files, full.files);
    // The page, and what is always stored: the control file, the map, the folder of transactions.
    let least = 3 * PAGE as u64;
    let stored = increment.stored.0;
    assert!((least..least + 8192).contains(&stored), "{stored} of {}", full.stored.0);
    let base = server.folder.path().join(layout().base().as_str());
    assert_eq!(std::fs::read_dir(base).unwrap().count(), 1);

    let repository = Repository::new(store.clone(), layout());
    let catalogue = repository.list().await.unwrap();
    let listed: Vec<_> =
        catalogue.entries.iter().map(|it| (it.id.clone(), it.base.clone())).collect();
    assert_eq!(listed, [(id(0), None), (id(1), Some(id(0)))]);
    assert!(repository.stored().await.unwrap()[&id(1)].0 >= stored);

    repository.set_hold(&id(1), Some(Hold::Full)).await.unwrap();
    let held = repository.list().await.unwrap();
    assert_eq!(held.entries[1].hold, Some(Hold::Full));
    assert_eq!(chain(&id(1), &held.backups()).unwrap().len(), 2);
    let none = BTreeSet::new();
    let plan = |backups: &[_]| {
        let policy = Policy::Count(1);
        let sight = Sight { policy, at_least: 0, backups, unusable: &none, unreadable: &none };
        without(&id(0), &sight)
    };
    assert!(plan(&held.backups()).is_err());
    repository.set_hold(&id(1), None).await.unwrap();
    let plan = plan(&repository.list().await.unwrap().backups()).unwrap();
    let pruned = repository.prune(&plan).await.unwrap();
    assert_eq!(pruned.backups, [id(0), id(1)]);
    assert_eq!(files(server.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn what_does_not_suit_is_not_built_on() {
    let (mut cluster, server) = (Cluster::new(), Server::folder());
    let store = server.store();
    let gone = take_on(&store, &mut cluster, (1, Some(0))).await.unwrap();
    assert_eq!((gone.unfit, gone.builds_on), (Some(Unfit::Gone(id(0))), None));
    cluster.begin -= 1;
    let behind = take_on(&store, &mut cluster, (2, Some(1))).await.unwrap();
    assert!(matches!(behind.unfit, Some(Unfit::Behind { .. })), "{behind:?}");
    cluster.begin += 1;
    store.delete(vec![layout().index(&id(2))]).await.unwrap();
    let foreign = take_on(&store, &mut cluster, (3, Some(2))).await.unwrap();
    assert_eq!(foreign.unfit, Some(Unfit::NoContents(id(2))));
    // One that is damaged on the way is told, and nothing is left.
    let index = server.folder.path().join(layout().index(&id(3)).as_str());
    let whole = std::fs::read(&index).unwrap();
    let lines = zstd::stream::decode_all(whole.as_slice()).unwrap();
    let cut = zstd::stream::encode_all(&lines[..lines.len() / 2], 1).unwrap();
    std::fs::write(&index, cut).unwrap();
    let before = files(server.folder.path());
    let failed = take_on(&store, &mut cluster, (4, Some(3))).await.unwrap_err();
    assert!(matches!(failed, BackupError::Base { .. }), "{failed}");
    assert_eq!(files(server.folder.path()), before);
}

#[tokio::test]
async fn what_fails_or_is_killed_leaves_nothing_that_is_listed() {
    let (mut cluster, server) = (Cluster::new(), Server::folder());
    let (store, layout): (Store, Layout) = (server.store(), layout());
    take_on(&store, &mut cluster, (0, None)).await.unwrap();
    let before = files(server.folder.path());
    let (own, base) = (id(1), id(0));
    let request = Request {
        store: &store,
        layout: &layout,
        id: &own,
        name: None,
        by: "test",
        base: Some(&base),
        options: Options::default(),
    };
    let (cancel, mut cancelled) = watch::channel(Progress::default());
    let some_is_done = async move {
        cancelled.wait_for(|progress| progress.done.0 > 0).await.unwrap();
    };
    let failed = take(&request, &mut cluster, cancel, some_is_done).await.unwrap_err();
    assert!(matches!(failed, BackupError::Cancelled), "{failed}");
    assert_eq!(files(server.folder.path()), before);

    // As it lies there when its taker is killed before the last object.
    take_on(&store, &mut cluster, (1, Some(0))).await.unwrap();
    store.delete(vec![layout.increment_description(&own)]).await.unwrap();
    store.create(&layout.taker(&own), "test".into()).await.unwrap();
    let listed = Repository::new(store.clone(), layout.clone()).list().await.unwrap();
    assert_eq!(listed.entries.len(), 1);
    assert_eq!(clear(&store, &layout, &own, "test").await.unwrap(), Left::Removed);
    assert_eq!(files(server.folder.path()), before);

    take_on(&store, &mut cluster, (1, Some(0))).await.unwrap();
    store.create(&layout.taker(&own), "test".into()).await.unwrap();
    assert_eq!(clear(&store, &layout, &own, "test").await.unwrap(), Left::Listed);
    let again = take_on(&store, &mut cluster, (1, None)).await.unwrap_err();
    assert!(matches!(again, BackupError::AlreadyThere(_)), "{again}");
}

#[tokio::test]
async fn damage_anywhere_in_a_chain_is_told() {
    let (mut cluster, server) = (Cluster::new(), Server::folder());
    let (store, layout) = (server.store(), layout());
    take_on(&store, &mut cluster, (0, None)).await.unwrap();
    for block in 0..200 {
        cluster.put("base/5/16385", block * 3, &page(cluster.begin, block));
    }
    cluster.goes_on();
    take_on(&store, &mut cluster, (1, Some(0))).await.unwrap();
    cluster.goes_on();
    take_on(&store, &mut cluster, (2, Some(1))).await.unwrap();
    let root = server.folder.path().to_path_buf();
    for (folder, part) in [(layout.backup(&id(0)), "data"), (layout.increment(&id(1)), "pack")] {
        let folder = root.join(folder.as_str());
        let name = files(&folder).into_iter().find(|name| name.starts_with(part)).unwrap();
        let whole = std::fs::read(folder.join(&name)).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        std::fs::write(folder.join(&name), &flipped).unwrap();
        let target = Target::new();
        let failed = restored(&store, 2, (&target, Into::Empty)).await.unwrap_err();
        let is_told = matches!(failed, RestoreError::Damaged { .. } | RestoreError::Archive { .. });
        assert!(is_told, "{failed}");
        assert!(!target.data().join("global/pg_control").exists());
        assert_eq!(verified(&store, 2).await.damages_in_all, 1);
        std::fs::write(folder.join(&name), &whole).unwrap();
    }
    // Somebody else's tool has removed what it took for superfluous.
    sweep(&store, &layout, &id(0)).await.unwrap();
    let failed = restored(&store, 2, (&Target::new(), Into::Empty)).await.unwrap_err();
    assert!(matches!(failed, RestoreError::NoBase { .. }), "{failed}");
    let repository = Repository::new(store.clone(), layout.clone());
    let catalogue = repository.list().await.unwrap();
    let (_, window) = repository.window(&catalogue).await.unwrap();
    let told = window.to_string();
    let broken = "20261122T112202 cannot be recovered: backup 20261122T112200, which it builds on, is missing";
    assert!(told.contains(broken), "{told}");
}
