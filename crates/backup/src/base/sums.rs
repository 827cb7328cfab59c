//! Sums of the pages of a piece: what an incremental backup compares with.
//!
//! Never the only reason why a page is left out: its own position in the log has to say so, too.

use super::page::PAGE;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
        let text = serde_json::to_string(&sums).unwrap();
        assert_eq!(text.len(), 3 * 8 + 2);
        assert_eq!(serde_json::from_str::<Sums>(&text).unwrap(), sums);
        assert_eq!(serde_json::from_str::<Sums>("\"\"").unwrap(), Sums::default());
        for bad in ["\"1234567\"", "\"1234567g\"", "\"+1234567\"", "7"] {
            assert!(serde_json::from_str::<Sums>(bad).is_err(), "{bad}");
        }
    }
}
