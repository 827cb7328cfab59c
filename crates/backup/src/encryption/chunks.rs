//! Encrypts content chunk by chunk, and opens chunks: a whole object, a part of one, or as it comes.
//!
//! Never hands out a byte of a chunk that is not genuine, not in its place, or not of this object.

use super::envelope::{
    BEGIN, CHUNK, EnvelopeError, HEAD, HEADER, Span, TAG, header, last_chunk, place, read_header,
};
use super::key::{KEY, Keyring, random};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use bytes::{Buf, Bytes};

/// What chunks of an object are bound to; the number and the end are set for each.
#[derive(Debug, Clone)]
struct Bound(Vec<u8>);

const NUMBER: std::ops::Range<usize> = BEGIN.len()..BEGIN.len() + 8;
const END: usize = NUMBER.end;

impl Bound {
    fn to(name: &str) -> Self {
        let mut bound = BEGIN.to_vec();
        bound.extend([0; 9]);
        bound.extend(name.as_bytes());
        Self(bound)
    }

    fn of(&mut self, chunk: u64, end: End) -> Aad<&[u8]> {
        if let Some(number) = self.0.get_mut(NUMBER) {
            number.copy_from_slice(&chunk.to_be_bytes());
        }
        if let Some(is_last) = self.0.get_mut(END) {
            *is_last = u8::from(end == End::Here);
        }
        Aad::from(self.0.as_slice())
    }
}

/// Whether a chunk is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Here,
    Later,
}

/// Each object has a key of its own, so that numbers never come twice under one key.
fn nonce(chunk: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce.iter_mut().skip(NONCE_LEN - 8).zip(chunk.to_be_bytes()).for_each(|(to, from)| *to = from);
    Nonce::assume_unique_for_key(nonce)
}

fn cipher(key: &[u8; KEY]) -> Result<LessSafeKey, EnvelopeError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| EnvelopeError::Failed)?;
    Ok(LessSafeKey::new(key))
}

/// Encrypts one object from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Encrypter {
    cipher: LessSafeKey,
    bound: Bound,
    /// Until it is put out.
    header: Option<[u8; HEAD]>,
    next: u64,
    /// What may be the last chunk.
    held: Vec<u8>,
}

impl Encrypter {
    /// For the object that has this name in the repository.
    pub(crate) fn begin(keys: &Keyring, name: &str) -> Result<Self, EnvelopeError> {
        let key = random().map_err(|error| EnvelopeError::Random(error.to_string()))?;
        let header = header(keys.id(), &keys.wrap(&key)?);
        let (cipher, bound) = (cipher(&key)?, Bound::to(name));
        Ok(Self { cipher, bound, header: Some(header), next: 0, held: Vec::new() })
    }

    /// Takes more content, and puts out what can be stored of it.
    pub(crate) fn push(
        &mut self,
        mut clear: &[u8],
        stored: &mut Vec<u8>,
    ) -> Result<(), EnvelopeError> {
        stored.reserve(clear.len() + clear.len() / CHUNK * TAG + CHUNK + TAG + HEAD);
        stored.extend(self.header.take().into_iter().flatten());
        while !clear.is_empty() {
            if self.held.len() == CHUNK {
                let held = std::mem::take(&mut self.held);
                self.seal(&held, End::Later, stored)?;
                self.held = held;
                self.held.clear();
            }
            if self.held.is_empty()
                && let Some((chunk, rest)) = clear.split_at_checked(CHUNK)
                && !rest.is_empty()
            {
                self.seal(chunk, End::Later, stored)?;
                clear = rest;
                continue;
            }
            let (taken, rest) = clear.split_at(clear.len().min(CHUNK - self.held.len()));
            self.held.extend_from_slice(taken);
            clear = rest;
        }
        Ok(())
    }

    /// Puts out the rest.
    pub(crate) fn finish(mut self, stored: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        self.push(&[], stored)?;
        let held = std::mem::take(&mut self.held);
        self.seal(&held, End::Here, stored)
    }

    fn seal(&mut self, chunk: &[u8], end: End, to: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        let from = to.len();
        to.extend_from_slice(chunk);
        let content = to.get_mut(from..).unwrap_or_default();
        let bound = self.bound.of(self.next, end);
        let tag = self.cipher.seal_in_place_separate_tag(nonce(self.next), bound, content);
        to.extend_from_slice(tag.map_err(|_| EnvelopeError::Failed)?.as_ref());
        self.next += 1;
        Ok(())
    }
}

/// Opens chunks of one object. What it knows comes from the object's header.
#[derive(Debug)]
pub(crate) struct Decrypter {
    cipher: LessSafeKey,
    bound: Bound,
}

impl Decrypter {
    /// From the first bytes of the object that has this name in the repository.
    pub(crate) fn open(keys: &Keyring, name: &str, stored: &[u8]) -> Result<Self, EnvelopeError> {
        let (id, wrapped) = read_header(stored)?;
        let key = keys.unwrap(id, &wrapped)?;
        Ok(Self { cipher: cipher(&key)?, bound: Bound::to(name) })
    }

    /// The content of a whole object.
    pub(crate) fn whole(&self, mut stored: Bytes) -> Result<Bytes, EnvelopeError> {
        let size = stored.len() as u64;
        stored.advance(stored.len().min(HEAD));
        self.chunks(stored, 0, size).map(Bytes::from)
    }

    /// The part for which these chunks were fetched from an object of this size; shorter when the
    /// object is.
    pub(crate) fn part(
        &self,
        span: &Span,
        stored: Bytes,
        size: u64,
    ) -> Result<Bytes, EnvelopeError> {
        let clear = Bytes::from(self.chunks(stored, span.first, size)?);
        let (from, to) = (span.skip, span.skip.saturating_add(span.length));
        Ok(clear.slice(from.min(clear.len())..to.min(clear.len())))
    }

    /// Opens chunks that lie beside each other, in place.
    fn chunks(&self, stored: Bytes, first: u64, size: u64) -> Result<Vec<u8>, EnvelopeError> {
        let last = last_chunk(size).ok_or(EnvelopeError::Damaged { at: HEADER })?;
        let mut content = Vec::from(stored);
        let (mut bound, mut number) = (self.bound.clone(), first);
        let (mut from, mut to) = (0, 0);
        while from < content.len() {
            let length = (CHUNK + TAG).min(content.len() - from);
            let chunk = content.get_mut(from..from + length).unwrap_or_default();
            let opened = self.one(&mut bound, (number, last), chunk)?;
            content.copy_within(from..from + opened, to);
            (from, to, number) = (from + length, to + opened, number + 1);
        }
        // A whole object has a chunk at least.
        if from == 0 {
            return Err(EnvelopeError::Damaged { at: place(first) });
        }
        content.truncate(to);
        Ok(content)
    }

    /// Says how much of it is content now.
    fn one(
        &self,
        bound: &mut Bound,
        (number, last): (u64, u64),
        stored: &mut [u8],
    ) -> Result<usize, EnvelopeError> {
        let damaged = || EnvelopeError::Damaged { at: place(number) };
        let end = if number == last { End::Here } else { End::Later };
        let length = stored.len().checked_sub(TAG).ok_or_else(damaged)?;
        // Content never ends with an empty chunk, unless there is none at all.
        if (length == 0 && number > 0) || number > last {
            return Err(damaged());
        }
        let (content, tag) = stored.split_at_mut(length);
        let bound = bound.of(number, end);
        let opened = self.cipher.open_in_place_separate_tag(nonce(number), bound, tag, content);
        opened.map(|content| content.len()).map_err(|_| damaged())
    }
}

/// Opens an object as it comes, in pieces of any size.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    keys: &'a Keyring,
    name: &'a str,
    /// Of the object as it is stored.
    size: u64,
    opened: Option<Decrypter>,
    next: u64,
    held: Vec<u8>,
}

impl<'a> Flow<'a> {
    pub(crate) fn of(keys: &'a Keyring, name: &'a str, size: u64) -> Self {
        Self { keys, name, size, opened: None, next: 0, held: Vec::new() }
    }

    /// Takes what came, and gives what content can be told from it, which may be nothing.
    pub(crate) fn push(&mut self, stored: &[u8]) -> Result<Bytes, EnvelopeError> {
        self.held.extend_from_slice(stored);
        let opened = match &self.opened {
            Some(opened) => opened,
            None if self.held.len() < HEAD => return Ok(Bytes::new()),
            None => {
                let opened = Decrypter::open(self.keys, self.name, &self.held)?;
                self.held.drain(..HEAD);
                self.opened.insert(opened)
            }
        };
        let last = last_chunk(self.size).ok_or(EnvelopeError::Damaged { at: HEADER })?;
        // The last one is as long as the object says; whether it is whole shows at the end.
        let there = self.held.len() / (CHUNK + TAG);
        let before_last = usize::try_from(last.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let is_whole = self.size.saturating_sub(place(self.next)) <= self.held.len() as u64;
        let length =
            if is_whole { self.held.len() } else { there.min(before_last) * (CHUNK + TAG) };
        if length == 0 {
            return Ok(Bytes::new());
        }
        let rest = self.held.split_off(length);
        let chunks = std::mem::replace(&mut self.held, rest);
        let first = self.next;
        self.next += (chunks.len().div_ceil(CHUNK + TAG)) as u64;
        opened.chunks(chunks.into(), first, self.size).map(Bytes::from)
    }

    /// Whether all of it came.
    pub(crate) fn end(&self) -> Result<(), EnvelopeError> {
        let is_whole = last_chunk(self.size).is_some_and(|last| self.next == last + 1);
        match &self.opened {
            None => Decrypter::open(self.keys, self.name, &self.held).map(drop)?,
            Some(_) if is_whole => return Ok(()),
            Some(_) => {}
        }
        Err(EnvelopeError::Damaged { at: place(self.next) })
    }
}

#[cfg(test)]
mod tests;
