//! Verifies the checksums of pages, as PostgreSQL computes them.
//!
//! Never reads a file; what it says of a page that is being written means nothing, so whoever
//! asks reads it again.

use pgherd_core::units::Lsn;

/// The only size that PostgreSQL is packaged with.
pub const PAGE: usize = 8192;

const SUMS: usize = 32;
const PRIME: u32 = 16_777_619;
/// Published with the algorithm: one start for each of the sums that run side by side.
const STARTS: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Its checksum is right, or it has never been written.
    Good,
    /// Its checksum is wrong, and this is when it says it was last changed.
    Bad { changed: Lsn },
}

/// Looks at the page with this number in its relation.
pub fn look(page: &[u8; PAGE], block: u32) -> Page {
    // A page without an end of its free space was only allocated.
    let header = page.first_chunk::<16>().copied().unwrap_or_default();
    let (words, _) = header.as_chunks::<2>();
    let word = |at: usize| words.get(at).map_or(0, |word| u16::from_le_bytes(*word));
    if word(7) == 0 && page.iter().all(|byte| *byte == 0) {
        return Page::Good;
    }
    if checksum(page, block) == word(4) {
        return Page::Good;
    }
    // The higher half stands first, and in each the lower word.
    let changed = [1, 0, 3, 2].into_iter().fold(0, |all, at| all << 16 | u64::from(word(at)));
    Page::Bad { changed: Lsn(changed) }
}

/// The checksum a page should have, whatever it says itself.
pub fn checksum(page: &[u8; PAGE], block: u32) -> u16 {
    let mut sums = STARTS;
    let (rows, _) = page.as_chunks::<{ SUMS * 4 }>();
    let mut rows = rows.iter();
    if let Some(first) = rows.next() {
        // The checksum itself counts as zero.
        let mut first = *first;
        first[8..10].fill(0);
        mix(&mut sums, &first);
    }
    for row in rows {
        mix(&mut sums, row);
    }
    for _ in 0..2 {
        mix(&mut sums, &[0; SUMS * 4]);
    }
    let whole = sums.iter().fold(block, |whole, sum| whole ^ sum);
    // A page never has zero for a checksum.
    u16::try_from(whole % 65_535 + 1).unwrap_or_default()
}

fn mix(sums: &mut [u32; SUMS], row: &[u8; SUMS * 4]) {
    let (words, _) = row.as_chunks::<4>();
    for (sum, word) in sums.iter_mut().zip(words) {
        let mixed = *sum ^ u32::from_le_bytes(*word);
        *sum = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that says it was last changed at 1/2, with its checksum.
    fn page(block: u32) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        for (number, byte) in page.iter_mut().enumerate() {
            *byte = u8::try_from(number * 7 % 251).unwrap();
        }
        page[..8].copy_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
        let sum = checksum(&page, block).to_le_bytes();
        page[8..10].copy_from_slice(&sum);
        page
    }

    #[test]
    fn a_page_is_good_only_as_it_was_and_where_it_was() {
        let bad = Page::Bad { changed: Lsn(1 << 32 | 2) };
        assert_eq!(look(&page(7), 7), Page::Good);
        assert_eq!(look(&page(7), 8), bad);
        for at in [10, 100, PAGE - 1] {
            let mut flipped = page(7);
            flipped[at] ^= 1;
            assert_eq!(look(&flipped, 7), bad);
        }
    }

    #[test]
    fn a_page_of_zeros_is_good_and_one_that_lost_its_end_is_not() {
        assert_eq!(look(&[0; PAGE], 3), Page::Good);
        let mut lost = [0; PAGE];
        lost[PAGE - 1] = 1;
        assert_eq!(look(&lost, 3), Page::Bad { changed: Lsn(0) });
    }
}
