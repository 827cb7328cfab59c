//! Log as PostgreSQL writes it, made up: for tests of who reads it.
//!
//! Never read back by what is tested with it: both were written after PostgreSQL's own description.

use super::touched::{Database, Relation};
use pgherd_core::units::{Lsn, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};

const PAGE: usize = 8192;
pub(super) const MEBIBYTE: u64 = 1 << 20;
const START: u64 = 5 * MEBIBYTE;

pub(super) fn relation(number: u32) -> Relation {
    Relation { of: Database { tablespace: 1663, database: 5 }, number }
}

/// A page that a record names, and how much it says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) relation: u32,
    pub(super) fork: u8,
    pub(super) number: u32,
    pub(super) image: u16,
    pub(super) data: u16,
}

/// What stands behind the header of a record.
pub(super) fn body(blocks: &[Block], main: &[u8]) -> Vec<u8> {
    let (mut body, mut data, mut before) = (Vec::new(), Vec::new(), None);
    for (number, block) in (0..).zip(blocks) {
        let same = before == Some(block.relation);
        let flags = [(block.image > 0, 0x10), (block.data > 0, 0x20), (same, 0x80)];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        body.extend([number, flags.fold(block.fork, |all, (_, flag)| all | flag)]);
        body.extend(block.data.to_ne_bytes());
        if block.image > 0 {
            body.extend(block.image.to_ne_bytes());
            // Packed with zstd, with a hole, whose length then follows.
            body.extend([64, 0, 0x01 | 0x02 | 0x10]);
            body.extend(100_u16.to_ne_bytes());
        }
        if !same {
            body.extend([1663, 5, block.relation].iter().flat_map(|n: &u32| n.to_ne_bytes()));
        }
        body.extend(block.number.to_ne_bytes());
        data.resize(data.len() + usize::from(block.image) + usize::from(block.data), 0xAB);
        before = Some(block.relation);
    }
    match u8::try_from(main.len()) {
        Ok(0) => {}
        Ok(length) => body.extend([255, length]),
        Err(_) => {
            body.push(254);
            body.extend(u32::try_from(main.len()).unwrap().to_ne_bytes());
        }
    }
    [body, data, main.to_vec()].concat()
}

/// A record with its sum.
pub(super) fn record((manager, info): (u8, u8), previous: Lsn, body: &[u8]) -> Vec<u8> {
    let mut record = u32::try_from(24 + body.len()).unwrap().to_ne_bytes().to_vec();
    record.extend(7_u32.to_ne_bytes());
    record.extend(previous.0.to_ne_bytes());
    record.extend([info, manager, 0, 0, 0, 0, 0, 0]);
    record.extend(body);
    summed(record)
}

/// The same with the sum and the length that it should have.
pub(super) fn summed(mut record: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(record.len()).unwrap();
    record[..4].copy_from_slice(&length.to_ne_bytes());
    let sum = crc_fast::crc32_iscsi(&[&record[24..], &record[..20]].concat());
    record[20..24].copy_from_slice(&sum.to_ne_bytes());
    record
}

pub(super) struct Log {
    bytes: Vec<u8>,
    previous: Lsn,
    timeline: u32,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), previous: Lsn(START - 80), timeline: 1 }
    }

    pub(super) fn size() -> SegmentSize {
        SegmentSize::new(pgherd_core::units::Bytes(MEBIBYTE)).unwrap()
    }

    pub(super) fn at(&self) -> Lsn {
        Lsn(START + self.bytes.len() as u64)
    }

    fn page(&mut self, flags: u16, rest: usize) {
        let at = self.at().0;
        let is_long = at.is_multiple_of(MEBIBYTE);
        let flags = if is_long { flags | 2 } else { flags };
        self.bytes.extend(0xD110_u16.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.timeline.to_ne_bytes());
        self.bytes.extend(at.to_ne_bytes());
        self.bytes.extend(u32::try_from(rest).unwrap().to_ne_bytes());
        self.bytes.extend([0; 4]);
        if is_long {
            self.bytes.extend(9_u64.to_ne_bytes());
            self.bytes.extend(u32::try_from(MEBIBYTE).unwrap().to_ne_bytes());
            self.bytes.extend(8192_u32.to_ne_bytes());
        }
    }

    fn room(&self) -> usize {
        PAGE - self.bytes.len() % PAGE
    }

    /// Says where it begins.
    pub(super) fn put(&mut self, of: (u8, u8), body: &[u8]) -> Lsn {
        if self.room() == PAGE {
            self.page(0, 0);
        }
        let (at, record) = (self.at(), record(of, self.previous, body));
        let mut left = record.as_slice();
        while !left.is_empty() {
            if self.room() == PAGE {
                self.page(1, left.len());
            }
            let (here, rest) = left.split_at(left.len().min(self.room()));
            self.bytes.extend(here);
            left = rest;
        }
        let aligned = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(aligned, 0);
        self.previous = at;
        at
    }

    /// A server breaks down in the middle of a record, and goes on behind the page.
    pub(super) fn abandon(&mut self, pages: usize) {
        if self.room() == PAGE {
            self.page(0, 0);
        }
        let named = Block { relation: 999, fork: 0, number: 1, image: 9000, data: 60_000 };
        let record = record((10, 0), self.previous, &body(&[named], &[]));
        let (here, mut left) = record.split_at(self.room());
        self.bytes.extend(here);
        for _ in 0..pages {
            self.page(1, left.len());
            let (here, rest) = left.split_at(self.room());
            self.bytes.extend(here);
            left = rest;
        }
        self.page(8, 0);
    }

    /// Somebody else goes on from here.
    pub(super) fn promote(&mut self) {
        self.timeline += 1;
    }

    /// The rest of the segment stays empty.
    pub(super) fn switch(&mut self) {
        self.put((0, 0x40), &[]);
        let whole = self.bytes.len().next_multiple_of(usize::try_from(MEBIBYTE).unwrap());
        self.bytes.resize(whole, 0);
    }

    /// Whole segments.
    pub(super) fn segments(&self) -> Vec<(Segment, &[u8])> {
        let segments = self.bytes.chunks_exact(usize::try_from(MEBIBYTE).unwrap());
        let named = (0_u64..).zip(segments).map(|(number, content)| {
            let at = Lsn(START + number * MEBIBYTE);
            (Segment::holding(Timeline(self.timeline), at, Self::size()), content)
        });
        named.collect()
    }
}
