//! What was streamed of a segment comes back as that segment, or it is said why not.
//!
//! Never with a hole, and never with a page that is another one.

use super::catalogue::backup;
use super::contract::chain;
use super::segments::{SYSTEM, archive, file, layout, mebibytes};
use super::servers::Server;
use bytes::Bytes;
use pgherd_backup::catalogue::Repository;
use pgherd_backup::compression::Compression;
use pgherd_backup::wal::{Archive, WalError};
use pgherd_core::units::{Lsn, Timeline};
use pgherd_core::wal::stream::Piece;
use pgherd_core::wal::{Segment, SegmentSize};

const PAGE: u64 = 8192;

fn segment(timeline: u32, number: u64) -> Segment {
    Segment::holding(Timeline(timeline), Lsn(number << 20), mebibytes(1))
}

/// A segment as PostgreSQL writes it, page by page; behind `used` it was finished early.
fn content(of: Segment, used: u64) -> Vec<u8> {
    let size = mebibytes(1);
    let mut content = Vec::new();
    for page in 0..size.bytes().0 / PAGE {
        let mut bytes = vec![u8::try_from(page % 251).unwrap(); usize::try_from(PAGE).unwrap()];
        let at = of.start(size).0 + page * PAGE;
        bytes[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        bytes[2..4].copy_from_slice(&(if page == 0 { 2_u16 } else { 0 }).to_ne_bytes());
        bytes[4..8].copy_from_slice(&of.timeline().0.to_ne_bytes());
        bytes[8..16].copy_from_slice(&at.to_ne_bytes());
        if page == 0 {
            bytes[24..32].copy_from_slice(&SYSTEM.0.to_ne_bytes());
            bytes[32..36].copy_from_slice(&u32::try_from(size.bytes().0).unwrap().to_ne_bytes());
            bytes[36..40].copy_from_slice(&u32::try_from(PAGE).unwrap().to_ne_bytes());
        }
        content.extend(if page * PAGE < used { bytes } else { vec![0; bytes.len()] });
    }
    content
}

/// With tools for one test.
struct Way {
    archive: Archive,
    local: tempfile::TempDir,
}

impl Way {
    fn new(server: &Server) -> Self {
        let archive = archive(server.store(), Compression::Gzip);
        Self { archive, local: tempfile::tempdir().unwrap() }
    }

    async fn put(&self, of: Segment, from: u64, to: u64) {
        self.put_of(of, &content(of, u64::MAX), from, to).await.unwrap();
    }

    async fn put_of(
        &self,
        segment: Segment,
        content: &[u8],
        from: u64,
        to: u64,
    ) -> Result<(), WalError> {
        let start = segment.start(mebibytes(1)).0;
        let piece = Piece { segment, from: Lsn(start + from), to: Lsn(start + to) };
        let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
        self.archive.put_piece(piece, Bytes::copy_from_slice(&content[from..to])).await
    }

    /// How far it goes, and what is in place then.
    async fn together(&self, of: Segment, to: u64) -> Result<Option<(u64, Vec<u8>)>, String> {
        let size: SegmentSize = mebibytes(1);
        let target = self.local.path().join("RECOVERYXLOG");
        let to = Lsn(of.start(size).0 + to);
        let end = self.archive.put_together(of, (size, to), &target).await;
        let end = end.map_err(|error| chain(&error))?;
        let names = std::fs::read_dir(self.local.path()).unwrap().count();
        assert_eq!(names, usize::from(end.is_some()), "something is left beside it");
        Ok(end.map(|end| {
            let content = std::fs::read(&target).unwrap();
            std::fs::remove_file(&target).unwrap();
            (end.ahead_of(of.start(size)).0, content)
        }))
    }
}

async fn goes_its_way(server: &Server) {
    let way = Way::new(server);
    let one = segment(1, 3);
    assert_eq!(way.together(one, 1 << 20).await, Ok(None));
    for (from, to) in [(0, 100), (100, 20_000), (20_000, 20_004), (20_004, 400_000)] {
        way.put(one, from, to).await;
    }
    // Who begins anew cuts it otherwise, and may put the same again.
    way.put(one, 0, 30_000).await;
    way.put(one, 100, 20_000).await;
    way.put(one, 500_000, 500_100).await;
    let whole = content(one, u64::MAX);
    for to in [1 << 20, 300_000, 64] {
        let (end, found) = way.together(one, to).await.unwrap().unwrap();
        assert_eq!((end, found.len()), (to.min(400_000), 1 << 20));
        let end = usize::try_from(end).unwrap();
        assert!(found[..end] == whole[..end] && found[end..].iter().all(|byte| *byte == 0));
    }
    let other = content(segment(1, 4), u64::MAX);
    let refused = way.put_of(one, &other, 100, 20_000).await.unwrap_err();
    assert!(chain(&refused).contains("holds other content under this name"), "{refused:?}");

    let pieces = way.archive.pieces(None).await.unwrap();
    assert_eq!(pieces.len(), 1);
    let all: Vec<Piece> = pieces[&one].keys().copied().collect();
    assert_eq!(all.len(), 6);
    way.archive.drop_pieces(&all).await.unwrap();
    way.archive.drop_pieces(&all[..1]).await.unwrap();
    assert!(way.archive.pieces(None).await.unwrap().is_empty());
    assert_eq!(way.together(one, 1 << 20).await, Ok(None));
}

#[tokio::test]
async fn a_segment_is_put_together_from_a_folder() {
    let server = Server::folder();
    goes_its_way(&server).await;
    let left = server.folder.path().join(layout().stream().as_str());
    assert!(!left.exists(), "folders of what was dropped stay");
}

#[tokio::test]
async fn a_segment_is_put_together_from_s3() {
    goes_its_way(&Server::s3s()).await;
}

#[tokio::test]
async fn what_is_damaged_is_told_and_not_put_in_place() {
    let server = Server::folder();
    let way = Way::new(&server);
    let said = |of| {
        let way = &way;
        async move { way.together(of, 1 << 20).await.unwrap_err() }
    };
    // Pages of another segment, and some behind the end of the log.
    let (one, two) = (segment(1, 3), segment(1, 5));
    way.put(one, 0, 8192).await;
    way.put_of(one, &content(segment(1, 4), u64::MAX), 8192, 20_000).await.unwrap();
    assert!(said(one).await.contains("its page at 0/302000 does not say"), "{}", said(one).await);
    let early = content(two, 20_000);
    way.put_of(two, &early, 0, 50_000).await.unwrap();
    way.put(two, 50_000, 90_000).await;
    assert!(said(two).await.contains("its page at 0/50E000"), "{}", said(two).await);
    // Of another cluster.
    let three = segment(1, 6);
    let mut foreign = content(three, u64::MAX);
    foreign[24] ^= 1;
    way.put_of(three, &foreign, 0, 9000).await.unwrap();
    assert!(said(three).await.contains("it is of another cluster"), "{}", said(three).await);
    // Cut off, or shorter than its name says.
    let four = segment(1, 7);
    way.put(four, 0, 9000).await;
    let pieces = way.archive.pieces(Some(four)).await.unwrap();
    let key = layout().piece(*pieces[&four].keys().next().unwrap());
    let path = server.folder.path().join(key.as_str());
    let stored = std::fs::read(&path).unwrap();
    std::fs::write(&path, &stored[..stored.len() - 3]).unwrap();
    assert!(said(four).await.contains("which is damaged"), "{}", said(four).await);
    let mut short = Vec::new();
    Compression::Zstd.pack(&mut &[1_u8; 8000][..], &mut short).unwrap();
    std::fs::write(&path, short).unwrap();
    assert!(said(four).await.contains("it has 7.8 KiB"), "{}", said(four).await);
}

#[tokio::test]
async fn one_that_was_finished_early_is_whole() {
    let server = Server::folder();
    let way = Way::new(&server);
    let one = segment(1, 3);
    let early = content(one, 20_000);
    way.put_of(one, &early, 0, 20_000).await.unwrap();
    way.put_of(one, &early, 20_000, 1 << 20).await.unwrap();
    assert_eq!(way.together(one, 1 << 20).await, Ok(Some((1 << 20, early))));
}

#[tokio::test]
async fn the_window_ends_with_what_was_streamed_and_retention_takes_it_along() {
    let server = Server::folder();
    let store = server.store();
    backup(&store, 2, 1, 3).await;
    for number in 3..=4 {
        let key =
            layout().wal(file(&format!("{:024X}", (1_u128 << 64) + number)), Compression::Gzip);
        store.replace(&key, Bytes::from_static(b"x")).await.unwrap();
    }
    let archive = archive(store.clone(), Compression::Gzip);
    let size = SegmentSize::DEFAULT;
    let put = async |number: u64, from: u64, to: u64| {
        let segment = Segment::holding(Timeline(1), Lsn(number << 24), size);
        let start = segment.start(size).0;
        let piece = Piece { segment, from: Lsn(start + from), to: Lsn(start + to) };
        let content = vec![0; usize::try_from(to - from).unwrap()];
        archive.put_piece(piece, Bytes::from(content)).await.unwrap();
    };
    put(2, 0, 100).await;
    // A whole one, and the begin of the next.
    put(5, 0, 8 << 20).await;
    put(5, 8 << 20, 16 << 20).await;
    put(6, 0, 0x300).await;
    let repository = Repository::new(store.clone(), layout());
    let catalogue = repository.list().await.unwrap();
    let (log, window) = repository.window(&catalogue).await.unwrap();
    let [interval] = window.intervals.as_slice() else { panic!("{window}") };
    assert_eq!((interval.to, window.gaps.len()), (Lsn(0x600_0300), 0));
    let held = |number: u64| Segment::holding(Timeline(1), Lsn(number << 24), size);
    assert_eq!(log.put_together(held(5), None), Some(Lsn(0x600_0000)));
    assert_eq!(repository.end_in((held(6), None), size).await.unwrap(), Some(Lsn(0x600_0300)));
    assert_eq!(repository.end_in((held(7), None), size).await.unwrap(), None);
    assert_eq!(repository.end_in((held(2), None), size).await.unwrap(), None);

    // Pieces behind a hole prove that log is missing, and where its segment is there, they do not.
    put(6, 0x500, 0x700).await;
    put(3, 0x500, 0x700).await;
    let (log, torn) = repository.window(&catalogue).await.unwrap();
    let [gap] = torn.gaps.as_slice() else { panic!("{torn}") };
    assert_eq!(
        (gap.first, gap.at, gap.ends(torn.intervals[0].timeline, torn.intervals[0].to)),
        (held(6), Lsn(0x600_0300), true)
    );
    assert_eq!(log.put_together(held(6), None), Some(Lsn(0x600_0300)));

    let plan = super::catalogue::plan(&catalogue, &std::collections::BTreeSet::new(), "1");
    repository.prune(&plan).await.unwrap();
    let left = archive.pieces(None).await.unwrap();
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), [held(3), held(5), held(6)]);
}
