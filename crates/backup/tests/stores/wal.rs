//! Files of the log go into the repository and come back as they were, or it is said why not.
//!
//! Never looks at how they are stored, unless to damage them.

use super::contract::chain;
use super::segments::{SYSTEM, archive, file, layout, mebibytes, segment};
use super::servers::Server;
use bytes::Bytes;
use pgherd_backup::compression::Compression;
use pgherd_backup::wal::{Archive, Fetched, Partials, Pushed, WalError};
use pgherd_core::units::{Bytes as Size, SystemId, Timeline};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const ONE: &str = "000000010000000000000001";
const TWO: &str = "000000010000000000000002";

/// PostgreSQL's folder on one side, the repository on the other.
struct Way {
    server: Server,
    local: TempDir,
}

impl Way {
    fn new() -> Self {
        Self { server: Server::folder(), local: tempfile::tempdir().unwrap() }
    }

    fn archive(&self, compression: Compression) -> Archive {
        archive(self.server.store(), compression)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.local.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn push(
        &self,
        compression: Compression,
        name: &str,
        content: &[u8],
    ) -> Result<Pushed, WalError> {
        let path = self.write(name, content);
        self.archive(compression).push(file(name), &path).await
    }

    async fn fetch(&self, name: &str, partials: Partials) -> Result<Fetched, WalError> {
        let target = self.local.path().join("RECOVERYXLOG");
        self.archive(Compression::Gzip).fetch(file(name), partials, &target).await
    }

    /// What was put in place, and nothing is beside it.
    fn fetched(&self) -> Option<Vec<u8>> {
        let target = self.local.path().join("RECOVERYXLOG");
        let left: Vec<_> = std::fs::read_dir(self.local.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        let content = std::fs::read(&target).ok();
        if content.is_some() {
            std::fs::remove_file(target).unwrap();
        }
        content
    }

    fn stored(&self, name: &str, compression: Compression) -> PathBuf {
        self.server.folder.path().join(layout().wal(file(name), compression).as_str())
    }
}

fn is_now(pushed: &Pushed) -> bool {
    matches!(pushed, Pushed::Now { .. })
}

#[tokio::test]
async fn every_packing_comes_back_as_it_was() {
    for compression in Compression::ALL {
        let way = Way::new();
        for (name, size) in [(ONE, 1), (TWO, 16)] {
            let content = segment(name, mebibytes(size), 0);
            assert!(is_now(&way.push(compression, name, &content).await.unwrap()));
            let fetched = way.fetch(name, Partials::Never).await.unwrap();
            assert!(matches!(fetched, Fetched::Whole { .. }), "{fetched:?}");
            assert!(way.fetched().unwrap() == content, "{compression}");
        }
        for (name, content) in [
            ("00000002.history", "1\t0/1000028\tno recovery target specified\n"),
            ("000000010000000000000001.00000028.backup", "START WAL LOCATION: 0/1000028\n"),
        ] {
            assert!(is_now(&way.push(compression, name, content.as_bytes()).await.unwrap()));
            way.fetch(name, Partials::Never).await.unwrap();
            assert_eq!(way.fetched().unwrap(), content.as_bytes());
        }
    }
}

#[tokio::test]
async fn a_repetition_is_a_success_and_other_content_is_refused() {
    let way = Way::new();
    let (content, other) = (segment(ONE, mebibytes(1), 0), segment(ONE, mebibytes(1), 1));
    assert!(is_now(&way.push(Compression::Gzip, ONE, &content).await.unwrap()));
    // Also when the packing was changed in between.
    for compression in Compression::ALL {
        let again = way.push(compression, ONE, &content).await.unwrap();
        assert_eq!(again, Pushed::Before { key: layout().wal(file(ONE), Compression::Gzip) });
        let refused = way.push(compression, ONE, &other).await.unwrap_err();
        assert!(matches!(refused, WalError::Different { .. }), "{refused}");
    }
    way.fetch(ONE, Partials::Never).await.unwrap();
    assert!(way.fetched().unwrap() == content);
}

#[tokio::test]
async fn one_of_several_at_once_stores_it() {
    let way = Way::new();
    let path = way.write(ONE, &segment(ONE, mebibytes(1), 0));
    let archives: Vec<Archive> = (0..6).map(|_| way.archive(Compression::Zstd)).collect();
    let pushes = archives.iter().map(|archive| archive.push(file(ONE), &path));
    let done = futures_util::future::try_join_all(pushes).await.unwrap();
    assert_eq!(done.iter().filter(|one| is_now(one)).count(), 1, "{done:?}");
}

#[tokio::test]
async fn what_is_not_what_its_name_says_is_not_stored() {
    let way = Way::new();
    let good = segment(ONE, mebibytes(1), 0);
    let longer = [good.clone(), vec![0]].concat();
    let mut foreign = good.clone();
    foreign[24..32].copy_from_slice(&7_u64.to_ne_bytes());
    let cases: [(&str, &[u8], &str); 6] = [
        (TWO, &good, "begins at 0/100000"),
        (ONE, &good[..good.len() - 1], "its header says 1.0 MiB"),
        (ONE, &longer, "its header says 1.0 MiB"),
        (ONE, &foreign, "of another cluster"),
        (ONE, b"", "ends after 0 bytes"),
        ("00000002.history", &vec![b'x'; (1 << 20) + 1], "larger than such a file"),
    ];
    for (name, content, why) in cases {
        let refused = way.push(Compression::Gzip, name, content).await.unwrap_err();
        assert!(chain(&refused).contains(why), "{}", chain(&refused));
        assert_eq!(way.fetch(name, Partials::Never).await.unwrap(), Fetched::Absent);
    }
    let absent = way.archive(Compression::Gzip).push(file(ONE), Path::new("/absent")).await;
    assert!(matches!(absent.unwrap_err(), WalError::Read { .. }));
}

#[tokio::test]
async fn a_partial_one_stands_in_only_when_it_is_alone_and_wanted() {
    let way = Way::new();
    let name = format!("{ONE}.partial");
    let (partial, whole) = (segment(ONE, mebibytes(1), 1), segment(ONE, mebibytes(1), 0));
    way.push(Compression::None, &name, &partial).await.unwrap();
    assert_eq!(way.fetch(ONE, Partials::Never).await.unwrap(), Fetched::Absent);
    let fetched = way.fetch(ONE, Partials::WhenAlone).await.unwrap();
    assert!(matches!(fetched, Fetched::Partial { .. }), "{fetched:?}");
    assert!(way.fetched().unwrap() == partial);
    for compression in [Compression::Zstd, Compression::None] {
        way.push(compression, ONE, &whole).await.unwrap();
        let fetched = way.fetch(ONE, Partials::WhenAlone).await.unwrap();
        assert!(matches!(fetched, Fetched::Whole { .. }), "{fetched:?}");
        assert!(way.fetched().unwrap() == whole);
    }
}

#[tokio::test]
async fn damaged_and_foreign_log_is_not_handed_out() {
    let good = segment(ONE, mebibytes(1), 0);
    let mut foreign = good.clone();
    foreign[24..32].copy_from_slice(&7_u64.to_ne_bytes());
    let next = segment(TWO, mebibytes(1), 0);
    for compression in Compression::ALL {
        let way = Way::new();
        way.push(compression, ONE, &good).await.unwrap();
        let stored = way.stored(ONE, compression);
        let packed = std::fs::read(&stored).unwrap();
        let pack = |plain: &[u8]| {
            let mut packed = Vec::new();
            compression.pack(&mut &*plain, &mut packed).unwrap();
            packed
        };
        let mut damages = vec![
            Vec::new(),
            packed[..packed.len() / 2].to_vec(),
            packed[..packed.len() - 1].to_vec(),
            pack(&foreign),
            pack(&next),
            pack(&[good.clone(), vec![0; 10]].concat()),
            b"not log at all".to_vec(),
        ];
        // A plain file tells nothing of a byte in its middle.
        if compression != Compression::None {
            let mut flipped = packed.clone();
            let middle = flipped.len() / 2;
            flipped[middle] ^= 0x10;
            damages.push(flipped);
        }
        for (number, damaged) in damages.iter().enumerate() {
            std::fs::write(&stored, damaged).unwrap();
            let refused = way.fetch(ONE, Partials::WhenAlone).await;
            assert!(refused.is_err(), "damage {number} of {compression} was handed out");
            assert_eq!(way.fetched(), None);
        }
    }
}

#[tokio::test]
async fn a_small_object_cannot_fill_the_disk() {
    let way = Way::new();
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let mut bomb = segment(ONE, mebibytes(1), 0);
        bomb.resize(64 << 20, 0);
        let mut packed = Vec::new();
        compression.pack(&mut bomb.as_slice(), &mut packed).unwrap();
        let key = layout().wal(file(ONE), compression);
        way.server.store().replace(&key, Bytes::from(packed)).await.unwrap();
        let refused = way.fetch(ONE, Partials::Never).await.unwrap_err();
        assert!(chain(&refused).contains("its header says 1.0 MiB"), "{}", chain(&refused));
        way.server.store().delete(vec![key]).await.unwrap();
    }
}

#[tokio::test]
async fn a_place_with_log_is_not_free() {
    let way = Way::new();
    let archive = way.archive(Compression::Gzip);
    assert_eq!(archive.occupied(None).await.unwrap(), None);
    let strange = layout().wals();
    let folder = way.server.folder.path().join(strange.as_str());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("README"), "not log").unwrap();
    assert_eq!(archive.occupied(None).await.unwrap(), None);
    let name = "000000020000000000000001";
    way.push(Compression::Gzip, name, &segment(name, mebibytes(1), 0)).await.unwrap();
    let occupied = archive.occupied(None).await.unwrap().unwrap();
    assert_eq!(occupied.file, file(name));
    assert!(archive.occupied(Some(Timeline(2))).await.unwrap().is_some());
    assert_eq!(archive.occupied(Some(Timeline(3))).await.unwrap(), None);
}

#[tokio::test]
async fn a_file_larger_than_the_memory_goes_alone() {
    let way = Way::new();
    let name = "000000010000000000000001";
    let path = way.write(name, &segment(name, mebibytes(16), 0));
    let mut settings = pgherd_backup::wal::Settings {
        compression: Compression::Lz4,
        system: Some(SYSTEM),
        memory: Size(1 << 20),
        processors: 1,
    };
    let archive = Archive::new(way.server.store(), layout(), settings);
    assert!(is_now(&archive.push(file(name), &path).await.unwrap()));
    settings.system = Some(SystemId(7));
    let foreign = Archive::new(way.server.store(), layout(), settings);
    let refused = foreign.fetch(file(name), Partials::Never, &path).await.unwrap_err();
    assert!(chain(&refused).contains("of another cluster"), "{}", chain(&refused));
}
