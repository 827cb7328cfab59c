//! Walks through the records of a segment while its bytes pass by.
//!
//! Never guesses: a page or a record that is not what it should be ends the walk, and there is no
//! map.

use super::record::{self, Broken, HEADER};
use super::segment::{Continued, SegmentMap, Tail};
use super::touched::Touched;
use crate::wal::header::{self, Header};
use crc_fast::{CrcAlgorithm::Crc32Iscsi, Digest};
use pgherd_core::units::{Lsn, SystemId, Timeline};
use pgherd_core::wal::{Segment, SegmentSize};

/// The only size of the log's pages that PostgreSQL is packaged with.
const PAGE: usize = 8192;
/// The first pages of PostgreSQL 15, 16, 17 and 18 begin with these.
const KNOWN: [u16; 4] = [0xD110, 0xD113, 0xD116, 0xD118];
/// A record that is longer is not held in memory.
const LONGEST: usize = 8 << 20;
/// Of a record that goes on in the next segment so much is kept.
const KEPT: usize = 512 << 10;

const IS_CONTINUED: u16 = 1;
const IS_LONG: u16 = 2;
const IS_REMOVABLE: u16 = 4;
const IS_ABANDONED: u16 = 8;

/// Why there is no map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it does not begin as a segment of the log does")]
    Begin,
    #[error("it is log of a PostgreSQL that is not known here ({0:04X})")]
    Version(u16),
    #[error("its page at {0} is not what it should be")]
    Page(Lsn),
    #[error("its record at {0} is damaged")]
    Record(Lsn),
    #[error("its record at {0} is too long to be held")]
    Long(Lsn),
    #[error("it ends at {0}")]
    Ends(Lsn),
    #[error("changes were not logged from {0} on, when wal_level was minimal")]
    Minimal(Lsn),
    #[error("what is before {0} in the log is missing")]
    Gap(Lsn),
}

impl Unreadable {
    pub(super) fn record(at: Lsn, broken: Broken) -> Self {
        match broken {
            Broken::Damaged => Self::Record(at),
            Broken::Minimal => Self::Minimal(at),
        }
    }
}

/// A segment as far as it has passed by.
#[derive(Debug)]
pub struct Walk {
    segment: Segment,
    size: SegmentSize,
    /// What comes later is not wanted.
    until: Lsn,
    /// A part of a page.
    waiting: Vec<u8>,
    page: Lsn,
    sum: Digest,
    state: State,
    found: Found,
}

#[derive(Debug)]
enum State {
    /// Records follow.
    Reading,
    /// In the middle of one.
    Within(Part),
    /// Nothing that comes is looked at.
    Ended,
    Failed(Unreadable),
}

/// A part of a record.
#[derive(Debug)]
struct Part {
    /// Where it began; nothing when that was in another segment.
    at: Option<Lsn>,
    total: usize,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Found {
    magic: u16,
    timeline: Timeline,
    system: SystemId,
    continued: Continued,
    previous: Option<Lsn>,
    last: Option<Lsn>,
    touched: Touched,
}

impl Walk {
    pub fn new(segment: Segment, size: SegmentSize) -> Self {
        Self {
            segment,
            size,
            until: segment.end(size),
            waiting: Vec::new(),
            page: segment.start(size),
            sum: Digest::new(Crc32Iscsi),
            state: State::Reading,
            found: Found {
                magic: 0,
                timeline: Timeline(0),
                system: SystemId(0),
                continued: Continued::Nothing,
                previous: None,
                last: None,
                touched: Touched::default(),
            },
        }
    }

    /// Reads only records that begin before this.
    pub fn until(self, until: Lsn) -> Self {
        Self { until: self.until.min(until), ..self }
    }

    /// Takes the next bytes, however many.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        self.sum.update(bytes);
        while !bytes.is_empty() && matches!(self.state, State::Reading | State::Within(_)) {
            let missing = PAGE - self.waiting.len();
            if self.waiting.is_empty() && bytes.len() >= PAGE {
                let (page, rest) = bytes.split_at(PAGE);
                self.next(page);
                bytes = rest;
            } else {
                let (some, rest) = bytes.split_at(missing.min(bytes.len()));
                self.waiting.extend_from_slice(some);
                bytes = rest;
                if self.waiting.len() == PAGE {
                    let page = std::mem::take(&mut self.waiting);
                    self.next(&page);
                }
            }
        }
    }

    /// What was found, if all that was wanted has passed by.
    pub fn finish(self) -> Result<SegmentMap, Unreadable> {
        let Self { segment, size, until, page, sum, state, found, .. } = self;
        let Found { system, continued, previous, last, touched, .. } = found;
        let tail = match state {
            State::Failed(why) => return Err(why),
            State::Reading if page < until => return Err(Unreadable::Ends(page)),
            State::Reading | State::Ended => None,
            State::Within(Part { at: Some(at), bytes, .. })
                if page == segment.end(size) && bytes.len() <= KEPT =>
            {
                Some(Tail { at, bytes })
            }
            State::Within(_) if page < segment.end(size) => return Err(Unreadable::Ends(page)),
            State::Within(part) => return Err(Unreadable::Long(part.at.unwrap_or(page))),
        };
        let sum = u32::try_from(sum.finalize() & u64::from(u32::MAX)).unwrap_or_default();
        Ok(SegmentMap { segment, size, system, sum, continued, previous, last, tail, touched })
    }

    fn next(&mut self, page: &[u8]) {
        let at = self.page;
        self.page = Lsn(at.0 + PAGE as u64);
        let state = std::mem::replace(&mut self.state, State::Ended);
        let next =
            self.begin(page, state).and_then(|(offset, state)| self.records(page, offset, state));
        self.state = next.unwrap_or_else(State::Failed);
    }

    /// Reads what a page begins with, and where what it holds begins.
    fn begin(&mut self, page: &[u8], state: State) -> Result<(usize, State), Unreadable> {
        const SHORT_HEADER: usize = 24;
        let at = Lsn(self.page.0 - PAGE as u64);
        let strange = Unreadable::Page(at);
        let is_first = at == self.segment.start(self.size);
        if is_first {
            self.open(page)?;
        }
        let half = |at: usize| field(page, at).map(u16::from_ne_bytes);
        let word = |at: usize| field(page, at).map(u32::from_ne_bytes);
        let flags = half(2).ok_or(strange)?;
        let timeline = Timeline(word(4).ok_or(strange)?);
        let address = field(page, 8).map(u64::from_ne_bytes);
        let known = IS_CONTINUED | IS_LONG | IS_REMOVABLE | IS_ABANDONED;
        let is_it = half(0) == Some(self.found.magic)
            && flags & !known == 0
            && (flags & IS_LONG != 0) == is_first
            && address == Some(at.0)
            && (self.found.timeline..=self.segment.timeline()).contains(&timeline);
        if !is_it {
            return Err(strange);
        }
        self.found.timeline = timeline;
        let rest = word(16).and_then(|rest| usize::try_from(rest).ok()).ok_or(strange)?;
        let offset = if is_first { header::LENGTH } else { SHORT_HEADER };
        let state = match (flags & IS_CONTINUED != 0, flags & IS_ABANDONED != 0, state) {
            (true, false, State::Reading) if is_first && rest > 0 => {
                if rest > LONGEST {
                    return Err(Unreadable::Long(at));
                }
                State::Within(Part { at: None, total: rest, bytes: Vec::new() })
            }
            (true, false, State::Within(part)) if part.total - part.bytes.len() == rest => {
                State::Within(part)
            }
            (false, true, State::Within(part)) => {
                if part.at.is_none() {
                    self.found.continued = Continued::Abandoned;
                }
                State::Reading
            }
            (false, true, State::Reading) if is_first => {
                self.found.continued = Continued::Abandoned;
                State::Reading
            }
            (false, false, State::Reading) => State::Reading,
            (_, _, State::Reading | State::Within(_) | State::Ended | State::Failed(_)) => {
                return Err(strange);
            }
        };
        Ok((offset, state))
    }

    /// Reads what the first page says of all.
    fn open(&mut self, page: &[u8]) -> Result<(), Unreadable> {
        let header = Header::read(page).map_err(|_| Unreadable::Begin)?;
        let size = header::page_size(page).map_err(|_| Unreadable::Begin)?;
        if header.size != self.size || usize::try_from(size) != Ok(PAGE) {
            return Err(Unreadable::Begin);
        }
        let magic = field(page, 0).map(u16::from_ne_bytes).ok_or(Unreadable::Begin)?;
        if !KNOWN.contains(&magic) {
            return Err(Unreadable::Version(magic));
        }
        (self.found.magic, self.found.system) = (magic, header.system);
        Ok(())
    }

    /// Reads the records of a page from this offset on.
    fn records(
        &mut self,
        page: &[u8],
        mut offset: usize,
        mut state: State,
    ) -> Result<State, Unreadable> {
        let start = self.page.0 - PAGE as u64;
        loop {
            let mut part = match state {
                State::Within(part) => part,
                State::Reading => {
                    let at = Lsn(start + offset as u64);
                    if at >= self.until {
                        return Ok(State::Ended);
                    }
                    let Some(total) = field(page, offset) else { return Ok(State::Reading) };
                    begun(at, u32::from_ne_bytes(total))?
                }
                State::Ended | State::Failed(_) => return Ok(state),
            };
            let missing = part.total - part.bytes.len();
            let rest = page.get(offset..).unwrap_or_default();
            let here = rest.get(..missing.min(rest.len())).unwrap_or_default();
            part.bytes.extend_from_slice(here);
            // Each record begins at a multiple of eight.
            offset = (offset + here.len()).next_multiple_of(8);
            if part.bytes.len() < part.total {
                return Ok(State::Within(part));
            }
            state = self.whole(part)?;
        }
    }

    fn whole(&mut self, part: Part) -> Result<State, Unreadable> {
        let found = &mut self.found;
        let Some(at) = part.at else {
            if part.bytes.len() > KEPT {
                return Err(Unreadable::Long(self.segment.start(self.size)));
            }
            found.continued = Continued::Rest(part.bytes);
            return Ok(State::Reading);
        };
        let header = record::read(&part.bytes, &mut found.touched);
        let header = header.map_err(|broken| Unreadable::record(at, broken))?;
        match found.last {
            Some(last) if last != header.previous => return Err(Unreadable::Gap(at)),
            Some(_) => {}
            None => found.previous = Some(header.previous),
        }
        found.last = Some(at);
        Ok(if header.ends_segment() { State::Ended } else { State::Reading })
    }
}

/// The record that begins here.
fn begun(at: Lsn, total: u32) -> Result<Part, Unreadable> {
    match usize::try_from(total) {
        Ok(0) => Err(Unreadable::Ends(at)),
        Ok(total) if total < HEADER => Err(Unreadable::Record(at)),
        Ok(total) if total <= LONGEST => Ok(Part { at: Some(at), total, bytes: Vec::new() }),
        Ok(_) | Err(_) => Err(Unreadable::Long(at)),
    }
}

fn field<const N: usize>(page: &[u8], at: usize) -> Option<[u8; N]> {
    page.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Block, Log, body, relation};
    use super::super::{Joined, Named};
    use super::*;
    use proptest::prelude::*;

    const HEAP: (u8, u8) = (10, 0);

    fn naming(block: u32, length: u16) -> Vec<u8> {
        body(&[Block { relation: 1, fork: 0, number: block, image: 0, data: length }], &[])
    }

    fn walked(segment: Segment, content: &[u8], chunk: usize) -> Result<SegmentMap, Unreadable> {
        let mut walk = Walk::new(segment, Log::size());
        content.chunks(chunk).for_each(|some| walk.feed(some));
        walk.finish()
    }

    fn joined(log: &Log, chunk: usize) -> Result<Touched, Unreadable> {
        let mut joined = Joined::default();
        for (segment, content) in log.segments() {
            joined.add(walked(segment, content, chunk)?)?;
        }
        Ok(joined.end())
    }

    fn named(touched: &Touched) -> Vec<usize> {
        match touched.named(relation(1), 0, 10_000) {
            Named::Only(named) => named,
            Named::All => panic!("all is named"),
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Record(u32, u16),
        Switch,
        Abandon(usize),
        Promote,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            30 => (0..10_000_u32, 0..60_u16).prop_map(|(block, length)| Event::Record(block, length)),
            20 => (0..10_000_u32, any::<u16>()).prop_map(|(block, length)| Event::Record(block, length)),
            1 => Just(Event::Switch),
            2 => (0..3_usize).prop_map(Event::Abandon),
            1 => Just(Event::Promote),
        ];
        proptest::collection::vec(event, 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// However records lie in pages and segments, and however these come.
        #[test]
        fn every_page_that_a_record_names_is_found(events in events(), chunk in 1..40_000_usize) {
            let (mut log, mut expected) = (Log::new(), std::collections::BTreeSet::new());
            for event in events {
                match event {
                    Event::Record(block, length) => {
                        log.put(HEAP, &naming(block, length));
                        expected.insert(block as usize);
                    }
                    Event::Switch => log.switch(),
                    Event::Abandon(pages) => log.abandon(pages),
                    Event::Promote => log.promote(),
                }
            }
            log.switch();
            let found = joined(&log, chunk).unwrap();
            prop_assert_eq!(named(&found), expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(found.named(relation(999), 0, 10), Named::Only(vec![]));
        }

        /// A byte that is another one, wherever it is, is noticed or changes nothing.
        #[test]
        fn no_damage_hides_a_page(at in 0..3_000_000_usize, bit in 0..8_u32) {
            let mut log = Log::new();
            for block in 0..60 {
                log.put(HEAP, &naming(block, 40_000));
            }
            log.switch();
            let mut joined = Joined::default();
            let mut failed = None;
            for (number, (segment, content)) in log.segments().into_iter().enumerate() {
                let mut content = content.to_vec();
                if let Some(byte) = at.checked_sub(number << 20).and_then(|at| content.get_mut(at)) {
                    *byte ^= 1 << bit;
                }
                let added = walked(segment, &content, 8192).and_then(|map| joined.add(map));
                failed = failed.or(added.err());
            }
            if failed.is_none() {
                prop_assert_eq!(named(&joined.end()), (0..60).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_not_whole_or_does_not_follow_is_refused() {
        let mut log = Log::new();
        let first = log.put(HEAP, &naming(1, 100));
        let second = log.put(HEAP, &naming(2, 100));
        while log.segments().len() < 3 {
            log.put(HEAP, &naming(3, 50_000));
        }
        let segments = log.segments();
        let map = |at: usize| walked(segments[at].0, segments[at].1, 8192).unwrap();
        let join = |all: &[usize]| {
            let mut joined = Joined::default();
            all.iter().try_for_each(|at| joined.add(map(*at))).map(|()| joined)
        };
        join(&[0, 1, 2]).unwrap();
        join(&[1, 2]).unwrap();
        assert!(matches!(join(&[0, 2]), Err(Unreadable::Gap(_))));
        assert!(matches!(join(&[1, 0]), Err(Unreadable::Gap(_))));
        // One that would follow by its name, and is of another log.
        let mut other = Log::new();
        while other.segments().len() < 3 {
            other.put(HEAP, &naming(3, 49_000));
        }
        let mut mixed = join(&[0]).unwrap();
        let (segment, content) = other.segments()[1];
        assert!(mixed.add(walked(segment, content, 8192).unwrap()).is_err());

        let (segment, content) = segments[0];
        assert_eq!(
            walked(segment, &content[..3 << 13], 8192),
            Err(Unreadable::Ends(Lsn(0x50_6000)))
        );
        assert_eq!(
            walked(segment.next(Log::size()), content, 8192),
            Err(Unreadable::Page(Lsn(0x60_0000)))
        );
        let mut empty = content.to_vec();
        let at = usize::try_from(second.0 - 0x50_0000).unwrap();
        empty[at..].fill(0);
        assert_eq!(walked(segment, &empty, 8192), Err(Unreadable::Ends(second)));
        // What was wanted lies before that.
        for (until, expected) in [(first, vec![]), (second, vec![1])] {
            let mut walk = Walk::new(segment, Log::size()).until(until);
            walk.feed(&empty);
            assert_eq!(named(&walk.finish().unwrap().touched), expected);
        }
        let mut newer = content.to_vec();
        newer[0] = 0x40;
        assert_eq!(walked(segment, &newer, 8192), Err(Unreadable::Version(0xD140)));
        assert_eq!(walked(segment, &[0; 8192], 8192), Err(Unreadable::Begin));
    }

    #[test]
    fn records_that_are_too_long_are_refused() {
        let mut log = Log::new();
        log.put((21, 0), &body(&[], &vec![0; 3 << 20]));
        log.switch();
        let segments = log.segments();
        for (segment, content) in &segments[..3] {
            let walked = walked(*segment, content, 8192);
            assert!(matches!(walked, Err(Unreadable::Long(_))), "{walked:?}");
        }
        let mut log = Log::new();
        log.put((21, 0), &body(&[], &vec![0; 9 << 20]));
        log.switch();
        let (segment, content) = log.segments()[0];
        assert_eq!(walked(segment, content, 8192), Err(Unreadable::Long(Lsn(0x50_0028))));
    }

    #[test]
    fn fuzzed() {
        let mut log = Log::new();
        for block in 0..40 {
            log.put(HEAP, &naming(block, 3000));
        }
        log.abandon(0);
        log.put(HEAP, &naming(3, 9));
        log.switch();
        let (segment, content) = log.segments()[0];
        let rest = vec![0; content.len()];
        let samples = vec![content[..18 << 13].to_vec(), content[..2 << 13].to_vec()];
        let feed = |bytes: &[u8]| {
            let mut walk = Walk::new(segment, Log::size());
            walk.feed(bytes);
            walk.feed(rest.get(bytes.len()..).unwrap_or_default());
            crate::fuzz::outcome(&walk.finish())
        };
        crate::fuzz::fuzz(300, samples, feed);
    }
}
