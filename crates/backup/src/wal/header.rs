//! Reads the header of a segment's first page, and says whether the file is what its name says.
//!
//! Never trusts a byte of it: files come from disks and from repositories.

use pgherd_core::units::{Bytes, Lsn, SystemId, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};

/// So much of a file is needed.
pub const LENGTH: usize = 40;

/// The upper half of the number that each page begins with; the lower one tells versions apart.
const MAGIC: u16 = 0xD1;
/// The flag of the long form, which every first page has.
const LONG: u16 = 0x0002;

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub timeline: Timeline,
    pub address: Lsn,
    pub system: SystemId,
    pub size: SegmentSize,
}

/// What it should say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub segment: Segment,
    pub system: Option<SystemId>,
}

/// Why a file is not the segment it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it ends after {0} bytes, within the first page's header")]
    Short(usize),
    #[error("it begins with {found:04X}, and the log of PostgreSQL with D1..")]
    Magic { found: u16 },
    #[error("its first page lacks the long header")]
    ShortHeader,
    #[error("it says that segments have {0} bytes, which is no size of segments")]
    SegmentSize(u64),
    #[error("it has {found}, and its header says {said}")]
    Size { found: Bytes, said: Bytes },
    #[error("it begins at {found}, and its name says {said}")]
    Address { found: Lsn, said: Lsn },
    #[error("it is of timeline {found}, which is younger than {said} in its name")]
    Timeline { found: Timeline, said: Timeline },
    #[error("it is of another cluster: its system identifier is {found}, and ours is {ours}")]
    System { found: SystemId, ours: SystemId },
    #[error("it is larger than such a file can be, {0}")]
    TooLarge(Bytes),
    #[error("its page at {0} does not say that it is that page")]
    Page(Lsn),
}

/// So much of each page is needed.
pub const PAGE: usize = 24;

/// How large pages are, as a segment's first one says.
pub fn page_size(begin: &[u8]) -> Result<u32, Damage> {
    let size = field(begin, 36).map(u32::from_ne_bytes).ok_or(Damage::Short(begin.len()))?;
    let fits = size.is_power_of_two() && (1 << 10..=1 << 16).contains(&size);
    if fits { Ok(size) } else { Err(Damage::ShortHeader) }
}

/// What the begin of a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// It says so.
    Itself,
    /// What follows the end of a segment that was finished early.
    Empty,
}

/// Whether the page at this position of a segment is it.
pub fn page(begin: &[u8], segment: Segment, at: Lsn) -> Result<Page, Damage> {
    if begin.iter().all(|byte| *byte == 0) {
        return Ok(Page::Empty);
    }
    let magic = field(begin, 0).map(u16::from_ne_bytes);
    let timeline = field(begin, 4).map(u32::from_ne_bytes);
    let address = field(begin, 8).map(u64::from_ne_bytes);
    let is_it = magic.is_some_and(|magic| magic >> 8 == MAGIC)
        && timeline.is_some_and(|timeline| Timeline(timeline) <= segment.timeline())
        && address == Some(at.0);
    if is_it { Ok(Page::Itself) } else { Err(Damage::Page(at)) }
}

impl Header {
    /// Reads as the machine wrote it: the log is not portable between byte orders anyhow.
    pub fn read(begin: &[u8]) -> Result<Self, Damage> {
        let short = || Damage::Short(begin.len());
        let half = |at| field(begin, at).map(u16::from_ne_bytes).ok_or_else(short);
        let word = |at| field(begin, at).map(u32::from_ne_bytes).ok_or_else(short);
        let long = |at| field(begin, at).map(u64::from_ne_bytes).ok_or_else(short);
        let (magic, flags) = (half(0)?, half(2)?);
        if magic >> 8 != MAGIC {
            return Err(Damage::Magic { found: magic });
        }
        if flags & LONG == 0 {
            return Err(Damage::ShortHeader);
        }
        let size = u64::from(word(32)?);
        Ok(Self {
            timeline: Timeline(word(4)?),
            address: Lsn(long(8)?),
            system: SystemId(long(24)?),
            size: SegmentSize::new(Bytes(size)).map_err(|_| Damage::SegmentSize(size))?,
        })
    }

    /// Compares with the name and with what is known of the cluster.
    pub fn check(&self, expected: &Expected) -> Result<(), Damage> {
        if let Some(ours) = expected.system.filter(|ours| *ours != self.system) {
            return Err(Damage::System { found: self.system, ours });
        }
        let said = expected.segment.start(self.size);
        if self.address != said || !expected.segment.exists_with(self.size) {
            return Err(Damage::Address { found: self.address, said });
        }
        // A promotion copies the segment it happens in: its first pages are of an older timeline.
        let said = expected.segment.timeline();
        if self.timeline > said {
            return Err(Damage::Timeline { found: self.timeline, said });
        }
        Ok(())
    }
}

fn field<const N: usize>(begin: &[u8], at: usize) -> Option<[u8; N]> {
    begin.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A segment's first page, of PostgreSQL 15.
    pub(crate) fn page(segment: Segment, size: SegmentSize, system: SystemId) -> Vec<u8> {
        let mut page = vec![0; 8192];
        page[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        page[2..4].copy_from_slice(&LONG.to_ne_bytes());
        page[4..8].copy_from_slice(&segment.timeline().0.to_ne_bytes());
        page[8..16].copy_from_slice(&segment.start(size).0.to_ne_bytes());
        page[24..32].copy_from_slice(&system.0.to_ne_bytes());
        page[32..36].copy_from_slice(&u32::try_from(size.bytes().0).unwrap().to_ne_bytes());
        page[36..40].copy_from_slice(&8192_u32.to_ne_bytes());
        page
    }

    fn segment(name: &str) -> Segment {
        Segment::parse(name).unwrap()
    }

    fn said(page: &[u8], name: &str, system: u64) -> String {
        let expected = Expected { segment: segment(name), system: Some(SystemId(system)) };
        match Header::read(page).and_then(|header| header.check(&expected)) {
            Ok(()) => "as it should be".to_owned(),
            Err(damage) => damage.to_string(),
        }
    }

    /// Begins of segments of PostgreSQL 15, 16 and 18, with 16, 1 and 64 MiB.
    #[test]
    fn what_postgresql_writes_is_understood() {
        let all = [
            (
                "10d106000100000000000005000000000000000000000000d2f596c1cc220c6b0000000100200000",
                "000000010000000000000005",
                7_713_578_524_595_385_810,
                16,
            ),
            (
                "13d10700010000000000500000000000e500000000000000508f5d96502b0c6b0000100000200000",
                "000000010000000000000005",
                7_713_587_886_898_909_008,
                1,
            ),
            (
                "18d102000100000000000004000000000000000000000000ce2fdd04522b0c6b0000000400200000",
                "000000010000000000000001",
                7_713_587_893_047_734_222,
                64,
            ),
        ];
        for (begin, name, system, mebibytes) in all {
            let byte = |at| u8::from_str_radix(&begin[at..at + 2], 16).unwrap();
            let begin: Vec<u8> = (0..80).step_by(2).map(byte).collect();
            assert_eq!(said(&begin, name, system), "as it should be");
            assert_eq!(Header::read(&begin).unwrap().size.bytes(), Bytes(mebibytes << 20));
        }
    }

    #[test]
    fn what_does_not_fit_the_name_is_told() {
        let name = "0000000200000001000000A3";
        let good = page(segment(name), SegmentSize::DEFAULT, SystemId(7));
        assert_eq!(said(&good, name, 7), "as it should be");
        let older = page(segment("0000000100000001000000A3"), SegmentSize::DEFAULT, SystemId(7));
        assert_eq!(said(&older, name, 7), "as it should be");
        expect_test::expect![[r#"
            it is of another cluster: its system identifier is 7, and ours is 8
            it begins at 1/A3000000, and its name says 1/A4000000
            it is of timeline 2, which is younger than 1 in its name
            it ends after 10 bytes, within the first page's header
            it begins with 0000, and the log of PostgreSQL with D1..
            its first page lacks the long header
            it says that segments have 16843009 bytes, which is no size of segments
        "#]]
        .assert_eq(
            &[
                said(&good, name, 8),
                said(&good, "0000000200000001000000A4", 7),
                said(&good, "0000000100000001000000A3", 7),
                said(&good[..10], name, 7),
                said(&[0; 40], name, 7),
                said(&[&good[..2], &[0; 38]].concat(), name, 7),
                said(&[&good[..32], &[1; 8]].concat(), name, 7),
            ]
            .map(|said| format!("{said}\n"))
            .concat(),
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..64), valid in any::<bool>()) {
            let mut bytes = bytes;
            if valid && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&[0x10, 0xD1, 2, 0]);
            }
            let expected = Expected { segment: segment("0000000200000001000000A3"), system: None };
            if let Ok(header) = Header::read(&bytes) {
                drop(header.check(&expected));
            }
        }
    }

    #[test]
    fn fuzzed() {
        let name = segment("0000000200000001000000A3");
        let samples = vec![page(name, SegmentSize::DEFAULT, SystemId(7))[..LENGTH + 8].to_vec()];
        let feed = |bytes: &[u8]| {
            let read = Header::read(bytes);
            let Ok(header) = read else { return crate::fuzz::outcome(&read) };
            let checked = header.check(&Expected { segment: name, system: Some(SystemId(7)) });
            if checked.is_ok() {
                let again = page(name.on(header.timeline), header.size, header.system);
                assert_eq!(Header::read(&again), Ok(header));
            }
            crate::fuzz::outcome(&checked)
        };
        crate::fuzz::fuzz(5000, samples, feed);
    }
}
