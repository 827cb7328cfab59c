//! Reads one record of the log: which pages it changes, and which files come or go with it.
//!
//! Never trusts a record whose sum is another one. The formats are those of PostgreSQL 15 to 18.

use super::touched::{Database, Relation, Touched};
use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest};
use pgherd_core::units::Lsn;

/// Of what each record begins with.
pub(super) const HEADER: usize = 24;
/// Where in it the sum stands; it is of all the rest.
const SUM: usize = 20;

/// What stands in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the record before begins.
    pub(super) previous: Lsn,
    pub(super) info: u8,
    pub(super) manager: u8,
}

/// Why a record is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Damaged,
    /// Changes of pages were not logged from here on.
    Minimal,
}

/// Which of PostgreSQL's resource managers a record is of; the others change nothing but pages
/// that they name.
mod resource {
    pub(super) const XLOG: u8 = 0;
    pub(super) const XACT: u8 = 1;
    pub(super) const SMGR: u8 = 2;
    pub(super) const DBASE: u8 = 4;
}

/// Of what a record is, in the upper half of its kind.
mod kind {
    pub(super) const SWITCH: u8 = 0x40;
    pub(super) const PARAMETERS: u8 = 0x60;
    pub(super) const CREATE: u8 = 0x10;
    pub(super) const TRUNCATE: u8 = 0x20;
    pub(super) const COPY_DATABASE: u8 = 0x00;
    pub(super) const LOG_DATABASE: u8 = 0x10;
    pub(super) const DROP_DATABASE: u8 = 0x20;
    pub(super) const COMMIT: u8 = 0x00;
    pub(super) const ABORT: u8 = 0x20;
    pub(super) const COMMIT_PREPARED: u8 = 0x30;
    pub(super) const ABORT_PREPARED: u8 = 0x40;
    /// More stands behind the time of a transaction's end.
    pub(super) const HAS_MORE: u8 = 0x80;
}

const MAIN_FORK: u8 = 0;
const LAST_BLOCK: u8 = 32;
const TOP_TRANSACTION: u8 = 252;
const ORIGIN: u8 = 253;
const LONG: u8 = 254;
const SHORT: u8 = 255;

impl Header {
    pub(super) fn ends_segment(self) -> bool {
        self.manager == resource::XLOG && self.info & 0xF0 == kind::SWITCH
    }
}

/// Notes what a whole record changed.
pub(super) fn read(record: &[u8], touched: &mut Touched) -> Result<Header, Broken> {
    let header = header(record).ok_or(Broken::Damaged)?;
    let main = blocks(record.get(HEADER..).unwrap_or_default(), touched);
    let main = main.ok_or(Broken::Damaged)?;
    files(header, main, touched)?;
    Ok(header)
}

fn header(record: &[u8]) -> Option<Header> {
    let mut from = Reader(record);
    let total = from.word()?;
    let _transaction = from.word()?;
    let previous = Lsn(from.long()?);
    let (info, manager, _padding) = (from.byte()?, from.byte()?, from.half()?);
    let sum = from.word()?;
    let mut digest = Digest::new(Crc32Iscsi);
    digest.update(from.0);
    digest.update(record.get(..SUM)?);
    let is_whole = usize::try_from(total).ok()? == record.len();
    (is_whole && digest.finalize() == u64::from(sum)).then_some(Header { previous, info, manager })
}

/// Notes the pages that are named; returns what else the record holds.
fn blocks<'a>(record: &'a [u8], touched: &mut Touched) -> Option<&'a [u8]> {
    let mut from = Reader(record);
    let (mut data, mut main) = (0_usize, 0);
    let mut before: Option<(u8, Option<Relation>)> = None;
    while from.0.len() > data {
        match from.byte()? {
            SHORT => main = usize::from(from.byte()?),
            LONG => main = usize::try_from(from.word()?).ok()?,
            ORIGIN => {
                from.half()?;
            }
            TOP_TRANSACTION => {
                from.word()?;
            }
            number @ 0..=LAST_BLOCK => {
                if before.is_some_and(|(before, _)| before >= number) {
                    return None;
                }
                let known = before.and_then(|(_, relation)| relation);
                let relation = block(&mut from, known, &mut data, touched)?;
                before = Some((number, Some(relation)));
                continue;
            }
            _ => return None,
        }
        // What is behind the length of the rest are all data.
        if main > 0 {
            data = data.checked_add(main)?;
            break;
        }
    }
    (from.0.len() == data).then_some(())?;
    from.0.get(from.0.len().checked_sub(main)?..)
}

/// Notes one page, unless it is of another fork: those are read as a whole.
fn block(
    from: &mut Reader<'_>,
    known: Option<Relation>,
    data: &mut usize,
    touched: &mut Touched,
) -> Option<Relation> {
    const FORK: u8 = 0x0F;
    const HAS_IMAGE: u8 = 0x10;
    const SAME_RELATION: u8 = 0x80;
    const HAS_HOLE: u8 = 0x01;
    const IS_COMPRESSED: u8 = 0x04 | 0x08 | 0x10;
    let flags = from.byte()?;
    *data = data.checked_add(usize::from(from.half()?))?;
    if flags & HAS_IMAGE != 0 {
        *data = data.checked_add(usize::from(from.half()?))?;
        let _hole_begins = from.half()?;
        let image = from.byte()?;
        if image & HAS_HOLE != 0 && image & IS_COMPRESSED != 0 {
            let _hole_length = from.half()?;
        }
    }
    let relation = if flags & SAME_RELATION == 0 { from.relation()? } else { known? };
    let block = from.word()?;
    if flags & FORK == MAIN_FORK {
        touched.page(relation, block);
    }
    Some(relation)
}

/// Notes the files that come or go without their pages being named.
fn files(header: Header, main: &[u8], touched: &mut Touched) -> Result<(), Broken> {
    let kind = header.info & 0xF0;
    let done = match (header.manager, kind) {
        (resource::XLOG, kind::PARAMETERS) => return logged(main),
        (resource::SMGR, kind::CREATE) => created(main, touched),
        (resource::SMGR, kind::TRUNCATE) => cut_off(main, touched),
        (resource::DBASE, kind::COPY_DATABASE | kind::LOG_DATABASE) => made(main, touched),
        (resource::DBASE, kind::DROP_DATABASE) => dropped(main, touched),
        (resource::SMGR | resource::DBASE, _) => None,
        (resource::XACT, _) => match kind & !kind::HAS_MORE {
            kind::COMMIT | kind::ABORT | kind::COMMIT_PREPARED | kind::ABORT_PREPARED => {
                ended(header.info, main, touched)
            }
            _ => Some(()),
        },
        _ => Some(()),
    };
    done.ok_or(Broken::Damaged)
}

/// Below `replica` whole files are written and not logged.
fn logged(main: &[u8]) -> Result<(), Broken> {
    const MINIMAL: u32 = 0;
    let mut from = Reader(main);
    let level = (0..6).map(|_| from.word()).last().flatten();
    match level {
        None => Err(Broken::Damaged),
        Some(MINIMAL) => Err(Broken::Minimal),
        Some(_) => Ok(()),
    }
}

fn created(main: &[u8], touched: &mut Touched) -> Option<()> {
    let mut from = Reader(main);
    let relation = from.relation()?;
    if from.word()? == u32::from(MAIN_FORK) {
        touched.limit(relation, 0);
    }
    Some(())
}

fn cut_off(main: &[u8], touched: &mut Touched) -> Option<()> {
    let mut from = Reader(main);
    let block = from.word()?;
    // Whichever forks it was: too much is no harm.
    touched.limit(from.relation()?, block);
    Some(())
}

fn made(main: &[u8], touched: &mut Touched) -> Option<()> {
    let mut from = Reader(main);
    let (database, tablespace) = (from.word()?, from.word()?);
    touched.database(Database { tablespace, database });
    Some(())
}

fn dropped(main: &[u8], touched: &mut Touched) -> Option<()> {
    let mut from = Reader(main);
    let (database, tablespaces) = (from.word()?, from.word()?);
    for _ in 0..tablespaces {
        touched.database(Database { tablespace: from.word()?, database });
    }
    Some(())
}

/// The relations that a transaction leaves behind.
fn ended(info: u8, main: &[u8], touched: &mut Touched) -> Option<()> {
    const OF_A_DATABASE: u32 = 1;
    const HAS_CHILDREN: u32 = 2;
    const HAS_RELATIONS: u32 = 4;
    let mut from = Reader(main);
    let _at = from.long()?;
    if info & kind::HAS_MORE == 0 {
        return Some(());
    }
    let more = from.word()?;
    if more & OF_A_DATABASE != 0 {
        from.long()?;
    }
    if more & HAS_CHILDREN != 0 {
        for _ in 0..from.word()? {
            from.word()?;
        }
    }
    if more & HAS_RELATIONS != 0 {
        for _ in 0..from.word()? {
            touched.limit(from.relation()?, 0);
        }
    }
    Some(())
}

/// Reads as the machine wrote it.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn half(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn relation(&mut self) -> Option<Relation> {
        let (tablespace, database) = (self.word()?, self.word()?);
        Some(Relation { of: Database { tablespace, database }, number: self.word()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Block, body, record, relation, summed};
    use super::*;
    use crate::blockmap::Named;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// What a record without pages leads to.
    fn after(of: (u8, u8), main: &[u8]) -> Result<Touched, Broken> {
        let mut touched = Touched::default();
        read(&record(of, Lsn(1), &body(&[], main)), &mut touched).map(|_| touched)
    }

    fn named(touched: &Touched, number: u32) -> Named {
        touched.named(relation(number), 0, 4)
    }

    #[test]
    fn pages_of_main_forks_are_named() {
        let block =
            |relation, fork, number, image, data| Block { relation, fork, number, image, data };
        let blocks = [
            block(1, 0, 3, 700, 0),
            block(1, 2, 0, 0, 5),
            block(1, 0, 1, 0, 300),
            block(2, 1, 2, 0, 0),
            block(2, 0, 2, 0, 0),
        ];
        let mut touched = Touched::default();
        for main in [0, 3, 300] {
            let whole = record((10, 0x20), Lsn(0x500_0028), &body(&blocks, &vec![7; main]));
            let header = read(&whole, &mut touched).unwrap();
            let expected = Header { previous: Lsn(0x500_0028), info: 0x20, manager: 10 };
            assert_eq!(header, expected);
        }
        assert_eq!(named(&touched, 1), Named::Only(vec![1, 3]));
        assert_eq!(named(&touched, 2), Named::Only(vec![2]));
        assert_eq!(named(&touched, 3), Named::Only(vec![]));
    }

    #[test]
    fn files_that_come_or_go_are_named_as_a_whole() {
        let at = |number| [1663, 5, number];
        let create = |fork| words(&[&at(1)[..], &[fork]].concat());
        assert_eq!(named(&after((2, 0x10), &create(0)).unwrap(), 1), Named::All);
        assert_eq!(named(&after((2, 0x11), &create(0)).unwrap(), 1), Named::All);
        assert_eq!(named(&after((2, 0x10), &create(3)).unwrap(), 1), Named::Only(vec![]));
        let cut = words(&[&[2][..], &at(1), &[7]].concat());
        assert_eq!(named(&after((2, 0x20), &cut).unwrap(), 1), Named::Only(vec![2, 3]));
        for kind in [0x00, 0x10] {
            let made = after((4, kind), &words(&[5, 1663, 1, 1663])).unwrap();
            assert_eq!(named(&made, 77), Named::All);
            let other = after((4, kind), &words(&[6, 1663, 5, 1663])).unwrap();
            assert_eq!(named(&other, 77), Named::Only(vec![]));
        }
        let dropped = after((4, 0x20), &words(&[5, 2, 16384, 1663])).unwrap();
        assert_eq!(named(&dropped, 77), Named::All);
        // With a database, children and two relations, and with none of that.
        let more = words(&[0, 0, 1 | 2 | 4, 5, 1663, 2, 700, 701, 2, 1663, 5, 1, 1663, 5, 2]);
        for kind in [0x80, 0xA0, 0xB0, 0xC0] {
            let ended = after((1, kind), &more).unwrap();
            assert_eq!((named(&ended, 1), named(&ended, 2)), (Named::All, Named::All));
            assert_eq!(named(&ended, 3), Named::Only(vec![]));
            after((1, kind & 0x7F), &words(&[0, 0])).unwrap();
        }
        assert_eq!(after((1, 0x80), &more[..40]), Err(Broken::Damaged));
        assert_eq!(after((2, 0x30), &cut), Err(Broken::Damaged));
        assert_eq!(after((4, 0x30), &words(&[5, 1663])), Err(Broken::Damaged));
    }

    #[test]
    fn log_that_leaves_changes_out_is_refused() {
        let parameters = |level| words(&[100, 8, 10, 0, 64, level, 0]);
        assert_eq!(after((0, 0x60), &parameters(0)), Err(Broken::Minimal));
        assert!(after((0, 0x60), &parameters(1)).is_ok());
        assert!(after((0, 0x60), &parameters(2)).is_ok());
        assert_eq!(after((0, 0x60), &parameters(2)[..20]), Err(Broken::Damaged));
    }

    #[test]
    fn a_record_with_another_sum_or_order_is_damaged() {
        let block = Block { relation: 1, fork: 0, number: 1, image: 0, data: 9 };
        let good = record((10, 0), Lsn(1), &body(&[block, block], &[1, 2, 3]));
        let refused = |bytes: &[u8]| read(bytes, &mut Touched::default()).unwrap_err();
        for at in [0, 4, 8, 16, 17, 20, 24, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(refused(&bad), Broken::Damaged, "{at}");
        }
        for length in 0..good.len() {
            assert_eq!(refused(&good[..length]), Broken::Damaged);
            // Cut off at two places it is a record that names less.
            if length >= HEADER + 2 && ![53, 70].contains(&length) {
                assert_eq!(refused(&summed(good[..length].to_vec())), Broken::Damaged, "{length}");
            }
        }
        // The second block has no greater number than the first; or the first is of the same
        // relation as none before.
        for (at, byte) in [(24, 1), (24, 33), (25, 0xA0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(refused(&summed(bad)), Broken::Damaged, "{at}");
        }
    }

    #[test]
    fn fuzzed() {
        let block = |fork, image| Block { relation: 1, fork, number: 1, image, data: 9 };
        let more = words(&[0, 0, 1 | 2 | 4, 5, 1663, 1, 700, 2, 1663, 5, 1, 1663, 5, 2]);
        let samples = vec![
            record((10, 0), Lsn(1), &body(&[block(0, 0), block(2, 50), block(0, 60)], &[1, 2])),
            record((2, 0x20), Lsn(1), &body(&[], &words(&[2, 1663, 5, 1, 7]))),
            record((4, 0x20), Lsn(1), &body(&[], &words(&[5, 1, 1663]))),
            record((1, 0x80), Lsn(1), &body(&[], &more)),
            record((0, 0x60), Lsn(1), &body(&[], &words(&[100, 8, 10, 0, 64, 1, 0]))),
        ];
        let feed = |bytes: &[u8]| {
            let bytes = if bytes.len() >= HEADER { summed(bytes.to_vec()) } else { bytes.to_vec() };
            let read = read(&bytes, &mut Touched::default());
            let told = read.map_or_else(
                |broken| format!("{broken:?}"),
                |header| format!("{} {:x}", header.manager, header.info >> 4),
            );
            format!("{told} {}", bytes.len().min(3))
        };
        crate::fuzz::fuzz(5000, samples, feed);
    }
}
