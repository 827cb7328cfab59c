//! Files of the log for tests: real in their headers, made up behind them.
//!
//! Never larger than a test needs.

use pgherd_backup::compression::Compression;
use pgherd_backup::destination::{Prefix, ServerName};
use pgherd_backup::layout::Layout;
use pgherd_backup::store::Store;
use pgherd_backup::wal::{Archive, Settings};
use pgherd_core::units::{Bytes, SystemId};
use pgherd_core::wal::{Segment, SegmentSize, WalFile};

pub(crate) const SYSTEM: SystemId = SystemId(7_710_954_695_479_462_778);

pub(crate) fn layout() -> Layout {
    let prefix = Prefix::parse("prod/eu").unwrap();
    Layout::new(&prefix, &ServerName::parse("app-db").unwrap())
}

pub(crate) fn archive(store: Store, compression: Compression) -> Archive {
    let settings =
        Settings { compression, system: Some(SYSTEM), memory: Bytes(64 << 20), processors: 2 };
    Archive::new(store, layout(), settings)
}

pub(crate) fn mebibytes(number: u64) -> SegmentSize {
    SegmentSize::new(Bytes(number << 20)).unwrap()
}

pub(crate) fn file(name: &str) -> WalFile {
    WalFile::parse(name).unwrap()
}

/// A whole segment; another `fill` makes another content.
pub(crate) fn segment(name: &str, size: SegmentSize, fill: u8) -> Vec<u8> {
    let segment = Segment::parse(name.get(..24).unwrap()).unwrap();
    let length = usize::try_from(size.bytes().0).unwrap();
    let mut content: Vec<u8> =
        (0..length).map(|at| u8::try_from(at / 64 % 251).unwrap() ^ fill).collect();
    let size = u32::try_from(size.bytes().0).unwrap();
    content[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
    content[2..4].copy_from_slice(&2_u16.to_ne_bytes());
    content[4..8].copy_from_slice(&segment.timeline().0.to_ne_bytes());
    content[8..16]
        .copy_from_slice(&segment.start(mebibytes(u64::from(size) >> 20)).0.to_ne_bytes());
    content[24..32].copy_from_slice(&SYSTEM.0.to_ne_bytes());
    content[32..36].copy_from_slice(&size.to_ne_bytes());
    content[36..40].copy_from_slice(&8192_u32.to_ne_bytes());
    content
}
