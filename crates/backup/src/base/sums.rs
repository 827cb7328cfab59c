//! Sums of the pages of a piece: what an incremental backup compares with.
//!
//! Never the only reason why a page is left out: its own position in the log has to say so, too.

use super::page::PAGE;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use crc_fast::checksum_combine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::OnceLock;

/// CRC-32C of each page, as hexadecimal digits in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums(Vec<u32>);

/// So many pages are in no piece.
const MOST: usize = 1 << 16;

impl Sums {
    /// Of all whole pages in it.
    pub fn of(content: &[u8]) -> Self {
        let (pages, _) = content.as_chunks::<PAGE>();
        Self(pages.iter().map(|page| crc_fast::crc32_iscsi(page)).collect())
    }

    pub fn get(&self, page: usize) -> Option<u32> {
        self.0.get(page).copied()
    }

    /// As many as this, those that are missing being none of a page.
    pub(super) fn resized(mut self, pages: usize) -> Self {
        self.0.resize(pages, 0);
        self
    }

    pub(super) fn set(&mut self, page: usize, sum: u32) {
        if let Some(place) = self.0.get_mut(page) {
            *place = sum;
        }
    }

    /// The sum of all pages one after the other.
    pub(super) fn whole(&self) -> u32 {
        self.0.iter().fold(0, |before, sum| behind_a_page(before) ^ sum)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a sum becomes when a page of zeros follows, but for the sum of that page. Sums can be put
/// together bit by bit, so each byte has a table.
fn behind_a_page(sum: u32) -> u32 {
    static TABLES: OnceLock<[[u32; 256]; 4]> = OnceLock::new();
    let tables = TABLES.get_or_init(tables);
    let bytes = tables.iter().zip(sum.to_le_bytes());
    bytes.fold(0, |all, (table, byte)| all ^ table.get(usize::from(byte)).copied().unwrap_or(0))
}

fn tables() -> [[u32; 256]; 4] {
    let shifted = |bit: u32| {
        let shifted = checksum_combine(Crc32Iscsi, 1 << bit, 0, PAGE as u64);
        u32::try_from(shifted & u64::from(u32::MAX)).unwrap_or_default()
    };
    let mut tables = [[0; 256]; 4];
    for (table, first) in tables.iter_mut().zip([0, 8, 16, 24]) {
        let bits: Vec<u32> = (first..first + 8).map(shifted).collect();
        for (byte, entry) in table.iter_mut().enumerate() {
            let set = bits.iter().enumerate().filter(|(bit, _)| byte >> bit & 1 == 1);
            *entry = set.fold(0, |all, (_, shifted)| all ^ shifted);
        }
    }
    tables
}

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(self.0.len() * 8);
        for sum in &self.0 {
            for shift in (0..8).rev() {
                let digit = DIGITS.get((sum >> (4 * shift) & 15) as usize);
                text.push(char::from(digit.copied().unwrap_or(b'0')));
            }
        }
        to.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let (numbers, rest) = text.as_bytes().as_chunks::<8>();
        if !rest.is_empty() || numbers.len() > MOST {
            return Err(D::Error::custom("no sums of pages"));
        }
        let number = |digits: &[u8; 8]| {
            digits.iter().try_fold(0, |number: u32, digit| {
                let digit = char::from(*digit).to_digit(16)?;
                Some(number << 4 | digit)
            })
        };
        let numbers: Option<Vec<u32>> = numbers.iter().map(number).collect();
        numbers.map(Self).ok_or_else(|| D::Error::custom("a sum of a page is no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_read_back_as_they_were_written() {
        let content: Vec<u8> = (0..3 * PAGE + 5).map(|n| (n * n % 251).to_le_bytes()[0]).collect();
        let sums = Sums::of(&content);
        assert_eq!((sums.len(), sums.get(3)), (3, None));
        assert_eq!(sums.whole(), crc_fast::crc32_iscsi(&content[..3 * PAGE]));
        assert_eq!(Sums::default().whole(), crc_fast::crc32_iscsi(&[]));
        let text = serde_json::to_string(&sums).unwrap();
        assert_eq!(text.len(), 3 * 8 + 2);
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), sums);
        assert_eq!(serde_json::from_str::<Sums>("\"\"").unwrap(), Sums::default());
        for bad in ["\"1234567\"", "\"1234567g\"", "\"+1234567\"", "7"] {
            assert!(serde_json::from_str::<Sums>(bad).is_err(), "{bad}");
        }
    }
}
