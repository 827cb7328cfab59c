//! What an encrypted object looks like: a header with the wrapped key of the object, then chunks.
//!
//! Never reads or writes anything; sizes and places are computed, and none is believed.
//!
//! | Bytes | Hold |
//! |---|---|
//! | 0 to 8 | `pgherd-e` |
//! | 8 | the format, 1 |
//! | 9 | the size of a chunk, as a power of two: 16 |
//! | 10 to 16 | zeros |
//! | 16 to 24 | by which the owner's key is known |
//! | 24 to 64 | the key of this object, wrapped by the owner's (RFC 3394) |
//! | from 64 on | chunks: 64 KiB of content each, fewer in the last one, and 16 bytes behind each that show whether it is genuine |
//!
//! A chunk is AES-256-GCM with its number as nonce. What it is bound to: the first 16 bytes, its
//! number, whether it is the last one, and the key of the object in the repository.

use super::key::{KEY, KeyId};
use std::ops::Range;

/// How much of an object is no chunk.
pub(crate) const HEADER: u64 = HEAD as u64;
pub(crate) const HEAD: usize = 64;
/// What a chunk holds.
pub(super) const CHUNK: usize = 1 << CHUNK_POWER;
/// Behind each chunk.
pub(super) const TAG: usize = 16;
/// A wrapped key.
pub(super) const WRAPPED: usize = KEY + 8;

/// The first bytes of every object of this format.
pub(super) const BEGIN: &[u8; 16] = b"pgherd-e\x01\x10\0\0\0\0\0\0";
const MAGIC: &[u8] = b"pgherd-e";
const FORMAT: u8 = 1;
const CHUNK_POWER: u8 = 16;
/// A chunk as it is stored.
const STORED: u64 = (CHUNK + TAG) as u64;

/// Why an object cannot be encrypted or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error(
        "it is not encrypted, and a key is declared: something else than pgherd put it there; remove \
         it, or find out who did"
    )]
    Clear,
    #[error("a newer pgherd encrypted it (format {format}): use that one")]
    Newer { format: u8 },
    #[error(
        "it is encrypted with key {theirs}, and {}: add the line of that key to those that are declared",
        declared(.ours)
    )]
    WrongKey { theirs: KeyId, ours: Vec<KeyId> },
    #[error("its header is damaged: use another object, or bring it back from a copy")]
    Header,
    #[error(
        "it is damaged at byte {at}, was cut off, or was put in the place of another: bring it back \
         from a copy, or use another one"
    )]
    Damaged { at: u64 },
    #[error("the system gives no random bytes ({0})")]
    Random(String),
    #[error("aws-lc refuses to encrypt, which it never does for what we ask")]
    Failed,
}

fn declared(ours: &[KeyId]) -> String {
    let ours: Vec<String> = ours.iter().map(ToString::to_string).collect();
    match ours.as_slice() {
        [one] => format!("the one that is declared is {one}"),
        several => format!("those that are declared are {}", several.join(", ")),
    }
}

pub(super) fn header(id: KeyId, wrapped: &[u8; WRAPPED]) -> [u8; HEAD] {
    let mut header = [0; HEAD];
    let parts = BEGIN.iter().copied().chain(id.0).chain(*wrapped);
    header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    header
}

/// Whose key opens the key of the object, and that one wrapped.
pub(super) fn read_header(stored: &[u8]) -> Result<(KeyId, [u8; WRAPPED]), EnvelopeError> {
    let Some((begun, rest)) = stored.split_first_chunk::<{ BEGIN.len() }>() else {
        return Err(EnvelopeError::Clear);
    };
    if !begun.starts_with(MAGIC) {
        return Err(EnvelopeError::Clear);
    }
    let format = begun.get(MAGIC.len()).copied().unwrap_or_default();
    if format > FORMAT {
        return Err(EnvelopeError::Newer { format });
    }
    if begun != BEGIN {
        return Err(EnvelopeError::Header);
    }
    let (id, rest) = rest.split_first_chunk().ok_or(EnvelopeError::Header)?;
    let (wrapped, _) = rest.split_first_chunk().ok_or(EnvelopeError::Header)?;
    Ok((KeyId(*id), *wrapped))
}

/// How much content an object of this size has; none if no object of ours has this size.
pub(crate) fn clear_size(stored: u64) -> Option<u64> {
    let chunks = stored.checked_sub(HEADER)?;
    let last = last_chunk(stored)?;
    let clear = chunks.checked_sub((last + 1) * TAG as u64)?;
    // Only an empty object has an empty chunk.
    (clear > last * CHUNK as u64 || clear == 0).then_some(clear)
}

/// The number of the last chunk of an object of this size.
pub(super) fn last_chunk(stored: u64) -> Option<u64> {
    let chunks = stored.checked_sub(HEADER)?;
    chunks.div_ceil(STORED).checked_sub(1)
}

/// Where a chunk is stored.
pub(super) fn place(chunk: u64) -> u64 {
    chunk.saturating_mul(STORED).saturating_add(HEADER)
}

/// The chunks in which a part of the content lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// What is to be fetched; it may reach beyond the end.
    pub(crate) stored: Range<u64>,
    /// The number of the first chunk.
    pub(super) first: u64,
    /// How much of the content of these chunks lies before the part.
    pub(super) skip: usize,
    /// How long the part is.
    pub(super) length: usize,
}

/// Of a part that is not empty.
pub(crate) fn span(part: &Range<u64>) -> Span {
    let chunk = CHUNK as u64;
    let (first, last) = (part.start / chunk, part.end.saturating_sub(1) / chunk);
    let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    Span {
        stored: place(first)..place(last.saturating_add(1)),
        first,
        skip: small(part.start % chunk),
        length: small(part.end.saturating_sub(part.start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored_size(clear: u64) -> u64 {
        HEADER + clear + TAG as u64 * clear.div_ceil(CHUNK as u64).max(1)
    }

    #[test]
    fn sizes_are_computed_both_ways() {
        let chunk = CHUNK as u64;
        let many = [0, 1, 15, 16, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk - 3, 1 << 40];
        for clear in many {
            assert_eq!(clear_size(stored_size(clear)), Some(clear), "{clear}");
        }
        let impossible = [0, 10, HEADER, HEADER + 15, HEADER + STORED + 1, HEADER + STORED + 16];
        for stored in impossible {
            assert_eq!(clear_size(stored), None, "{stored}");
        }
        assert_eq!(clear_size(u64::MAX).map(|clear| clear < u64::MAX), Some(true));
    }

    #[test]
    fn a_part_lies_in_whole_chunks() {
        let chunk = CHUNK as u64;
        let whole = span(&(0..1));
        assert_eq!((whole.stored, whole.first, whole.skip, whole.length), (64..place(1), 0, 0, 1));
        let part = span(&(chunk - 1..2 * chunk + 1));
        assert_eq!((part.stored.start, part.stored.end), (place(0), place(3)));
        assert_eq!((part.first, part.skip, part.length), (0, CHUNK - 1, CHUNK + 2));
        assert_eq!(span(&(chunk..2 * chunk)).stored, place(1)..place(2));
        assert_eq!(span(&(u64::MAX - 1..u64::MAX)).stored.end, u64::MAX);
    }

    #[test]
    fn other_beginnings_are_told_apart() {
        let header = header(KeyId([1; 8]), &[2; WRAPPED]);
        assert_eq!(read_header(&header), Ok((KeyId([1; 8]), [2; WRAPPED])));
        let with = |at: usize, byte: u8| {
            let mut changed = header;
            changed[at] = byte;
            read_header(&changed).unwrap_err()
        };
        assert_eq!(with(0, 0), EnvelopeError::Clear);
        assert_eq!(with(8, 2), EnvelopeError::Newer { format: 2 });
        assert_eq!(with(8, 0), EnvelopeError::Header);
        assert_eq!(with(9, 20), EnvelopeError::Header);
        assert_eq!(with(15, 1), EnvelopeError::Header);
        assert_eq!(read_header(b""), Err(EnvelopeError::Clear));
        assert_eq!(read_header(&header[..40]), Err(EnvelopeError::Header));
    }
}
