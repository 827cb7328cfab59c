//! Finds the pages of a piece that an incremental backup has to store.
//!
//! Never leaves out a page that was changed since the base began, or is not the very same there.

use super::index::Changed;
use super::page::PAGE;
use super::sums::Sums;
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
}

/// Moves the pages that are to be stored to the front, and says which they are. None when all of
/// the piece is to be stored, which then stays as it is. `bad` are pages whose own word does not
/// count.
pub(super) fn select(known: &Known, piece: &mut [u8], bad: &BTreeSet<usize>) -> Option<Changed> {
    let (pages, rest) = piece.as_chunks::<PAGE>();
    if !rest.is_empty() {
        return None;
    }
    let is_changed = |(number, page): (usize, &[u8; PAGE])| {
        let at = changed_at(page);
        let same = known.sums.get(number) == Some(crc_fast::crc32_iscsi(page));
        // One that is new or was emptied says nothing of when.
        (at >= known.begin || at == Lsn(0) || !same || bad.contains(&number)).then_some(number)
    };
    let changed: Vec<usize> = pages.iter().enumerate().filter_map(is_changed).collect();
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

fn runs(pages: &[usize]) -> Vec<(u32, u32)> {
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
        let known = Known { begin: Lsn(0x1_0000_0100), sums: Sums::of(&base.concat()) };
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
