//! Finds the pages of a piece that an incremental backup has to store.
//!
//! Never leaves out a page that was changed since the base began, or is not the very same there.

use super::index::Changed;
use super::page::PAGE;
use super::sums::Sums;
use crate::blockmap::Named;
use pgherd_core::units::Lsn;
use std::collections::BTreeSet;

/// When more of a piece has changed than this, all of it is stored: the rest is not worth another
/// read.
const WORTH_COMBINING: usize = 80;

/// What the base holds of a piece.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Where the base began: all that was changed before is in it.
    pub(super) begin: Lsn,
    pub(super) sums: Sums,
    pub(super) look: Look,
}

/// Which pages of a piece are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    All,
    /// The log names all others as unchanged, and the base has them.
    Only(Vec<usize>),
}

impl Known {
    /// When nobody knows what has changed.
    pub(super) fn of_all(begin: Lsn, sums: Sums) -> Self {
        Self { begin, sums, look: Look::All }
    }

    /// When the log says what may have changed of a piece with so many pages.
    pub(super) fn of_named(begin: Lsn, sums: Sums, (named, pages): (Named, usize)) -> Self {
        let look = match named {
            Named::All => Look::All,
            Named::Only(named) => {
                let there = sums.len().min(pages);
                let named = named.into_iter().filter(|page| *page < there);
                let read: Vec<usize> = named.chain(there..pages).collect();
                // Then one read of all is less work than many.
                if read.len() * 2 > pages { Look::All } else { Look::Only(read) }
            }
        };
        Self { begin, sums, look }
    }

    /// How much of so many bytes is read at most.
    pub(super) fn room(&self, length: usize) -> usize {
        match &self.look {
            Look::Only(pages) => length.min(pages.len() * PAGE),
            Look::All => length,
        }
    }

    /// Whether this page is to be stored.
    fn is_changed(&self, number: usize, page: &[u8; PAGE]) -> bool {
        let at = changed_at(page);
        let same = self.sums.get(number) == Some(crc_fast::crc32_iscsi(page));
        // One that is new or was emptied says nothing of when.
        at >= self.begin || at == Lsn(0) || !same
    }
}

/// What becomes of a piece of which only some pages are read.
pub(super) struct Chosen<'a> {
    known: &'a Known,
    sums: Sums,
    changed: Vec<usize>,
}

impl<'a> Chosen<'a> {
    pub(super) fn new(known: &'a Known, pages: usize) -> Self {
        Self { known, sums: known.sums.clone().resized(pages), changed: Vec::new() }
    }

    /// Moves those of a run of pages that are to be stored to its front, and says how many bytes
    /// they are.
    pub(super) fn keep(&mut self, first: usize, run: &mut [u8], bad: &BTreeSet<usize>) -> usize {
        let (mut kept, (pages, _)) = (0, run.as_chunks_mut::<PAGE>());
        for at in 0..pages.len() {
            let Some(page) = pages.get(at).copied() else { break };
            let number = first + at;
            self.sums.set(number, crc_fast::crc32_iscsi(&page));
            if bad.contains(&at) || self.known.is_changed(number, &page) {
                if let Some(place) = pages.get_mut(kept) {
                    *place = page;
                }
                self.changed.push(number);
                kept += 1;
            }
        }
        kept * PAGE
    }

    /// The sums of all pages, and what is stored: all that was kept.
    pub(super) fn end(self, stored: &[u8]) -> (Sums, Changed) {
        let crc32c = crc_fast::crc32_iscsi(stored);
        (self.sums, Changed { runs: runs(&self.changed), crc32c })
    }
}

/// Moves the pages that are to be stored to the front, and says which they are. None when all of
/// the piece is to be stored, which then stays as it is. `bad` are pages whose own word does not
/// count.
pub(super) fn select(known: &Known, piece: &mut [u8], bad: &BTreeSet<usize>) -> Option<Changed> {
    let (pages, rest) = piece.as_chunks::<PAGE>();
    if !rest.is_empty() {
        return None;
    }
    let numbered = pages.iter().enumerate();
    let changed =
        numbered.filter(|(number, page)| bad.contains(number) || known.is_changed(*number, page));
    let changed: Vec<usize> = changed.map(|(number, _)| number).collect();
    if changed.len() * 100 > pages.len() * WORTH_COMBINING {
        return None;
    }
    for (to, from) in changed.iter().enumerate() {
        piece.copy_within(from * PAGE..(from + 1) * PAGE, to * PAGE);
    }
    let stored = piece.get(..changed.len() * PAGE).unwrap_or_default();
    Some(Changed { runs: runs(&changed), crc32c: crc_fast::crc32_iscsi(stored) })
}

/// When it says itself that it was changed: the higher half stands first.
fn changed_at(page: &[u8; PAGE]) -> Lsn {
    let header = page.first_chunk::<8>().copied().unwrap_or_default();
    let half = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|bytes| bytes.first_chunk::<4>());
        u64::from(u32::from_le_bytes(bytes.copied().unwrap_or_default()))
    };
    Lsn(half(0) << 32 | half(4))
}

/// Runs of pages: the first one, and how many there are.
pub(super) fn runs(pages: &[usize]) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for page in pages {
        let page = u32::try_from(*page).unwrap_or(u32::MAX);
        match runs.last_mut() {
            Some((first, many)) if *first + *many == page => *many += 1,
            Some(_) | None => runs.push((page, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(lsn: u64, seed: u8) -> Vec<u8> {
        let mut page = vec![seed; PAGE];
        let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap().to_le_bytes();
        page[..4].copy_from_slice(&half(lsn >> 32));
        page[4..8].copy_from_slice(&half(lsn));
        page
    }

    /// Runs of pages, and what is stored of them.
    type Stored = (Vec<(u32, u32)>, Vec<u8>);

    fn chosen(base: &[Vec<u8>], now: &[Vec<u8>], bad: &[usize]) -> Option<Stored> {
        let known = Known::of_all(Lsn(0x1_0000_0100), Sums::of(&base.concat()));
        let (mut piece, bad) = (now.concat(), bad.iter().copied().collect());
        let before = piece.clone();
        let changed = select(&known, &mut piece, &bad);
        if changed.is_none() {
            assert!(piece == before, "what is stored as a whole was touched");
        }
        changed.map(|changed| {
            let pages: u32 = changed.runs.iter().map(|(_, many)| many).sum();
            piece.truncate(pages as usize * PAGE);
            (changed.runs, piece)
        })
    }

    #[test]
    fn what_is_new_changed_emptied_or_bad_is_stored() {
        let old = 0x1_0000_00FF;
        let base: Vec<_> = (0..10).map(|n| page(old, n)).collect();
        let mut now = base.clone();
        assert_eq!(chosen(&base, &now, &[]), Some((vec![], vec![])));
        // Changed without a change of content that would show, and just when the base began.
        now[1] = page(0x1_0000_0100, 1);
        now[2] = page(0x2_0000_0000, 2);
        now[4] = vec![0; PAGE];
        // A hint: its position is old, and yet it is another one.
        now[6][5000] ^= 1;
        let (runs, stored) = chosen(&base, &now, &[8]).unwrap();
        assert_eq!(runs, [(1, 2), (4, 1), (6, 1), (8, 1)]);
        let expected = [&now[1], &now[2], &now[4], &now[6], &now[8]].map(Vec::as_slice).concat();
        assert!(stored == expected);
        // What was appended is not in the base; what was cut off is not there any more.
        assert_eq!(chosen(&base[..8], &base, &[]).unwrap().0, [(8, 2)]);
        assert_eq!(chosen(&base, &base[..8], &[]).unwrap().0, []);
        // A page of zeros counts as changed even if it was one before.
        let zeros = vec![vec![0; PAGE], page(old, 1), page(old, 2)];
        assert_eq!(chosen(&zeros, &zeros, &[]).unwrap().0, [(0, 1)]);
    }

    #[test]
    fn what_has_changed_nearly_wholly_or_has_no_pages_is_stored_as_a_whole() {
        let base: Vec<_> = (0..10).map(|n| page(1, n)).collect();
        let now: Vec<_> = (0..9).map(|n| page(1 << 40, n)).chain([page(1, 9)]).collect();
        assert_eq!(chosen(&base, &now, &[]), None);
        let mut torn = base.clone();
        torn.push(vec![1, 2, 3]);
        assert_eq!(chosen(&base, &torn, &[]), None);
    }

    proptest! {
        /// What is stored, over what the base has, is what was read.
        #[test]
        fn the_base_and_what_is_stored_are_the_whole(
            pages in proptest::collection::vec((any::<bool>(), 1..200_u64, any::<u8>()), 0..40),
            cut in 0..40_usize,
        ) {
            let base: Vec<_> = pages.iter().map(|(_, lsn, seed)| page(*lsn, *seed)).collect();
            let now: Vec<_> = pages
                .iter()
                .map(|(changes, lsn, seed)| {
                    if *changes {
                        page(0x1_0000_0100 + lsn, seed.wrapping_add(1))
                    } else {
                        page(*lsn, *seed)
                    }
                })
                .collect();
            let base = &base[..cut.min(base.len())];
            let whole = now.concat();
            if let Some((runs, stored)) = chosen(base, &now, &[]) {
                let mut combined = base.concat();
                combined.resize(whole.len(), 0);
                let mut from = stored.as_slice();
                for (first, many) in runs {
                    let (first, many) = (first as usize * PAGE, many as usize * PAGE);
                    let (run, rest) = from.split_at(many);
                    combined[first..first + many].copy_from_slice(run);
                    from = rest;
                }
                prop_assert!(from.is_empty() && combined == whole);
            }
        }
    }
}
